/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.vcpu.Host;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.Cpu;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Explorer.Access;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Operation;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.LongStream;
import java.util.stream.Stream;

/**
 * A vCPU, the processors it may be on, and senders, in every order. The vCPU ends in guest mode or asleep. A second one
 * may sleep on processor 0 and, once woken, runs on a processor of its own.
 */
final class PostedVmSpace implements Explorer.Model {
    private static final int SLEEPER = 1;
    private static final int FIRST_VECTOR = 0x31;

    private final int cpus;
    private final Variant variant;
    private final ExploredWords words;
    private final PostedVm vm;
    private final PostedVcpu vcpu;
    private final boolean hasSleeper;
    private final long[] start;
    private final List<Actor> senders = new ArrayList<>();
    private final List<Requested> requested = new ArrayList<>();
    private boolean masksInterrupts;

    private record Requested(int vector, int vcpu) {}

    PostedVmSpace(Variant variant, int cpus) {
        this(variant, cpus, 1);
    }

    private PostedVmSpace(Variant variant, int cpus, int vcpus) {
        this.cpus = cpus;
        this.variant = variant;
        this.hasSleeper = vcpus > SLEEPER;
        int hostCpus = hasSleeper ? cpus + 1 : cpus;
        int ofVm = PostedVm.words(hostCpus, vcpus);
        int size = ofVm + Host.words(hostCpus) + vcpus * PiDescriptor.PIR_WORDS;
        this.words = variant.words(size);
        this.start = new long[size];
        this.words.at(start);
        Host host = new Host(words, ofVm, LongStream.range(0, hostCpus).toArray());
        this.vm = new PostedVm(host, words, vcpus, true, variant::over);
        this.vcpu = vm.vcpu(0);
    }

    /** With a second vCPU asleep on processor 0, in a VM with a bypass. */
    static PostedVmSpace withSleeper(Variant variant) {
        PostedVmSpace space = new PostedVmSpace(variant, 1, 2).bypassed();
        space.vm.vcpu(SLEEPER).thread().load(0);
        space.vm.vcpu(SLEEPER).thread().block(true);
        return space;
    }

    private int vector(int of) {
        int vector = FIRST_VECTOR + requested.size();
        requested.add(new Requested(vector, of));
        return vector;
    }

    private Operation operation(String name, Runnable code) {
        return Operation.of(name, on(code));
    }

    private Consumer<Cpu> on(Runnable code) {
        return cpu -> {
            words.on(cpu);
            code.run();
        };
    }

    private PostedVmSpace sender(String name, Operation... operations) {
        senders.add(Actor.of(name + " " + senders.size(), operations));
        return this;
    }

    private Operation posting(int of) {
        int vector = vector(of);
        return Operation.atomic(name("post", vector), on(() -> vm.vcpu(of).post(vector, false)));
    }

    /** A device whose IRTE is posted, with one request. */
    PostedVmSpace device() {
        return sender("device", posting(0));
    }

    /** The same, to the second vCPU. */
    PostedVmSpace deviceOfSleeper() {
        return sender("device", posting(SLEEPER));
    }

    /** A device whose unit reads and writes PIR and the rest in two accesses, as the live descriptor does. */
    PostedVmSpace liveDevice() {
        int vector = vector(0);
        return sender("device", operation(name("post", vector), () -> vcpu.post(vector, false)));
    }

    PostedVmSpace software() {
        int vector = vector(0);
        return sender("sender", operation(name("deliver", vector), () -> vcpu.deliver(vector)));
    }

    private static String name(String what, int vector) {
        return what + " 0x" + Integer.toHexString(vector);
    }

    /** The first bypass of the VM begins, and its device posts after that. */
    PostedVmSpace startsBypass() {
        Runnable begin = variant != Variant.NO_UNBLOCK ? vm::startBypass : () -> vm.addBypass(1);
        return sender("bypass", operation("start bypass", begin), posting(0));
    }

    PostedVmSpace bypassed() {
        words.at(start);
        vm.startBypass();
        return this;
    }

    /** Begins on processor 0 instead of as a new vCPU. */
    PostedVmSpace loaded() {
        words.at(start);
        vcpu.thread().load(0);
        return this;
    }

    /** The guest also halts with its interrupts off; a non-maskable one then wakes it. */
    PostedVmSpace masked() {
        masksInterrupts = true;
        senders.add(Actor.answering(
                "nmi",
                operation("wake", vcpu.thread()::wake)
                        .when(state -> state[vcpu.thread().at(VcpuThread.ASLEEP)] != 0
                                && PostedInterruptDescriptor.SN.isSet(state[PostedInterruptDescriptor.CONTROL]))));
        return this;
    }

    Exploration explore(Memory memory, int operations) {
        List<Operation> life = new ArrayList<>();
        for (int i = 0; i < operations; i++) {
            life.add(whenAwake(0, this::anything));
        }
        life.add(whenAwake(0, () -> beLoaded(vcpu.thread(), chosenCpu())));
        life.add(whenAwake(0, () -> beInGuest(vcpu.thread())));
        List<Actor> actors = new ArrayList<>();
        actors.add(new Actor("vcpu", life, false));
        if (hasSleeper) {
            VcpuThread sleeper = vm.vcpu(SLEEPER).thread();
            actors.add(Actor.of(
                    "sleeper",
                    whenAwake(SLEEPER, () -> beLoaded(sleeper, cpus)),
                    whenAwake(SLEEPER, () -> beInGuest(sleeper))));
        }
        for (HostCpu cpu : vm.host().cpus()) {
            actors.add(Actor.answering(
                    "cpu " + cpu.number(),
                    operation("take an interrupt", cpu::takeInterrupt)
                            .when(state -> words.at(state) == words
                                    && cpu.isInterrupted()
                                    && state[cpu.at(HostCpu.INTERRUPTS_OFF)] == 0)));
        }
        actors.addAll(senders);
        return new Explorer(actors, memory, this).explore(start);
    }

    private Operation whenAwake(int of, Runnable code) {
        return operation("", code).when(state -> state[vm.vcpu(of).thread().at(VcpuThread.ASLEEP)] == 0);
    }

    /** Where the vectors are that a guest took. */
    private int taken(int of) {
        return words.size() - (of + 1) * PiDescriptor.PIR_WORDS;
    }

    private void anything() {
        VcpuThread thread = vcpu.thread();
        if (!thread.isLoaded()) {
            beLoaded(thread, chosenCpu());
        } else if (thread.isInGuestMode()) {
            vcpu.takeInterrupts(words, taken(0));
            thread.exit();
        } else {
            switch (words.cpu().choose(masksInterrupts ? 6 : 5)) {
                case 0 -> thread.enter();
                case 1 -> vcpu.sync();
                case 2 -> thread.preempt();
                case 3 -> thread.block(true);
                case 4 -> {} // fewer operations
                default -> thread.block(false);
            }
        }
    }

    private int chosenCpu() {
        return cpus == 1 ? 0 : words.cpu().choose(cpus);
    }

    private static void beLoaded(VcpuThread of, int cpu) {
        if (!of.isLoaded()) {
            of.load(cpu);
            if (of.isBlocking()) {
                of.unblock();
            }
        }
    }

    private static void beInGuest(VcpuThread of) {
        if (!of.isInGuestMode()) {
            of.enter();
        }
    }

    private Stream<PostedVcpu> vcpus() {
        return hasSleeper ? Stream.of(vcpu, vm.vcpu(SLEEPER)) : Stream.of(vcpu);
    }

    @Override
    public Optional<String> broken(long[] memory) {
        words.at(memory);
        return variant == Variant.TODAY
                ? vcpus().flatMap(of -> of.brokenRules().stream()).findFirst()
                : Optional.empty();
    }

    @Override
    public Optional<String> lost(long[] memory) {
        words.at(memory);
        for (Requested request : requested) {
            PostedVcpu of = vm.vcpu(request.vcpu());
            boolean arrived =
                    of.isInIrr(request.vector()) || (memory[taken(request.vcpu())] >>> request.vector() & 1) != 0;
            if (!arrived) {
                return Optional.of("vector 0x" + Integer.toHexString(request.vector()) + " is lost: the vCPU "
                        + (of.thread().isAsleep() ? "sleeps" : "runs") + ", PIR "
                        + (of.descriptor().hasRequests() ? "not " : "") + "empty, ON "
                        + (of.descriptor().isOn() ? 1 : 0));
            }
        }
        return Optional.empty();
    }

    /** The first actors are the vCPUs. */
    @Override
    public boolean owns(int actor, int word) {
        if (actor >= (hasSleeper ? 2 : 1)) {
            return false;
        }
        VcpuThread own = vm.vcpu(actor).thread();
        return word == own.at(VcpuThread.MODE)
                || word == own.at(VcpuThread.CPU)
                || word == own.at(VcpuThread.LOADED)
                || word == own.at(VcpuThread.BLOCKING)
                || word == taken(actor);
    }

    @Override
    public boolean isConstant(int word) {
        // All vectors are in the first word of PIR, of the IRR and of those taken.
        if (word >= taken(hasSleeper ? SLEEPER : 0)) {
            return (words.size() - word) % PiDescriptor.PIR_WORDS != 0;
        }
        int own = word % PostedVcpu.WORDS;
        return word < (hasSleeper ? 2 : 1) * PostedVcpu.WORDS
                && (own > 0 && own < PiDescriptor.PIR_WORDS
                        || own > PostedVcpu.IRR && own < PostedVcpu.THREAD
                        || own == PostedVcpu.THREAD + VcpuThread.REQUEST);
    }

    @Override
    public String describe(Access access) {
        return WordNames.describe(access, this::name);
    }

    private String name(int word) {
        for (HostCpu cpu : vm.host().cpus()) {
            if (word == cpu.at(HostCpu.PENDING) + Apic.NOTIFICATION / Long.SIZE) {
                return WordNames.PENDING + cpu.number();
            }
            if (word == vm.list(cpu).at(WakeupList.BITS)) {
                return "wake-up list of cpu " + cpu.number();
            }
        }
        return switch (word) {
            case 0 -> "PIR";
            case PostedVcpu.IRR -> "IRR";
            case PostedVcpu.THREAD + VcpuThread.MODE -> "guest mode";
            case PostedVcpu.THREAD + VcpuThread.ASLEEP -> "asleep";
            default -> word == vm.bypasses() ? "bypasses" : "";
        };
    }
}
