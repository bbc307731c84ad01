/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Latches;
import io.kvmirq.testing.RealKvm;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

class FaultsTest {
    private static final int EBUSY = -Errno.EBUSY.number();
    private static final int EINTR = -Errno.EINTR.number();
    private static final int NONE = 1 << 20;

    private final Faults faults = new Faults();
    private final ByteBuffer count = Buffers.allocate(Long.BYTES);

    /** Below the encoder, where ioctls have requests. */
    private KernelBackend raw() {
        return LibcBackend.over(
                faults.over(new FakeKernel(Profile.V6_18).backend().libc()), "fake", "");
    }

    private KernelBackend typed() {
        return faults.over(new FakeKernel(Profile.V6_18).backend());
    }

    @Test
    void nthCallOfARequestFailsAndNoOther() {
        faults.fail("KVM_IRQFD", 2, Errno.EBUSY);
        KernelBackend kernel = raw();
        assertThat(kernel.irqfdAssign(NONE, 1, 24)).isEqualTo(-Errno.EBADF.number());
        assertThat(kernel.capabilityCheck(NONE, 1)).isEqualTo(-Errno.EBADF.number());
        assertThat(kernel.irqfdAssign(NONE, 1, 24)).isEqualTo(EBUSY);
        assertThat(kernel.irqfdAssign(NONE, 1, 24)).isEqualTo(-Errno.EBADF.number());
    }

    @Test
    void everyCallOfAKindFails() {
        faults.failEvery("ioctl", Errno.EINTR);
        KernelBackend kernel = raw();
        assertThat(kernel.irqfdAssign(NONE, 1, 24)).isEqualTo(EINTR);
        assertThat(kernel.kvmVersion(NONE)).isEqualTo(EINTR);
        assertThat(kernel.eventfdCreate()).isNotNegative();
        faults.clear();
        assertThat(kernel.kvmVersion(NONE)).isEqualTo(-Errno.EBADF.number());
    }

    @Test
    void typedPrimitivesFailByTheirOwnNames() {
        faults.fail("irqfdAssign", 1, Errno.EBUSY).fail(Faults.ANY, 3, Errno.ENOMEM);
        KernelBackend kernel = typed();
        assertThat(kernel.irqfdAssign(NONE, 1, 24)).isEqualTo(EBUSY);
        assertThat(kernel.eventfdCreate()).isNotNegative();
        assertThat(kernel.libc().eventfd(0, 0)).isEqualTo(-Errno.ENOMEM.number());
    }

    /** Else a descriptor would leak that no program could close: Linux says so of EINTR. */
    @Test
    void closeThatFailsHasClosed() {
        faults.fail("close", 1, Errno.EINTR);
        KernelBackend kernel = raw();
        int event = kernel.eventfdCreate();
        assertThat(kernel.fdClose(event)).isEqualTo(EINTR);
        assertThat(kernel.eventfdSignal(event, 1)).isEqualTo(-Errno.EBADF.number());
    }

    @Test
    void shortCountIsNoWholeDrain() {
        faults.shorten("read", 1, 4);
        KernelBackend kernel = raw();
        int event = kernel.eventfdCreate();
        kernel.eventfdSignal(event, 3);
        assertThat(kernel.eventfdDrain(event, count)).isEqualTo(-Errno.EINVAL.number());
        assertThat(kernel.eventfdDrain(event, count)).isZero();
        assertThat(count.getLong(0)).isEqualTo(3);
    }

    @Test
    void interruptedWaitGoesOn() {
        faults.fail("ppoll", 1, Errno.EINTR).fail("ppoll", 2, Errno.EINTR);
        try (Kernel kernel = Kernel.over(raw());
                EventFd event = EventFd.create(kernel)) {
            event.signal();
            assertThat(event.await(Duration.ofHours(1))).isTrue();
        }
    }

    /** A detach that is late: until it ends the eventfd is busy. */
    @Test
    void lateDeassignKeepsTheEventfdBusy() throws Exception {
        CountDownLatch reached = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        var thread = Executors.newSingleThreadExecutor();
        try (Kernel kernel = Kernel.over(raw());
                Vm vm = Vm.create(kernel);
                Vm other = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.x86().createIrqchip();
            other.x86().createIrqchip();
            Irqfd irqfd = vm.assignIrqfd(event, new Gsi(5));
            faults.delay("KVM_IRQFD", 1, () -> {
                reached.countDown();
                Latches.await(goOn);
            });
            Future<?> late = thread.submit(irqfd::close);
            reached.await();
            assertThatExceptionOfType(KernelException.class).isThrownBy(() -> other.assignIrqfd(event, new Gsi(5)));
            goOn.countDown();
            late.get();
            other.assignIrqfd(event, new Gsi(5)).close();
        } finally {
            thread.shutdown();
        }
    }

    @Test
    @RealKvm
    void realKernelIsNotAskedWhatFails() {
        faults.fail("vmCreate", 1, Errno.EBUSY);
        try (Kernel kernel = Kernel.over(faults.over(Backends.ofThisMachine().open("jni")))) {
            assertThatExceptionOfType(KernelException.class)
                    .isThrownBy(() -> Vm.create(kernel))
                    .withMessageContaining("EBUSY");
            Vm.create(kernel).close();
            assertThat(kernel.isReal()).isTrue();
        }
    }

    @Test
    void typedPrimitivesFailByTheKernelsNames() {
        faults.fail("KVM_CREATE_VM", 1, Errno.ENOMEM).fail("close", 1, Errno.EINTR);
        KernelBackend kernel = typed();
        assertThat(kernel.vmCreate(NONE, 0)).isEqualTo(-Errno.ENOMEM.number());
        assertThat(kernel.vmCreate(NONE, 0)).isEqualTo(-Errno.EBADF.number());
        assertThat(kernel.fdClose(kernel.eventfdCreate())).isEqualTo(EINTR);
    }

    @Test
    void everyPrimitiveHasAKernelsName() {
        assertThat(KernelBackend.class.getDeclaredMethods())
                .filteredOn(FaultNames::answers)
                .isNotEmpty()
                .allSatisfy(method ->
                        assertThat(FaultNames.ofKernel(method.getName())).isNotEmpty());
    }

    @Test
    void errnosOfACallAreThoseOfItsRowsInTheTable() {
        assertThat(KernelBackend.class.getDeclaredMethods())
                .filteredOn(FaultNames::answers)
                .allSatisfy(method -> assertThat(Faults.errnos(method.getName()))
                        .as(method.getName())
                        .isNotEmpty());
        assertThat(Faults.errnos("tgkill")).containsExactly(Errno.EAGAIN, Errno.EINVAL, Errno.ESRCH);
        assertThat(Faults.errnos("irqfdAssign")).contains(Errno.EBUSY, Errno.ENOMEM, Errno.EBADF);
        assertThat(Faults.errnos("irqfdDeassign")).contains(Errno.EBADF).doesNotContain(Errno.EBUSY, Errno.ENOMEM);
        assertThat(Faults.errnos("KVM_IRQFD")).containsAll(Faults.errnos("irqfdDeassign"));
        assertThat(Faults.errnos("eventfdDrain")).doesNotContain(Errno.ENOMEM);
        assertThat(Faults.errnos("KVM_SET_GSI_ROUTING")).contains(Errno.ENOMEM).doesNotContain(Errno.EMFILE);
        assertThat(Faults.errnos("ioctl")).isEmpty();
    }

    @Test
    void namesThatNoCallHasAreRefused() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> faults.fail("KVM_CREATE_VMM", 1, Errno.EBUSY))
                .withMessageStartingWith("no call is named 'KVM_CREATE_VMM': near are KVM_CREATE_VM, ");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> faults.delay("irqfdassign", 1, () -> {}))
                .withMessageContaining("irqfdAssign");
        faults.failEvery("ioctl 0xae99", Errno.EBUSY);
    }

    @Test
    void rulesThatMatchedNothingAreUnused() {
        faults.fail("KVM_IRQFD", 2, Errno.EBUSY)
                .failEvery("KVM_CREATE_VM", Errno.EBUSY)
                .failEvery("eventfd", Errno.EMFILE);
        KernelBackend kernel = typed();
        kernel.irqfdAssign(NONE, 1, 24);
        kernel.eventfdCreate();
        assertThat(faults.unused()).containsExactly("KVM_IRQFD 2", "KVM_CREATE_VM");
    }

    @Test
    void proxiesAreEqualToThemselvesOnly() {
        KernelBackend kernel = typed();
        assertThat(List.of(kernel)).contains(kernel).doesNotContain(typed());
        assertThat(kernel.hashCode()).isEqualTo(System.identityHashCode(kernel));
        assertThat(List.of(kernel.libc())).contains(kernel.libc()).doesNotContain(typed().libc());
    }

    /** See getpid(2) and gettid(2). */
    @Test
    void callsThatCannotFailAreRefusedAndLeftOutOfAny() {
        for (String call : List.of("getpid", "gettid")) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> faults.fail(call, 1, Errno.EINTR))
                    .withMessage(call + " never fails in Linux: name another call, or delay this one");
        }
        faults.failEvery(Faults.ANY, Errno.EINTR).listen();
        assertThat(typed().libc().syscall(SystemCall.GETTID, 0, 0, 0, 0)).isPositive();
        assertThat(faults.calls()).isEmpty();
        assertThat(faults.count("gettid")).isEqualTo(1);
    }

    @Test
    void callsAreCountedFromOne() {
        assertThatIllegalArgumentException().isThrownBy(() -> faults.fail("close", 0, Errno.EINTR));
    }
}
