/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.Cpu;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Explorer.Access;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Operation;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/** One vCPU, the processors it may be on, and senders, in every order. The vCPU ends in guest mode or asleep. */
final class PostedVmSpace implements Explorer.Model {
    private static final int VCPU = 0;
    private static final int FIRST_VECTOR = 0x31;

    private final int cpus;
    private final Variant variant;
    private final ExploredWords words;
    private final PostedVm vm;
    private final PostedVcpu vcpu;
    private final long[] start;
    private final List<Actor> senders = new ArrayList<>();
    private final List<Integer> vectors = new ArrayList<>();

    PostedVmSpace(Variant variant, int cpus) {
        this.cpus = cpus;
        this.variant = variant;
        int size = PostedVm.words(cpus, 1) + PiDescriptor.PIR_WORDS;
        this.words = variant.words(size);
        this.start = new long[size];
        this.words.at(start);
        this.vm = new PostedVm(words, cpus, 1, true, variant::over);
        this.vcpu = vm.vcpu(0);
    }

    private int vector() {
        vectors.add(FIRST_VECTOR + vectors.size());
        return vectors.get(vectors.size() - 1);
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

    /** A device whose IRTE is posted, with one request. */
    PostedVmSpace device() {
        int vector = vector();
        senders.add(Actor.of(
                "device " + senders.size(),
                Operation.atomic(name("post", vector), on(() -> vcpu.post(vector, false)))));
        return this;
    }

    /** A device whose unit reads and writes PIR and the rest in two accesses, as the live descriptor does. */
    PostedVmSpace liveDevice() {
        int vector = vector();
        senders.add(
                Actor.of("device " + senders.size(), operation(name("post", vector), () -> vcpu.post(vector, false))));
        return this;
    }

    PostedVmSpace software() {
        int vector = vector();
        senders.add(
                Actor.of("sender " + senders.size(), operation(name("deliver", vector), () -> vcpu.deliver(vector))));
        return this;
    }

    private static String name(String what, int vector) {
        return what + " 0x" + Integer.toHexString(vector);
    }

    /** The first bypass of the VM begins, and its device posts after that. */
    PostedVmSpace startsBypass() {
        int vector = vector();
        senders.add(Actor.of(
                "bypass",
                operation("start bypass", variant != Variant.NO_UNBLOCK ? vm::startBypass : () -> vm.addBypass(1)),
                Operation.atomic(name("post", vector), on(() -> vcpu.post(vector, false)))));
        return this;
    }

    PostedVmSpace bypassed() {
        words.at(start);
        vm.startBypass();
        return this;
    }

    /** Begins on processor 0 instead of as a new vCPU. */
    PostedVmSpace loaded() {
        words.at(start);
        vcpu.load(0);
        return this;
    }

    Exploration explore(Memory memory, int operations) {
        List<Operation> life = new ArrayList<>();
        for (int i = 0; i < operations; i++) {
            life.add(whenAwake("", this::anything));
        }
        life.add(whenAwake("", this::beLoaded));
        life.add(whenAwake("", this::beInGuest));
        List<Actor> actors = new ArrayList<>();
        actors.add(new Actor("vcpu", life, false));
        for (int cpu = 0; cpu < cpus; cpu++) {
            int number = cpu;
            actors.add(Actor.answering(
                    "cpu " + cpu,
                    operation("take an interrupt", () -> vm.takeInterrupt(number))
                            .when(state -> state[vm.at(number, PostedVm.PENDING)] != 0
                                    && state[vm.at(number, PostedVm.INTERRUPTS_OFF)] == 0)));
        }
        actors.addAll(senders);
        return new Explorer(actors, memory, this).explore(start);
    }

    private Operation whenAwake(String name, Runnable code) {
        return operation(name, code).when(state -> state[PostedVcpu.ASLEEP] == 0);
    }

    /** Where the vectors are that the guest took. */
    private int taken() {
        return words.size() - PiDescriptor.PIR_WORDS;
    }

    private boolean isInGuest() {
        return words.get(PostedVcpu.MODE) == PostedVcpu.IN_GUEST_MODE;
    }

    private void anything() {
        if (!vcpu.isLoaded()) {
            beLoaded();
        } else if (isInGuest()) {
            vcpu.takeInterrupts(words, taken());
            vcpu.exit();
        } else {
            switch (words.cpu().choose(5)) {
                case 0 -> vcpu.enter();
                case 1 -> vcpu.sync();
                case 2 -> vcpu.preempt();
                case 3 -> vcpu.block(true);
                default -> {} // fewer operations
            }
        }
    }

    private void beLoaded() {
        if (!vcpu.isLoaded()) {
            vcpu.load(cpus == 1 ? 0 : words.cpu().choose(cpus));
        }
    }

    private void beInGuest() {
        if (!isInGuest()) {
            vcpu.enter();
        }
    }

    @Override
    public Optional<String> broken(long[] memory) {
        words.at(memory);
        return variant == Variant.TODAY ? vcpu.brokenRules().stream().findFirst() : Optional.empty();
    }

    @Override
    public Optional<String> lost(long[] memory) {
        words.at(memory);
        for (int vector : vectors) {
            if (!vcpu.isInIrr(vector) && (memory[taken()] >>> vector & 1) == 0) {
                return Optional.of("vector 0x" + Integer.toHexString(vector) + " is lost: the vCPU "
                        + (vcpu.isAsleep() ? "sleeps" : "runs") + ", PIR "
                        + (vcpu.descriptor().hasRequests() ? "not " : "")
                        + "empty, ON " + (vcpu.descriptor().isOn() ? 1 : 0));
            }
        }
        return Optional.empty();
    }

    @Override
    public boolean owns(int actor, int word) {
        return actor == VCPU && (word == PostedVcpu.MODE || word == PostedVcpu.CPU || word == taken());
    }

    @Override
    public boolean isConstant(int word) {
        // All vectors are in the first word of PIR, of the IRR and of those taken.
        return word > 0 && word < PiDescriptor.PIR_WORDS
                || word > PostedVcpu.IRR && word < PostedVcpu.MODE
                || word > taken();
    }

    @Override
    public String describe(Access access) {
        return WordNames.describe(access, this::name);
    }

    private String name(int word) {
        for (int cpu = 0; cpu < cpus; cpu++) {
            if (word == vm.at(cpu, PostedVm.PENDING)) {
                return "interrupts pending at cpu " + cpu;
            }
            if (word == vm.at(cpu, PostedVm.LIST)) {
                return "wake-up list of cpu " + cpu;
            }
        }
        return switch (word) {
            case 0 -> "PIR";
            case PostedVcpu.IRR -> "IRR";
            case PostedVcpu.MODE -> "guest mode";
            case PostedVcpu.ASLEEP -> "asleep";
            default -> word == vm.bypasses ? "bypasses" : "";
        };
    }
}
