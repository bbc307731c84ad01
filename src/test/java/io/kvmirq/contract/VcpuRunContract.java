/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.VmListener;
import io.kvmirq.kvm.WatchedVcpu;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.testing.AssembledGuest;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A vCPU that a VMM runs: exits and their answers, and runs that another thread ends. */
@Contract
class VcpuRunContract extends KernelSuite {
    private static final int START = 0x1000;
    private static final int PORT = 0x82;
    /** Delivery modes of a message. */
    private static final int INIT = 5 << 8;

    private static final int START_UP = 6 << 8;
    private static final String TELLS_AND_LOOPS = asm("out 0x82, al; loop: jmp loop");
    /** As before, but it halts for ever. */
    private static final String TELLS_AND_HALTS = asm("out 0x82, al; idle: hlt; jmp idle");

    private final Faults faults = new Faults();
    private Kernel opened;
    private Vm vm;
    private GuestMemory memory;

    private void open(String code) {
        world.assumeFullIrqchip();
        opened = Kernel.over(faults.over(kernel));
        vm = Vm.create(opened);
        vm.x86().createIrqchip();
        memory = vm.addMemory(0, 0xf000);
        memory.mapping().put(START, HexFormat.of().parseHex(code));
    }

    private Vcpu vcpu() {
        Vcpu vcpu = vm.createVcpu(new VcpuId(0));
        vcpu.x86().startAt(START, 0x8000);
        return vcpu;
    }

    @AfterEach
    void closeVm() {
        if (memory != null) {
            memory.close();
            vm.close();
            opened.close();
        }
    }

    // Exits

    @Test
    void readOfAPortIsAnswered() {
        open(asm("in ax, 0x44; out 0x82, ax; hlt"));
        try (Vcpu vcpu = vcpu()) {
            VcpuExit exit = vcpu.run();
            assertThat(exit.reason()).isEqualTo(VcpuExit.Reason.IO);
            assertThat(exit.number()).isEqualTo(2);
            assertThat(List.of(exit.port(), exit.size(), exit.count())).containsExactly(0x44, 2, 1);
            assertThat(exit.isWrite()).isFalse();
            assertThat(exit).hasToString("IO of port 0x44, 1 × 2 bytes read");
            exit.answer(0x12345);
            assertThatThrownBy(() -> exit.answer(1))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageStartingWith("access 0 of IO of port 0x44")
                    .hasMessageContaining("was answered before");
            assertThatThrownBy(() -> exit.answer(1, 1)).isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(exit::address)
                    .hasMessageContaining("IO of port 0x44")
                    .hasMessageContaining("MMIO");
            assertThat(vcpu.run()).isSameAs(exit);
            assertThat(exit.port()).isEqualTo(PORT);
            assertThat(exit.isWrite()).isTrue();
            assertThat(exit.data()).isEqualTo(0x2345);
            assertThatThrownBy(() -> exit.answer(1)).hasMessageContaining("was a write");
        }
    }

    @Test
    void readWithoutAnswerIsAllOnes() {
        open(asm("in al, 0x44; out 0x82, al; mov eax, [0xf800]; out 0x82, eax; hlt"));
        try (Vcpu vcpu = vcpu()) {
            assertThat(vcpu.run().port()).isEqualTo(0x44);
            assertThat(vcpu.run().data()).isEqualTo(0xff);
            VcpuExit exit = vcpu.run();
            assertThat(exit.address()).isEqualTo(0xf800);
            assertThat(exit.size()).isEqualTo(4);
            assertThat(vcpu.run().data()).isEqualTo(0xffff_ffffL);
        }
    }

    /** As the guest's first processor would. */
    private void start(Vcpu second, int page) {
        second.x86().enableLapic();
        long address = MsiMessage.to(new VcpuId(1), new InterruptVector(0x31)).address();
        vm.signal(new MsiMessage(address, INIT));
        vm.signal(new MsiMessage(address, START_UP | page >>> 12));
    }

    /** KVM_RUN answers EAGAIN between the start and the first instruction. */
    @Test
    void applicationProcessorRunsWhenItIsStarted() {
        open(asm("out 0x82, al; hlt"));
        vcpu().close();
        try (Vcpu other = vm.createVcpu(new VcpuId(1))) {
            start(other, START);
            assertThat(other.run().port()).isEqualTo(PORT);
        }
    }

    // Kicks

    @Test
    void kickBeforeARunEndsItOnce() {
        open(asm("out 0x82, al; out 0x82, al; hlt"));
        try (Vcpu vcpu = vcpu()) {
            vcpu.kick();
            vcpu.kick();
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
        }
    }

    /** Starts a thread that runs the vCPU to its first exit, and waits until its guest runs. */
    private FutureTask<VcpuExit.Reason> running(Vcpu vcpu) {
        EventFd told = EventFd.create(opened);
        IoEventFd doorbell = vm.assignIoEventFd(IoAddress.port(PORT, 1), told);
        FutureTask<VcpuExit.Reason> run = new FutureTask<>(() -> {
            vcpu.moveHere();
            return vcpu.run().reason();
        });
        new Thread(run, "runner").start();
        assertThat(told.await(Duration.ofHours(1))).isTrue();
        doorbell.close();
        told.close();
        return run;
    }

    @Test
    void kickEndsTheRunOfAGuestThatComputes() throws Exception {
        open(TELLS_AND_LOOPS);
        try (Vcpu vcpu = vcpu()) {
            FutureTask<VcpuExit.Reason> run = running(vcpu);
            vcpu.kick();
            assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
        }
    }

    /** The part of the first vCPU that other threads may read. */
    private static WatchedVcpu watched(Vm of) {
        List<WatchedVcpu> watched = new ArrayList<>();
        of.listeners().add(new VmListener() {
            @Override
            public void vcpuAdded(VcpuId added) {}

            @Override
            public void vcpuWatched(WatchedVcpu added) {
                watched.add(added);
            }

            @Override
            public void apicIdsWidened() {}
        });
        return watched.get(0);
    }

    /** A thread that looks never waits for the one that runs. */
    @Test
    void otherThreadsSeeWhetherTheVcpuIsInKvmRun() throws Exception {
        open(TELLS_AND_LOOPS);
        try (Vcpu vcpu = vcpu()) {
            WatchedVcpu seen = watched(vm);
            long first = seen.phase();
            assertThat(WatchedVcpu.isInRun(first) || WatchedVcpu.hasRun(first)).isFalse();
            FutureTask<VcpuExit.Reason> run = running(vcpu);
            long inside = seen.phase();
            assertThat(WatchedVcpu.isInRun(inside)).isTrue();
            vcpu.kick();
            run.get();
            long after = seen.phase();
            assertThat(WatchedVcpu.hasRun(after)).isTrue();
            vcpu.moveHere();
            vcpu.kick();
            vcpu.run();
            long again = seen.phase();
            assertThat(WatchedVcpu.hasRun(again)).isTrue();
            assertThat(List.of(first, inside, after, again)).doesNotHaveDuplicates();
        }
    }

    /** By the thread of the vCPU, at its next return from KVM_RUN. */
    @Test
    void lapicIsReadOnceForEachTimeThatAThreadAsks() {
        open(asm("loop: out 0x82, al; jmp loop"));
        try (Vcpu vcpu = vcpu()) {
            vcpu.x86().setLapic(vcpu.x86().lapic().set(X86Lapic.Name.LDR, 0x2 << 24));
            WatchedVcpu seen = watched(vm);
            WatchedVcpu.Lapic set = seen.lapic().orElseThrow();
            assertThat(seen.hasLapicOf(seen.phase())).isTrue();
            vcpu.run();
            assertThat(seen.lapic()).containsSame(set);
            assertThat(seen.hasLapicOf(seen.phase()))
                    .as("the guest may have changed it")
                    .isFalse();
            seen.askForLapic();
            assertThat(seen.lapic()).containsSame(set);
            vcpu.run();
            assertThat(seen.hasLapicOf(seen.phase())).isTrue();
            WatchedVcpu.Lapic read = seen.lapic().orElseThrow();
            assertThat(read.apicBase()).isEqualTo(0xfee00900L);
            assertThat(read.id()).isZero();
            assertThat(read.logicalId()).isEqualTo(0x2 << 24);
            assertThat(read.logicalFormat()).isEqualTo(-1);
            vcpu.run();
            assertThat(seen.lapic()).containsSame(read);
        }
    }

    /** Such a run fails with EINTR, and the kernel writes the page of the vCPU all the same. */
    @Test
    void lapicOfARunThatAKickHasEndedHasItsBase() {
        open(asm("loop: out 0x82, al; jmp loop"));
        try (Vcpu vcpu = vcpu()) {
            WatchedVcpu seen = watched(vm);
            seen.askForLapic();
            vcpu.kick();
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
            assertThat(seen.lapic().orElseThrow().apicBase()).isEqualTo(0xfee00900L);
        }
    }

    @Test
    void closeEndsTheRunOfAVcpuWhoseLapicIsAskedFor() throws Exception {
        open(TELLS_AND_HALTS);
        Vcpu vcpu = vcpu();
        FutureTask<VcpuExit.Reason> run = running(vcpu);
        watched(vm).askForLapic();
        vcpu.close();
        assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
    }

    @Test
    void vcpuWithoutALapicInTheKernelAnswersNothing() {
        open(asm("loop: out 0x82, al; jmp loop"));
        try (Vm bare = Vm.create(opened);
                AssembledGuest guest = new AssembledGuest(bare, "loop: out 0x82, al; jmp loop")) {
            Vcpu vcpu = guest.vcpu;
            WatchedVcpu seen = watched(bare);
            seen.askForLapic();
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
            assertThat(seen.lapic()).isEmpty();
        }
    }

    /** The guest was entered, although the run has failed. */
    @Test
    void cpuidStaysAfterARunThatAKickHasEnded() throws Exception {
        open(TELLS_AND_LOOPS);
        try (Vcpu vcpu = vcpu()) {
            FutureTask<VcpuExit.Reason> run = running(vcpu);
            vcpu.kick();
            assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
            vcpu.moveHere();
            Cpuid other = Cpuid.of(List.of(new Cpuid.Leaf(7, 0, 0, 0, 0, 0, 0)));
            assertThatThrownBy(() -> vcpu.x86().setCpuid(other)).hasMessageContaining("EINVAL");
        }
    }

    @Test
    void closeEndsTheRunOfAGuestThatHalts() throws Exception {
        open(TELLS_AND_HALTS);
        Vcpu vcpu = vcpu();
        FutureTask<VcpuExit.Reason> run = running(vcpu);
        vcpu.close();
        assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
        vcpu.kick();
    }

    @Test
    void kickEndsTheRunOfAnApThatWasNeverStarted() throws Exception {
        open(TELLS_AND_HALTS);
        vcpu().close();
        try (Vcpu other = vm.createVcpu(new VcpuId(1))) {
            CountDownLatch moved = new CountDownLatch(1);
            FutureTask<VcpuExit.Reason> run = new FutureTask<>(() -> {
                other.moveHere();
                moved.countDown();
                return other.run().reason();
            });
            new Thread(run).start();
            moved.await();
            other.kick();
            assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
        }
    }

    /** The user may have too many signals pending. */
    @Test
    void kickIsSentAgainWhereTheQueueIsFull() throws Exception {
        open(TELLS_AND_LOOPS);
        try (Vcpu vcpu = vcpu()) {
            FutureTask<VcpuExit.Reason> run = running(vcpu);
            faults.fail("tgkill", 1, Errno.EAGAIN).fail("tgkill", 2, Errno.EAGAIN);
            vcpu.kick();
            assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
            assertThat(faults.unused()).isEmpty();
        }
    }

    /** After close nothing else could end the run. */
    @Test
    void closeEndsTheRunThoughItsFirstSignalIsRefused() throws Exception {
        open(TELLS_AND_LOOPS);
        Vcpu vcpu = vcpu();
        FutureTask<VcpuExit.Reason> run = running(vcpu);
        faults.fail("tgkill", 1, Errno.ESRCH);
        vcpu.close();
        assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
        assertThat(faults.unused()).isEmpty();
    }

    /** The user may have no room for a signal, and a filter of system calls may refuse it for ever. */
    @ParameterizedTest
    @ValueSource(ints = {1, 11})
    void runThatNoKickCouldEndDoesNotBegin(int number) {
        open(asm("loop: out 0x82, al; jmp loop"));
        faults.failEvery("tgkill", new Errno(number));
        try (Vcpu vcpu = vcpu()) {
            assertThatThrownBy(vcpu::run)
                    .isInstanceOfSatisfying(
                            KernelException.class, e -> assertThat(e.errno()).isEqualTo(new Errno(number)))
                    .hasMessageContaining("signal send to its own thread, as a kick: E");
            faults.clear();
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
        }
    }

    @Test
    void kickReturnsThoughEverySignalIsRefused() throws Exception {
        open(TELLS_AND_LOOPS);
        try (Vcpu vcpu = vcpu()) {
            FutureTask<VcpuExit.Reason> run = running(vcpu);
            faults.failEvery("tgkill", Errno.EPERM).listen();
            vcpu.kick();
            assertThat(faults.count("tgkill")).isGreaterThan(1);
            faults.clear();
            vcpu.kick();
            assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
        }
    }

    /** Two threads kick while a guest exits again and again; then no signal is left, and no kick. */
    @Test
    void noSignalIsLeftByKicksThatCross() throws Exception {
        open(asm("loop: out 0x82, al; jmp loop"));
        int wanted = kernel.isReal() ? 20_000 : 2_000;
        try (Vcpu vcpu = vcpu()) {
            AtomicBoolean stop = new AtomicBoolean();
            List<Thread> kickers = List.of(new Thread(() -> kick(vcpu, stop)), new Thread(() -> kick(vcpu, stop)));
            kickers.forEach(Thread::start);
            int kicked = 0;
            for (int exits = 0; exits < wanted || kicked == 0; exits++) {
                kicked += vcpu.run().reason() == VcpuExit.Reason.INTR ? 1 : 0;
            }
            stop.set(true);
            for (Thread kicker : kickers) {
                kicker.join();
            }
            assertThat(kicked).isPositive();
            vcpu.run();
            vcpu.run();
            assertThat(vcpu.run().reason()).as("no kick is left").isEqualTo(VcpuExit.Reason.IO);
            assertThat(pendingSignal()).as("nor a signal").isEqualTo(-Errno.EAGAIN.number());
        }
    }

    private static void kick(Vcpu vcpu, AtomicBoolean stop) {
        while (!stop.get()) {
            vcpu.kick();
        }
    }

    /** The lowest real-time signal that is pending in this thread; else -EAGAIN. */
    private long pendingSignal() {
        ByteBuffer set = ByteBuffer.allocateDirect(24)
                .order(ByteOrder.nativeOrder())
                .putLong(0, -1L << 33)
                .putLong(8, 0)
                .putLong(16, 0);
        long at = libc.addressOf(set);
        return libc.syscall(SystemCall.RT_SIGTIMEDWAIT, at, 0, at + 8, 8);
    }

    // Pauses

    private static final int PAUSES = 1000;
    private static final int SECOND = 0x2000;

    /** Kicks end the runs of both vCPUs; each thread reads the state of its own, and runs on. */
    @Test
    void guestWhoseSecondProcessorHaltsIsPausedAThousandTimes() throws Exception {
        open(asm("loop: out 0x82, al; jmp loop"));
        memory.mapping().put(SECOND, bytes("out 0x83, al; idle: hlt; jmp idle"));
        try (Vcpu first = vcpu();
                Vcpu second = vm.createVcpu(new VcpuId(1))) {
            start(second, SECOND);
            assertThat(second.run().port()).isEqualTo(0x83);
            halts(second);
            CyclicBarrier paused = new CyclicBarrier(3);
            List<FutureTask<VcpuState>> runs = List.of(pausing(first, paused), pausing(second, paused));
            runs.forEach(run -> new Thread(run).start());
            for (int i = 0; i < PAUSES; i++) {
                first.kick();
                second.kick();
                paused.await();
                paused.await();
            }
            assertThat(runs.get(0).get()).isEqualTo(VcpuState.RUNNABLE);
            assertThat(runs.get(1).get()).isEqualTo(VcpuState.HALTED);
        }
    }

    /** The vCPU runs until its guest halted. A kick may always come first, on one processor it often does. */
    private static void halts(Vcpu vcpu) throws InterruptedException {
        for (int runs = 0; runs < 100_000 && vcpu.state() != VcpuState.HALTED; runs++) {
            Thread kicker = new Thread(vcpu::kick);
            kicker.start();
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
            kicker.join();
        }
        assertThat(vcpu.state()).isEqualTo(VcpuState.HALTED);
    }

    /** The state of the vCPU in the last pause. */
    private static FutureTask<VcpuState> pausing(Vcpu vcpu, CyclicBarrier paused) {
        return new FutureTask<>(() -> {
            vcpu.moveHere();
            VcpuState state = vcpu.state();
            for (int pauses = 0; pauses < PAUSES; ) {
                if (vcpu.run().reason() == VcpuExit.Reason.INTR) {
                    state = vcpu.state();
                    assertThat(vcpu.x86().registers().get(X86Registers.Name.RIP))
                            .isLessThan(SECOND);
                    paused.await();
                    paused.await();
                    pauses++;
                }
            }
            return state;
        });
    }

    // Threads

    @Test
    void onlyOneThreadRunsAVcpu() throws Exception {
        open(TELLS_AND_LOOPS);
        try (Vcpu vcpu = vcpu()) {
            FutureTask<VcpuExit.Reason> run = running(vcpu);
            assertThatThrownBy(vcpu::run)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("belongs to thread 'runner'");
            assertThatThrownBy(() -> vcpu.x86().startAt(START, 0x8000))
                    .hasMessageContaining("belongs to thread 'runner'");
            assertThatThrownBy(vcpu::moveHere)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("is run by thread 'runner'");
            vcpu.kick();
            run.get();
            vcpu.moveHere();
            vcpu.x86().startAt(START, 0x8000);
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
        }
    }
}
