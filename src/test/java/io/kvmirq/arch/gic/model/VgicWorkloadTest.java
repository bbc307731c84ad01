/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Random devices, senders and guests: every pending interrupt is delivered, no level is stuck, and each SGI arrives
 * once from each source.
 */
class VgicWorkloadTest {
    private static final int WORKLOADS = Integer.getInteger("kvmirq.vgic.workloads", 100_000);
    /** Workloads of a program, and steps of a workload. */
    private static final int OF_A_VM = 1_000;

    private static final int OPERATIONS = 30;
    private static final int VCPUS = 3;
    private static final int[] EDGES = {16, 32, 33, 40};
    private static final int[] LEVELS = {17, 27, 34, 35, 63};
    /** Levels and an edge that may come as hardware interrupts, too. */
    private static final int[] HARDWARE = {27, 33, 35};

    private static final int SGIS = 2;
    private static final int IDS = 64;
    private static final int MOST_PASSES = 1_000;

    private Choices random = Choices.of(0);
    private boolean draining;
    private VgicVm vm = new VgicVm(new HostCpus(0), 1, 0, 1, id -> {});
    private final boolean[] inGuest = new boolean[VCPUS];

    /** By vCPU, what the guest has taken and not ended. */
    private final int[][] active = new int[VCPUS][IDS];

    private final int[] actives = new int[VCPUS];

    // By vCPU for private interrupts, in row 0 for SPIs
    private final int[][] edgesRaised = new int[VCPUS][IDS];
    private final int[][] edgesTaken = new int[VCPUS][IDS];
    private final boolean[][] edgeWaits = new boolean[VCPUS][IDS];
    private final boolean[][] high = new boolean[VCPUS][IDS];
    /** By source, target and number. */
    private final boolean[][][] sent = new boolean[VCPUS][VCPUS][SGIS];

    private void make(int registers) {
        vm = new VgicVm(new HostCpus(0, 1, 2), VCPUS, IDS - 32, registers, this::deactivate);
        Distributor gic = vm.distributor();
        for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
            gic.clear(InterruptState.LEVEL, vcpu, 0, 1 << 16);
            gic.set(InterruptState.ENABLED, vcpu, 0, -1);
        }
        for (int level : LEVELS) {
            gic.set(InterruptState.LEVEL, 0, level & ~31, 1 << level);
        }
        for (int id = 0; id < IDS; id++) {
            gic.setPriority(0, id, id % 4 * 0x10);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4, 16})
    void everyPendingInterruptIsDelivered(int registers) {
        Search.run(registers + " list registers", 0, Math.max(1, WORKLOADS / OF_A_VM), random -> {
            VgicWorkloadTest program = new VgicWorkloadTest();
            program.random = random;
            program.make(registers);
            for (int i = 1; random.step(OF_A_VM * OPERATIONS); i++) {
                boolean settles = random.keep(i % OPERATIONS == 0 ? 1 : 0) != 0;
                program.act();
                if (settles) {
                    random.note("settle");
                    program.settle();
                }
            }
            program.settle();
        });
    }

    private static final List<String> WORDS = List.of(
            "edge", "edge", "line high", "line high", "line low", "SGI", "disable", "enable", "target", "hardware");

    private void settle() {
        draining = true;
        // To enable one again would offer it again, and hide that an offer was lost.
        Distributor distributor = vm.distributor();
        distributor.set(InterruptState.ENABLED, 0, 32, ~distributor.word(InterruptState.ENABLED, 0, 32));
        drain();
        check();
        draining = false;
    }

    private static int row(int vcpu, int id) {
        return id < 32 ? vcpu : 0;
    }

    private int any(int... of) {
        int id = of[random.nextInt(of.length)];
        random.note("id " + id);
        return id;
    }

    private void act() {
        Distributor gic = vm.distributor();
        int vcpu = random.nextInt(VCPUS);
        int what = random.nextInt(13);
        random.note((what < WORDS.size() ? WORDS.get(what) : "run") + " of vCPU " + vcpu);
        switch (what) {
            case 0, 1 -> {
                int id = any(EDGES);
                countEdge(vcpu, id);
                gic.raise(vcpu, id);
            }
            case 2, 3 -> setLine(vcpu, any(LEVELS), true);
            case 4 -> setLine(vcpu, any(LEVELS), false);
            case 5 -> {
                int from = random.nextInt(VCPUS);
                int sgi = random.nextInt(SGIS);
                if (!sent[from][vcpu][sgi]) {
                    sent[from][vcpu][sgi] = true;
                    gic.send(from, vcpu, sgi);
                }
            }
            case 6 -> gic.clear(InterruptState.ENABLED, 0, 32, random.nextInt());
            case 7 -> gic.set(InterruptState.ENABLED, 0, 32, random.nextInt());
            case 8 -> gic.setTarget(any(32, 33, 34, 35, 40, 63), vcpu);
            case 9 -> setHardware(vcpu, any(HARDWARE));
            default -> step(vcpu);
        }
    }

    private void countEdge(int vcpu, int id) {
        edgesRaised[row(vcpu, id)][id]++;
        edgeWaits[row(vcpu, id)][id] = true;
    }

    /** The line of a hardware interrupt rises. KVM puts it into a free list register, if none holds it. */
    private void setHardware(int vcpu, int id) {
        VirtualInterface registers = vm.vcpu(vcpu).registers();
        long free = registers.empty();
        boolean isPrivate = id < InterruptId.FIRST_SPI;
        boolean held = false;
        for (int i = 0; i < VCPUS; i++) {
            for (int j = 0; j < registers.registers() && (i == vcpu || !isPrivate); j++) {
                held |= ListRegister.VIRTUAL_ID.of(vm.vcpu(i).registers().listRegister(j)) == id;
            }
        }
        boolean isTarget = isPrivate || vm.distributor().target(id) == vcpu;
        if (!held
                && isTarget
                && free != 0
                && !inGuest[vcpu]
                && !vm.vcpu(vcpu).thread().isAsleep()) {
            registers.setListRegister(
                    Long.numberOfTrailingZeros(free),
                    ListRegister.HW.mask()
                            | ListRegister.PHYSICAL_ID.with(id)
                            | ListRegister.PRIORITY.with(vm.distributor().priority(vcpu, id) >> 3)
                            | ListRegister.PENDING.mask()
                            | id);
            if (vm.distributor().isLevel(vcpu, id)) {
                setLine(vcpu, id, true);
            } else {
                countEdge(vcpu, id);
            }
        }
    }

    private void setLine(int vcpu, int id, boolean to) {
        high[row(vcpu, id)][id] = to;
        if (to) {
            vm.distributor().raise(vcpu, id);
            if (Arrays.stream(HARDWARE).anyMatch(hardware -> hardware == id)) {
                fire(id);
            }
        } else {
            vm.distributor().lower(vcpu, id);
        }
    }

    private void deactivate(int id) {
        assertThat(HARDWARE).contains(id);
        fire(id);
    }

    /**
     * The physical interrupt fires if its line is high, or its edge came again, and the guest has not to end it: a guest
     * that has it exits.
     */
    private void fire(int id) {
        for (int i = 0; i < VCPUS; i++) {
            VirtualInterface registers = vm.vcpu(i).registers();
            for (int j = 0; j < registers.registers(); j++) {
                long word = registers.listRegister(j);
                boolean isHeld = ListRegister.HW.isSet(word) && ListRegister.VIRTUAL_ID.of(word) == id;
                if (isHeld
                        && ListRegister.isEmpty(word)
                        && (high[row(i, id)][id] || vm.distributor().is(InterruptState.LATCH, i, id))) {
                    vm.vcpu(i).kick();
                }
            }
        }
    }

    /** One thing that the thread of a vCPU or its guest does. Interrupts of its CPU are late at random. */
    private void step(int index) {
        VcpuThread thread = vm.vcpu(index).thread();
        HostCpu cpu = vm.host().cpu(index);
        if (thread.isAsleep()) {
            return;
        }
        if (!thread.isLoaded()) {
            thread.load(index);
            if (thread.isBlocking()) {
                thread.unblock();
            }
        } else if (inGuest[index]) {
            if (random.nextInt(3) == 0) {
                thread.exit();
                inGuest[index] = false;
            } else {
                serve(index);
            }
        } else {
            switch (random.nextInt(5)) {
                case 0 -> thread.preempt();
                case 1 -> thread.block(true);
                case 2 -> cpu.takeInterrupt();
                default -> enter(index);
            }
        }
    }

    /** An interrupt that a list register offers has left the distributor, or the guest would take it twice. */
    private void enter(int index) {
        inGuest[index] = vm.vcpu(index).thread().enter();
        VirtualInterface registers = vm.vcpu(index).registers();
        for (int i = 0; inGuest[index] && i < registers.registers(); i++) {
            long word = registers.listRegister(i);
            int id = (int) ListRegister.VIRTUAL_ID.of(word);
            if (id >= InterruptId.FIRST_PPI && ListRegister.PENDING.isSet(word)) {
                assertThat(vm.distributor().banks().wanting(index, id) >>> id % Distributor.WORD & 1)
                        .as("%d is in list register %d of vCPU %d and in the distributor", id, i, index)
                        .isZero();
            }
        }
    }

    /** @return whether the guest did something */
    private boolean serve(int index) {
        if (actives[index] > 0 && random.nextBoolean()) {
            return end(index);
        }
        int answer = vm.vcpu(index).guest().acknowledge();
        if (answer == GuestCpuInterface.SPURIOUS) {
            return actives[index] > 0 && end(index);
        }
        active[index][actives[index]++] = answer;
        int id = answer & 0x3ff;
        if (id < SGIS) {
            assertThat(sent[answer >> 10][index][id])
                    .as("SGI %d from %d", id, answer >> 10)
                    .isTrue();
            sent[answer >> 10][index][id] = false;
        } else if (vm.distributor().isLevel(index, id)) {
            if (draining || random.nextBoolean()) {
                setLine(index, id, false);
            }
        } else {
            edgesTaken[row(index, id)][id]++;
            edgeWaits[row(index, id)][id] = false;
        }
        return true;
    }

    private boolean end(int index) {
        vm.vcpu(index).guest().end(active[index][--actives[index]]);
        return true;
    }

    /** Guests run until none can go on. One that is not kicked stays in its guest, and one that sleeps is not woken. */
    private void drain() {
        for (int pass = 0; pass < MOST_PASSES; pass++) {
            boolean idle = true;
            for (int i = 0; i < VCPUS; i++) {
                idle &= !goesOn(i);
            }
            if (idle) {
                return;
            }
        }
        fail("the guests never come to rest");
    }

    private boolean goesOn(int index) {
        VcpuThread thread = vm.vcpu(index).thread();
        HostCpu cpu = vm.host().cpu(index);
        if (thread.isAsleep()) {
            return false;
        }
        if (!thread.isLoaded()) {
            thread.load(index);
            if (thread.isBlocking()) {
                thread.unblock();
            }
        }
        boolean went = false;
        if (inGuest[index]) {
            while (serve(index)) {
                went = true;
            }
            if (thread.isInGuestMode() && !cpu.isInterrupted()) {
                return went;
            }
            thread.exit();
        }
        while (cpu.isInterrupted()) {
            cpu.takeInterrupt();
        }
        enter(index);
        return true;
    }

    private void check() {
        Distributor gic = vm.distributor();
        for (int i = 0; i < VCPUS; i++) {
            assertThat(actives[i]).as("active in vCPU %d", i).isZero();
            for (int id = 0; id < IDS; id++) {
                assertThat(edgeWaits[i][id])
                        .as("edge %d of vCPU %d waits", id, i)
                        .isFalse();
                assertThat(high[i][id]).as("line %d of vCPU %d is high", id, i).isFalse();
                if (edgesTaken[i][id] > edgesRaised[i][id]) {
                    fail("edge %d of vCPU %d was taken more often than raised", id, i);
                }
            }
            for (int first = 0; first < IDS; first += 32) {
                if (gic.pending(i, first) != 0 || gic.banks().wanting(i, first) != 0) {
                    fail("pending in vCPU %d: 0x%x", i, gic.pending(i, first));
                }
            }
            for (int from = 0; from < VCPUS; from++) {
                for (int sgi = 0; sgi < SGIS; sgi++) {
                    assertThat(sent[from][i][sgi])
                            .as("SGI %d from %d to %d waits", sgi, from, i)
                            .isFalse();
                }
            }
            VirtualInterface registers = vm.vcpu(i).registers();
            assertThat(registers.empty()).isEqualTo((1L << registers.registers()) - 1);
        }
    }
}
