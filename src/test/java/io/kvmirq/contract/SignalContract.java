/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.uapi.Signals;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Signals of threads, and how one ends KVM_RUN: kernel/signal.c, kvm_main.c kvm_vcpu_ioctl_set_sigmask(). */
@Contract
class SignalContract extends KernelSuite {
    private static final int SIGNAL = 60;
    private static final int OTHER = 61;
    private static final long NOWHERE = 8;

    private final ByteBuffer set = Buffers.allocate(Signals.SET_SIZE);
    private final ByteBuffer before = Buffers.allocate(Signals.SET_SIZE);
    private final ByteBuffer timeout = Buffers.allocate(Uapi.Timespec.SIZE);

    private long address(ByteBuffer buffer) {
        return libc.addressOf(buffer);
    }

    private long mask(int how, long signals) {
        set.putLong(0, signals);
        return libc.syscall(SystemCall.RT_SIGPROCMASK, how, address(set), address(before), Signals.SET_SIZE);
    }

    private long take(long signals) {
        set.putLong(0, signals);
        timeout.putLong(0, 0).putLong(Long.BYTES, 0);
        return libc.syscall(SystemCall.RT_SIGTIMEDWAIT, address(set), 0, address(timeout), Signals.SET_SIZE);
    }

    private long process() {
        return libc.syscall(SystemCall.GETPID, 0, 0, 0, 0);
    }

    private long thread() {
        return libc.syscall(SystemCall.GETTID, 0, 0, 0, 0);
    }

    private long send(long thread, int signal) {
        return libc.syscall(SystemCall.TGKILL, process(), thread, signal, 0);
    }

    private boolean blocked;
    private long masked;

    @BeforeEach
    void block() {
        assertOk(mask(Signals.SIG_BLOCK, Signals.set(SIGNAL) | Signals.set(OTHER)));
        masked = before.getLong(0);
        blocked = true;
    }

    @AfterEach
    void unblock() {
        if (!blocked) {
            return;
        }
        while (take(Signals.set(SIGNAL) | Signals.set(OTHER)) > 0) {}
        assertOk(mask(Signals.SIG_SETMASK, masked));
    }

    @Test
    void everyThreadHasANumber() throws Exception {
        assertThat(process()).isPositive();
        assertThat(thread()).isPositive().isEqualTo(thread());
        FutureTask<Long> other = new FutureTask<>(this::thread);
        new Thread(other).start();
        assertThat(other.get()).isPositive().isNotEqualTo(thread());
    }

    @Test
    void maskIsReadAndChanged() {
        assertOk(mask(Signals.SIG_UNBLOCK, Signals.set(OTHER)));
        assertThat(before.getLong(0) & (Signals.set(SIGNAL) | Signals.set(OTHER)))
                .isEqualTo(Signals.set(SIGNAL) | Signals.set(OTHER));
        assertOk(libc.syscall(SystemCall.RT_SIGPROCMASK, Signals.SIG_SETMASK, 0, address(before), Signals.SET_SIZE));
        assertThat(before.getLong(0) & (Signals.set(SIGNAL) | Signals.set(OTHER)))
                .isEqualTo(Signals.set(SIGNAL));
    }

    @Test
    void maskIsChecked() {
        assertErrno(Errno.EINVAL, libc.syscall(SystemCall.RT_SIGPROCMASK, 0, NOWHERE, NOWHERE, 4));
        assertErrno(Errno.EFAULT, libc.syscall(SystemCall.RT_SIGPROCMASK, 7, NOWHERE, 0, Signals.SET_SIZE));
        assertErrno(Errno.EINVAL, mask(7, 0));
        assertErrno(Errno.EFAULT, libc.syscall(SystemCall.RT_SIGPROCMASK, 0, 0, NOWHERE, Signals.SET_SIZE));
    }

    @Test
    void signalOfThisThreadWaitsUntilItIsTaken() {
        assertErrno(Errno.EAGAIN, take(Signals.set(SIGNAL)));
        assertOk(send(thread(), SIGNAL));
        assertOk(send(thread(), SIGNAL));
        assertErrno(Errno.EAGAIN, take(Signals.set(OTHER)));
        assertThat(take(Signals.set(SIGNAL) | Signals.set(OTHER))).isEqualTo(SIGNAL);
        assertThat(take(Signals.set(SIGNAL)))
                .as("each of a real-time signal is kept")
                .isEqualTo(SIGNAL);
        assertErrno(Errno.EAGAIN, take(Signals.set(SIGNAL)));
    }

    @Test
    void lowestSignalIsTakenFirst() {
        assertOk(send(thread(), OTHER));
        assertOk(send(thread(), SIGNAL));
        assertThat(take(Signals.set(SIGNAL) | Signals.set(OTHER))).isEqualTo(SIGNAL);
        assertThat(take(Signals.set(SIGNAL) | Signals.set(OTHER))).isEqualTo(OTHER);
    }

    @Test
    void signalNeedsAThreadOfTheProcess() {
        assertErrno(Errno.EINVAL, send(0, SIGNAL));
        assertErrno(Errno.EINVAL, libc.syscall(SystemCall.TGKILL, 0, thread(), SIGNAL, 0));
        assertErrno(Errno.ESRCH, send(1 << 30, 65));
        assertErrno(Errno.ESRCH, libc.syscall(SystemCall.TGKILL, 1 << 30, thread(), SIGNAL, 0));
        assertErrno(Errno.EINVAL, send(thread(), 65));
        assertOk(send(thread(), 0));
    }

    @Test
    void waitIsChecked() {
        assertErrno(Errno.EINVAL, libc.syscall(SystemCall.RT_SIGTIMEDWAIT, NOWHERE, 0, NOWHERE, 4));
        assertErrno(Errno.EFAULT, libc.syscall(SystemCall.RT_SIGTIMEDWAIT, NOWHERE, 0, NOWHERE, Signals.SET_SIZE));
        assertErrno(Errno.EFAULT, libc.syscall(SystemCall.RT_SIGTIMEDWAIT, address(set), 0, NOWHERE, Signals.SET_SIZE));
        timeout.putLong(0, -1).putLong(Long.BYTES, 0);
        assertErrno(
                Errno.EINVAL,
                libc.syscall(SystemCall.RT_SIGTIMEDWAIT, address(set), 0, address(timeout), Signals.SET_SIZE));
    }

    // A vCPU

    private int setVcpuMask(int vcpu, int length, long signals) {
        ByteBuffer mask = Buffers.allocate(Uapi.KvmSignalMask.SIZE + Signals.SET_SIZE)
                .putInt(Uapi.KvmSignalMask.LEN, length)
                .putLong(Uapi.KvmSignalMask.SIZE, signals);
        return libc.ioctl(vcpu, Uapi.KVM_SET_SIGNAL_MASK, address(mask));
    }

    @Test
    void maskOfAVcpuIsChecked() {
        int vcpu = world.vcpu(world.fullVm(), 0);
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_SET_SIGNAL_MASK, NOWHERE));
        assertErrno(Errno.EINVAL, setVcpuMask(vcpu, 4, 0));
        assertOk(setVcpuMask(vcpu, Signals.SET_SIZE, 0));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SIGNAL_MASK, 0));
    }

    private ByteBuffer page(int vcpu) {
        int size = libc.ioctl(world.kvm(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        return libc.view(world.map(size, vcpu), size);
    }

    private static final String LOOP = "loop: jmp loop";

    /** The signal stays pending: it is blocked again when the call returns. */
    @Test
    void pendingSignalThatTheVcpuTakesEndsTheRun() {
        int vcpu = new RealModeGuest(world, world.fullVm(), asm(LOOP)).vcpu();
        assertOk(setVcpuMask(vcpu, Signals.SET_SIZE, ~Signals.set(SIGNAL)));
        ByteBuffer page = page(vcpu);
        assertOk(send(thread(), SIGNAL));
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(page.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_INTR);
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(take(Signals.set(SIGNAL))).isEqualTo(SIGNAL);
        assertErrno(Errno.EAGAIN, take(Signals.set(SIGNAL)));
    }

    /** The vCPU leaves by the window that its VMM asked for, and the signal waits for the next run. */
    @Test
    void windowComesBeforeTheSignalThatEndsAHalt() {
        int vcpu = new RealModeGuest(world, world.splitVm(), asm("sti; idle: hlt; jmp idle")).vcpu();
        assertOk(setVcpuMask(vcpu, Signals.SET_SIZE, ~Signals.set(SIGNAL)));
        ByteBuffer page = page(vcpu).put(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) 1);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(page.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        assertOk(send(thread(), SIGNAL));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(page.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(0, Uapi.KVM_MP_STATE_INIT_RECEIVED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_MP_STATE, address(state)));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(page.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        page.put(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) 0);
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(take(Signals.set(SIGNAL))).isEqualTo(SIGNAL);
    }

    /** It waits until something else ends the halt: {@code kvm_vcpu_has_events()}. */
    @Test
    void interruptThatIsInjectedEndsNoHalt() throws Exception {
        int vcpu = new RealModeGuest(world, world.splitVm(), asm("sti; idle: hlt; jmp idle")).vcpu();
        ByteBuffer page = page(vcpu).put(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) 1);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(page.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN);
        ByteBuffer events = Buffers.allocate(Uapi.KvmVcpuEvents.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_VCPU_EVENTS, events));
        events.put(Uapi.KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 1).put(Uapi.KvmVcpuEvents.INTERRUPT_NR, (byte) 2);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, events));
        endsByASignal(vcpu, () -> {});
    }

    @Test
    void interruptInAShadowEndsNoHalt() throws Exception {
        int vcpu = new RealModeGuest(world, world.splitVm(), asm("sti; idle: hlt; jmp idle")).vcpu();
        ByteBuffer page = page(vcpu).put(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) 1);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        page.put(Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) 0);
        ByteBuffer events = Buffers.allocate(Uapi.KvmVcpuEvents.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_VCPU_EVENTS, events));
        events.put(Uapi.KvmVcpuEvents.INTERRUPT_SHADOW, (byte) 1)
                .put(Uapi.KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 1)
                .put(Uapi.KvmVcpuEvents.INTERRUPT_NR, (byte) 2);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, events));
        ByteBuffer interrupt = Buffers.allocate(Uapi.KvmInterrupt.SIZE).putInt(Uapi.KvmInterrupt.IRQ, 2);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_INTERRUPT, interrupt));
        endsByASignal(vcpu, () -> {});
    }

    /** A guest that computes, one that halts with interrupts off, and one that halts with interrupts on. */
    @ParameterizedTest
    @ValueSource(strings = {LOOP, "idle: hlt; jmp idle", "sti; idle: hlt; jmp idle"})
    void signalEndsTheRunOfAGuest(String code) throws Exception {
        int vm = world.fullVm();
        int vcpu = new RealModeGuest(world, vm, asm("out 0x82, al; " + code)).vcpu();
        int told = world.own(kernel.eventfdCreate());
        assertOk(kernel.ioeventfdAssign(vm, told, RealModeGuest.READY, 1, KernelBackend.IOEVENTFD_PIO, 0));
        endsByASignal(vcpu, () -> assertThat(kernel.fdWait(told, -1, -1)).isEqualTo(KernelBackend.READY_FD));
    }

    @Test
    void signalEndsTheRunOfAnApThatWaitsForItsStart() throws Exception {
        int vm = world.fullVm();
        new RealModeGuest(world, vm, asm(LOOP));
        endsByASignal(world.vcpu(vm, 1), () -> {});
    }

    private void endsByASignal(int vcpu, Runnable runs) throws Exception {
        assertOk(setVcpuMask(vcpu, Signals.SET_SIZE, ~Signals.set(SIGNAL)));
        ByteBuffer page = page(vcpu);
        FutureTask<Long> number = new FutureTask<>(this::thread);
        FutureTask<Integer> run = new FutureTask<>(() -> {
            set.putLong(0, Signals.set(SIGNAL));
            assertOk(libc.syscall(SystemCall.RT_SIGPROCMASK, Signals.SIG_BLOCK, address(set), 0, Signals.SET_SIZE));
            number.run();
            int result = libc.ioctl(vcpu, Uapi.KVM_RUN, 0);
            assertThat(take(Signals.set(SIGNAL))).isEqualTo(SIGNAL);
            return result;
        });
        new Thread(run).start();
        long runner = number.get();
        runs.run();
        assertOk(send(runner, SIGNAL));
        assertErrno(Errno.EINTR, run.get());
        assertThat(page.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_INTR);
    }
}
