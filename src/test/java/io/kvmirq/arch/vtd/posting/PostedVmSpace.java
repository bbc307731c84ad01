/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Operation;
import io.kvmirq.explorer.Space;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A vCPU, the processors it may be on, and senders, in every order. The vCPU ends in guest mode or asleep. A second one
 * may sleep on processor 0 and, once woken, runs on a processor of its own.
 */
final class PostedVmSpace extends PostedWords implements Space {
    static final int FIRST_VECTOR = 0x31;
    private static final int CHANGED = 1;
    private static final int BLOCKED = 2;

    /** The operations of the vCPU outside the guest. */
    private enum Step {
        NOTHING(""), // fewer operations; first, so that the shortest orders are without idle steps
        ENTER("enter"),
        SYNC("sync"),
        PREEMPT("preempt"),
        LEAVE("return to user space"),
        BLOCK("block"),
        BLOCK_MASKED("block, interrupts off");

        private final String text;

        Step(String text) {
            this.text = text;
        }
    }

    private final PostedVariant variant;
    private final RemappingUnit unit;
    private final RemappingTable table;
    private final List<Actor> senders = new ArrayList<>();
    private final List<Requested> requested = new ArrayList<>();
    private final List<Step> steps =
            new ArrayList<>(List.of(Step.NOTHING, Step.ENTER, Step.SYNC, Step.PREEMPT, Step.BLOCK));
    private int ownVector;
    private boolean oneVector;
    private int operations = 3;

    /** @param elsewhere whether the second vCPU may have got the vector before this one instead */
    private record Requested(int vector, int vcpu, boolean elsewhere) {}

    PostedVmSpace(PostedVariant variant, int cpus) {
        this(variant, cpus, 1);
    }

    private PostedVmSpace(PostedVariant variant, int cpus, int vcpus) {
        super(variant, cpus, vcpus);
        this.variant = variant;
        if (variant.kernel() == ApicvKernel.UP_TO_6_16) {
            steps.add(Step.LEAVE);
        }
        this.table = ExploredTable.over(words, entry);
        this.unit = new RemappingUnit(table, vm.host(), vm::descriptorAt);
    }

    /** With a second vCPU asleep on processor 0, in a VM with a bypass. */
    static PostedVmSpace withSleeper(PostedVariant variant) {
        PostedVmSpace space = new PostedVmSpace(variant, 1, 2).bypassed();
        space.vm.vcpu(SLEEPER).thread().load(0);
        space.vm.vcpu(SLEEPER).thread().block(true);
        return space;
    }

    private int vector(int of) {
        int vector = oneVector ? FIRST_VECTOR : FIRST_VECTOR + requested.size();
        requested.add(new Requested(vector, of, false));
        return vector;
    }

    private PostedVmSpace sender(String name, Operation... operations) {
        senders.add(Actor.of(name + " " + senders.size(), operations));
        return this;
    }

    private Operation posting(int of) {
        int vector = vector(of);
        return Operation.atomic(
                name("post", vector), words.running(() -> vm.vcpu(of).post(vector, false)));
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
        return sender("device", words.operation(name("post", vector), () -> vcpu.post(vector, false)));
    }

    PostedVmSpace software() {
        int vector = vector(0);
        return sender("sender", words.operation(name("deliver", vector), () -> vcpu.deliver(vector)));
    }

    private static String name(String what, int vector) {
        return what + " 0x" + Integer.toHexString(vector);
    }

    /**
     * A device whose entry posts to the second vCPU, until the host makes it post to the first. One request may come at
     * any time, another after the host's call.
     */
    PostedVmSpace rerouted() {
        isRerouted = true;
        words.at(start);
        RemappableMsi message = RemappableMsi.to(0, 0);
        table.set(0, new RemappedIrte(Irte.PRESENT.mask(), 0));
        table.post(0, vm.vcpu(SLEEPER).descriptorAddress(), new InterruptVector(FIRST_VECTOR));
        int vector = FIRST_VECTOR + 1;
        requested.add(new Requested(vector, 0, true));
        requested.add(new Requested(vector, 0, false));
        sender("host", words.operation("post to vcpu 0", () -> {
            table.post(0, vcpu.descriptorAddress(), new InterruptVector(vector));
            words.or(marks + 2, CHANGED);
        }));
        sender("device", Operation.atomic("request", words.running(() -> request(message))));
        return sender(
                "device",
                Operation.atomic("request later", words.running(() -> request(message)))
                        .when(state -> (state[marks + 2] & CHANGED) != 0));
    }

    private void request(RemappableMsi message) {
        if (unit.request(message, 0) instanceof RemappingOutcome.Blocked) {
            words.or(marks + 2, BLOCKED);
        }
    }

    /** The guest also sends itself an interrupt, which its thread handles on the fast path. */
    PostedVmSpace sendsToItself() {
        ownVector = FIRST_VECTOR + 8;
        return this;
    }

    /** All senders request one vector. */
    PostedVmSpace oneVector() {
        oneVector = true;
        return this;
    }

    /** The first bypass of the VM begins, and its device posts after that. */
    PostedVmSpace startsBypass() {
        return sender("bypass", words.operation("start bypass", vm::startBypass), posting(0));
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
        steps.add(Step.BLOCK_MASKED);
        senders.add(Actor.answering(
                "nmi",
                words.operation("wake", vcpu.thread()::wake)
                        .when(state -> isAsleep(state, vcpu) && state[marks] != 0)));
        return this;
    }

    /**
     * A preempted vCPU comes back only if another vCPU, which spins, finds a request of it and yields
     * ({@code kvm_vcpu_on_spin}, {@code kvm_arch_dy_has_pending_interrupt}).
     */
    PostedVmSpace yieldedTo() {
        yields = true;
        steps.removeAll(List.of(Step.SYNC, Step.LEAVE));
        senders.add(Actor.answering(
                "spinner",
                words.operation("look, yield", () -> yieldIf(vcpu.descriptor().hasPending()))
                        .when(state -> isPreempted(state)
                                && state[marks + 1] == 0
                                && words.at(state) == words
                                && vcpu.descriptor().hasPending())));
        return this;
    }

    private void yieldIf(boolean pending) {
        if (pending) {
            words.swap(marks + 1, 1);
        }
    }

    /** How many things the vCPU does before it runs on; 3 if this is not called. */
    PostedVmSpace operations(int count) {
        operations = count;
        return this;
    }

    @Override
    public Explorer explorer(Memory memory) {
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
                    words.operation("take an interrupt", cpu::takeInterrupt)
                            .when(state -> words.at(state) == words
                                    && cpu.isInterrupted()
                                    && state[cpu.at(HostCpu.INTERRUPTS_OFF)] == 0)));
        }
        actors.addAll(senders);
        return new Explorer(actors, memory, this);
    }

    @Override
    public long[] start() {
        return start.clone();
    }

    private Operation whenAwake(int of, Runnable code) {
        return words.operation("", code)
                .when(state ->
                        !isAsleep(state, vm.vcpu(of)) && !(yields && isPreempted(state) && state[marks + 1] == 0));
    }

    private static boolean isAsleep(long[] state, PostedVcpu of) {
        return state[of.thread().at(VcpuThread.ASLEEP)] != 0;
    }

    /** Whether the vCPU was on a processor, could run and does not. */
    private boolean isPreempted(long[] state) {
        return state[vcpu.thread().at(VcpuThread.LOADED)] == 0
                && state[vcpu.thread().at(VcpuThread.CPU)] >= 0
                && !isAsleep(state, vcpu);
    }

    private void does(String what) {
        words.cpu().does(what);
    }

    private void anything() {
        VcpuThread thread = vcpu.thread();
        if (!thread.isLoaded()) {
            beLoaded(thread, chosenCpu());
        } else if (thread.isInGuestMode() && ownVector > 0 && words.cpu().choose(2) == 0) {
            does("fast path");
            thread.reenter(() -> vcpu.deliverFromItself(ownVector));
        } else if (thread.isInGuestMode()) {
            does("exit");
            vcpu.takeInterrupts(words, taken(0));
            thread.exit();
        } else {
            Step step = steps.get(words.cpu().choose(steps.size()));
            does(step.text);
            switch (step) {
                case ENTER -> thread.enter();
                case SYNC -> vcpu.sync();
                case PREEMPT -> {
                    words.set(marks + 1, 0);
                    thread.preempt();
                }
                case LEAVE -> thread.leave();
                case BLOCK -> thread.block(true);
                case NOTHING -> {}
                case BLOCK_MASKED -> {
                    words.set(marks, 1);
                    thread.block(false);
                }
            }
        }
    }

    private int chosenCpu() {
        return cpus == 1 ? 0 : words.cpu().choose(cpus);
    }

    private void beLoaded(VcpuThread of, int cpu) {
        if (!of.isLoaded()) {
            does("load");
            if (of == vcpu.thread()) {
                words.set(marks, 0);
            }
            of.load(cpu);
            if (of.isBlocking()) {
                of.unblock();
            }
        }
    }

    private void beInGuest(VcpuThread of) {
        if (!of.isInGuestMode()) {
            does("enter");
            of.enter();
        }
    }

    private Stream<PostedVcpu> vcpus() {
        return IntStream.rangeClosed(0, hasSleeper ? SLEEPER : 0).mapToObj(vm::vcpu);
    }

    @Override
    public Optional<String> broken(long[] memory) {
        words.at(memory);
        return variant == PostedVariant.TODAY
                ? vcpus().flatMap(of -> of.brokenRules().stream()).findFirst()
                : Optional.empty();
    }

    /**
     * A vCPU that sleeps and could be woken has no request left, in PIR or in the IRR. A guest that runs has none in
     * PIR, and sees by RVI what is in its IRR. A preempted vCPU that waits for a yield has none in PIR. Every vector
     * was taken, or is in the IRR.
     */
    @Override
    public Optional<String> lost(long[] memory) {
        words.at(memory);
        if ((memory[marks + 2] & BLOCKED) != 0) {
            return Optional.of("the unit blocked a request");
        }
        Optional<String> left = vcpus().filter(of -> isLeft(memory, of))
                .map(of -> "vcpu " + of.index() + state(of))
                .findFirst();
        return left.isPresent()
                ? left
                : requested.stream()
                        .filter(request -> !isThere(memory, request)
                                && !(request.elsewhere()
                                        && isThere(memory, new Requested(request.vector() - 1, SLEEPER, false))))
                        .map(request -> "vector 0x" + Integer.toHexString(request.vector()) + " is lost: the vCPU"
                                + state(vm.vcpu(request.vcpu())))
                        .findFirst();
    }

    private boolean isLeft(long[] memory, PostedVcpu of) {
        boolean masked = of == vcpu && memory[marks] != 0;
        boolean unseen = of.thread().isInGuestMode() && of.rvi() == 0;
        return of.descriptor().hasRequests()
                || (isAsleep(memory, of) && !masked || unseen)
                        && PiDescriptor.hasAny(words, of.index() * PostedVcpu.WORDS + PostedVcpu.IRR);
    }

    private boolean isThere(long[] memory, Requested request) {
        return vm.vcpu(request.vcpu()).isInIrr(request.vector())
                || (memory[taken(request.vcpu())] >>> request.vector() & 1) != 0;
    }

    private static String state(PostedVcpu of) {
        return (of.thread().isAsleep() ? " sleeps" : of.thread().isLoaded() ? " runs" : " is preempted") + ", PIR "
                + (of.descriptor().hasRequests() ? "not " : "") + "empty, ON "
                + (of.descriptor().isOn() ? 1 : 0) + ", RVI 0x" + Integer.toHexString(of.rvi());
    }

    /** Each guest exits and enters twice, for any reason of its own. */
    @Override
    public boolean heals(long[] memory) {
        long[] later = memory.clone();
        words.at(later);
        vcpus().map(PostedVcpu::thread).filter(VcpuThread::isInGuestMode).forEach(thread -> {
            for (int i = 0; i < 2; i++) {
                thread.exit();
                thread.enter();
            }
        });
        return lost(later).isEmpty();
    }
}
