/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Explorer.Access;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Operation;
import io.kvmirq.explorer.Space;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Two vCPUs, their interrupts, and the CPUs that take maintenance interrupts, in every order. vCPU 0 begins in its
 * guest on CPU 0. vCPU 1 begins asleep. A third vCPU only sends.
 *
 * <p>A guest takes the distributor's lock when its hardware uses list registers, so that these accesses are no steps:
 * nothing else accesses the list registers of a guest that runs.
 */
final class VgicSpace implements Explorer.Model, Space {
    static final int EDGE = 32;
    static final int OTHER_EDGE = 33;
    static final int LEVEL = 34;
    static final int SGI = 1;

    private static final int VCPUS = 2;
    private static final int SENDERS = 3;
    private static final int SHARED = 3;
    /** The bit of {@link #EDGE} in the marks. The bits of sources of the SGI are below. */
    private static final int FIRST_EDGE = SENDERS;

    private static final int MOST_PASSES = 10;

    private final boolean isLate;
    private final ExploredWords words;
    private final VgicVm vm;
    private final Distributor gic;
    /** The interrupts that guests have taken. */
    private final int taken;
    /** The interrupts that were sent. */
    private final int sent;

    private final long[] start;
    private final List<Actor> actors = new ArrayList<>();
    private final List<Operation> first = new ArrayList<>();
    private final List<Operation> second = new ArrayList<>();

    /**
     * @param isLate whether a CPU may take a maintenance interrupt later than when its guest exits
     * @param raisedOnce whether the interrupt is raised at the end only, and not again when list registers are loaded
     */
    VgicSpace(VgicVariant variant, int registers, boolean isLate, boolean raisedOnce) {
        this.isLate = isLate;
        int ofVm = HostCpus.words(VCPUS);
        this.taken = ofVm + VgicVm.words(SENDERS, SHARED, registers);
        this.sent = taken + 1;
        this.words = new ExploredWords(sent + 1);
        this.start = new long[words.size()];
        words.at(start);
        this.vm = new VgicVm(
                new HostCpus(words, 0, 0, 1),
                words,
                ofVm,
                new VgicVm.Size(SENDERS, SHARED, registers),
                id -> {},
                variant.parts(raisedOnce));
        this.gic = vm.distributor();
        gic.set(InterruptState.LEVEL, 0, 32, 1 << LEVEL);
        gic.set(InterruptState.ENABLED, 0, 32, 7);
        thread(0).load(0);
        thread(0).enter();
        thread(1).load(1);
        thread(1).block(true);
    }

    private VcpuThread thread(int vcpu) {
        return vm.vcpu(vcpu).thread();
    }

    /** vCPU 0 has taken the level, whose line stays high, and has not ended it. */
    VgicSpace inService() {
        words.at(start);
        thread(0).exit();
        gic.raise(0, LEVEL);
        thread(0).enter();
        vm.vcpu(0).guest().acknowledge();
        first.add(operation(0, "end", () -> end(0, LEVEL)));
        return this;
    }

    /** An edge is in a list register of vCPU 0, which has not taken it. */
    VgicSpace queued() {
        words.at(start);
        thread(0).exit();
        gic.raise(0, EDGE);
        words.or(sent, 1L << FIRST_EDGE);
        thread(0).enter();
        return this;
    }

    /** vCPU 0 does so many things before it runs on. */
    VgicSpace anything(int count, boolean mayBlock) {
        for (int i = 0; i < count; i++) {
            first.add(operation(0, "", () -> anything(mayBlock)));
        }
        return this;
    }

    /** vCPU 0 leaves its CPU and goes on on the other one. vCPU 1 comes to the first and runs there. */
    VgicSpace swapped() {
        words.at(start);
        thread(1).wake();
        first.add(operation(0, "exit", () -> thread(0).exit()));
        first.add(operation(0, "preempt", () -> withoutHandler(0, thread(0)::preempt)));
        first.add(operation(
                0, "load on cpu 1", () -> withoutHandler(1, () -> thread(0).load(1))));
        int loaded = thread(0).at(VcpuThread.LOADED);
        int cpu = thread(0).at(VcpuThread.CPU);
        second.add(operation(1, "load on cpu 0", () -> {
                    withoutHandler(0, () -> thread(1).load(0));
                    thread(1).unblock();
                })
                .when(state -> state[loaded] == 0 || state[cpu] == 1));
        return this;
    }

    /** A thread that comes to a CPU or leaves it is not there while the CPU's handler runs: the handler ends first. */
    private void withoutHandler(int cpu, Runnable step) {
        HostCpu here = vm.host().cpu(cpu);
        here.interruptsOff();
        step.run();
        here.interruptsOn();
    }

    /** vCPU 1 wakes and runs when it gets an interrupt. */
    VgicSpace sleeper() {
        second.add(operation(1, "wake", () -> {
            thread(1).load(1);
            thread(1).unblock();
        }));
        return this;
    }

    VgicSpace actor(String name, String what, Runnable... code) {
        List<Operation> operations = new ArrayList<>();
        for (Runnable runnable : code) {
            operations.add(words.operation(what, runnable));
        }
        actors.add(new Actor(name, operations, false));
        return this;
    }

    VgicSpace sender(int from) {
        return actor("vcpu " + from, "send SGI", () -> {
            gic.send(from, 0, SGI);
            words.or(sent, 1L << from);
        });
    }

    VgicSpace edge(int id) {
        return actor("device " + id, "raise " + id, () -> {
            gic.raise(0, id);
            words.or(sent, 1L << FIRST_EDGE + id - EDGE);
        });
    }

    /** The line of the level rises, falls and rises. A guest that serves the device makes it fall, too. */
    VgicSpace toggling() {
        return actor(
                "device",
                "change line",
                () -> gic.raise(0, LEVEL),
                () -> gic.lower(0, LEVEL),
                () -> gic.raise(0, LEVEL));
    }

    /** The level is routed to vCPU 1. */
    VgicSpace rerouted() {
        return actor("guest", "route to vcpu 1", () -> gic.setTarget(LEVEL, 1));
    }

    /** A sleeping thread waits. Unless maintenance interrupts are late, its CPU takes one before the thread goes on. */
    private Operation operation(int vcpu, String name, Runnable code) {
        VcpuThread thread = thread(vcpu);
        HostCpu cpu = vm.host().cpu(vcpu);
        return words.operation(name, code)
                .when(state -> state[thread.at(VcpuThread.ASLEEP)] == 0
                        && (isLate || state[cpu.at(HostCpu.PENDING)] == 0 || state[cpu.at(HostCpu.GUEST)] != 0));
    }

    private void anything(boolean mayBlock) {
        VcpuThread thread = thread(0);
        if (!thread.isLoaded()) {
            beLoaded(0);
        } else if (isEntered(thread)) {
            boolean serves = words.cpu().choose(2) == 0;
            words.cpu().does(serves ? "take and end" : "exit");
            if (serves) {
                serve(0);
            } else {
                thread.exit();
            }
        } else {
            boolean blocks = mayBlock && words.cpu().choose(2) == 0;
            words.cpu().does(blocks ? "block" : "enter");
            if (blocks) {
                thread.block(true);
            } else {
                thread.enter();
            }
        }
    }

    private boolean isEntered(VcpuThread thread) {
        return words.get(thread.at(VcpuThread.MODE)) != 0;
    }

    private void beLoaded(int vcpu) {
        VcpuThread thread = thread(vcpu);
        if (!thread.isLoaded()) {
            words.cpu().does("load");
            thread.load(vcpu);
            if (thread.isBlocking()) {
                thread.unblock();
            }
        }
    }

    private void beInGuest(int vcpu) {
        if (!isEntered(thread(vcpu))) {
            words.cpu().does("enter");
            thread(vcpu).enter();
        }
    }

    /** The guest takes an interrupt, serves the device, and ends the interrupt. @return whether there was one */
    private boolean serve(int vcpu) {
        gic.lock();
        int answer = vm.vcpu(vcpu).guest().acknowledge();
        int id = answer & 0x3ff;
        if (id == LEVEL) {
            gic.banks().put(InterruptState.LINE, 0, LEVEL, false);
        } else if (id != GuestCpuInterface.SPURIOUS) {
            words.set(taken, words.get(taken) | 1L << (id == SGI ? answer >> 10 : FIRST_EDGE + id - EDGE));
        }
        gic.unlock();
        if (id != GuestCpuInterface.SPURIOUS) {
            end(vcpu, answer);
        }
        return id != GuestCpuInterface.SPURIOUS;
    }

    private void end(int vcpu, int answer) {
        gic.lock();
        vm.vcpu(vcpu).guest().end(answer);
        gic.unlock();
    }

    @Override
    public Explorer explorer(Memory memory) {
        List<Actor> all = new ArrayList<>();
        first.add(operation(0, "", () -> beLoaded(0)));
        first.add(operation(0, "", () -> beInGuest(0)));
        all.add(new Actor("vcpu 0", first, false));
        for (HostCpu cpu : vm.host().cpus()) {
            all.add(Actor.answering(
                    "cpu " + cpu.number(),
                    words.operation("take interrupt", cpu::takeInterrupt)
                            .when(state -> state[cpu.at(HostCpu.PENDING)] != 0
                                    && state[cpu.at(HostCpu.INTERRUPTS_OFF)] == 0
                                    && state[cpu.at(HostCpu.GUEST)] == 0)));
        }
        if (!second.isEmpty()) {
            second.add(operation(1, "", () -> beInGuest(1)));
            all.add(new Actor("vcpu 1", second, false));
        }
        all.addAll(actors);
        return new Explorer(all, memory, this);
    }

    @Override
    public long[] start() {
        return start.clone();
    }

    /** Guests go on: one that is kicked or whose CPU is interrupted exits and enters. */
    private void settle() {
        for (int pass = 0; pass < MOST_PASSES; pass++) {
            for (int i = 0; i < VCPUS; i++) {
                goOn(i);
            }
        }
    }

    private void goOn(int index) {
        VcpuThread thread = thread(index);
        if (thread.isAsleep()) {
            return;
        }
        beLoaded(index);
        HostCpu cpu = thread.last().orElseThrow();
        if (isEntered(thread)) {
            boolean serves = true;
            while (serves) {
                serves = serve(index);
            }
            if (thread.isInGuestMode() && !cpu.isInterrupted()) {
                return;
            }
            thread.exit();
        }
        while (cpu.isInterrupted()) {
            cpu.takeInterrupt();
        }
        thread.enter();
    }

    @Override
    public Optional<String> lost(long[] memory) {
        words.at(memory.clone());
        settle();
        return left();
    }

    private Optional<String> left() {
        for (int id : new int[] {SGI, EDGE, OTHER_EDGE, LEVEL}) {
            long pending = gic.banks().pending(0, id) >>> id % Distributor.WORD & 1;
            if (pending != 0) {
                int target = gic.banks().target(0, id);
                return Optional.of("vcpu " + target + (thread(target).isAsleep() ? " sleeps" : " runs") + ", and "
                        + InterruptId.text(id) + " is pending");
            }
        }
        long missing = words.get(sent) & ~words.get(taken);
        return missing == 0
                ? Optional.empty()
                : Optional.of(
                        Long.numberOfTrailingZeros(missing) < FIRST_EDGE
                                ? "SGI 1 of vcpu " + Long.numberOfTrailingZeros(missing) + " is lost"
                                : "an edge is lost");
    }

    /** Each guest that runs exits and enters. */
    @Override
    public boolean heals(long[] memory) {
        words.at(memory.clone());
        settle();
        for (int i = 0; i < VCPUS; i++) {
            if (isEntered(thread(i))) {
                thread(i).exit();
                thread(i).enter();
            }
        }
        settle();
        return left().isEmpty();
    }

    @Override
    public boolean owns(int actor, int word) {
        if (actor != 0 || !second.isEmpty()) {
            return false;
        }
        return word == thread(0).at(VcpuThread.CPU)
                || word == thread(0).at(VcpuThread.LOADED)
                || word == vm.vcpu(0).at(VgicVcpu.ON)
                || word == vm.host().cpu(0).at(HostCpu.GUEST);
    }

    @Override
    public boolean isPrivate(int actor, int word) {
        return actor == 0 && word == thread(0).at(VcpuThread.BLOCKING);
    }

    @Override
    public int lockOf(int word) {
        int banks = gic.at(Distributor.FLAGS + SENDERS);
        boolean ofBanks = word >= banks && word < banks + Banks.words(SENDERS, SHARED);
        boolean ofRegisters = false;
        for (int i = 0; i < VCPUS; i++) {
            VirtualInterface registers = vm.vcpu(i).registers();
            ofRegisters |= word == registers.at(VirtualInterface.CONTROL)
                    || word >= registers.at(VirtualInterface.USED)
                            && word < registers.at(VirtualInterface.REGISTERS) + registers.registers();
        }
        return ofBanks || ofRegisters || word == taken ? gic.at(Distributor.LOCK) : -1;
    }

    @Override
    public boolean isConstant(int word) {
        for (int i = 0; i < SENDERS; i++) {
            if (word == vm.vcpu(i).registers().at(VirtualInterface.MACHINE)
                    || word == vm.vcpu(i).at(VgicVcpu.HELD)) {
                return true;
            }
        }
        return false;
    }

    @Override
    public String describe(Access access) {
        int word = access.word();
        if (word < 0 || access.before() == access.after()) {
            return "";
        }
        for (int i = 0; i < VCPUS; i++) {
            VirtualInterface registers = vm.vcpu(i).registers();
            if (word == gic.at(Distributor.FLAGS + i)) {
                return "flag of vcpu " + i + " = " + access.after();
            }
            if (word == thread(i).at(VcpuThread.ASLEEP)) {
                return "asleep = " + access.after();
            }
            if (word == thread(i).at(VcpuThread.MODE)) {
                return "guest mode = " + access.after();
            }
            if (word == vm.host().cpu(i).at(HostCpu.PENDING)) {
                return access.after() == 0 ? "no interrupt at cpu " + i : "maintenance interrupt at cpu " + i;
            }
            int number = word - registers.at(VirtualInterface.REGISTERS);
            if (number >= 0 && number < registers.registers()) {
                return "LR" + number + " = " + ListRegister.FORMAT.text(access.after());
            }
        }
        return "";
    }
}
