/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.when;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.Faults;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.vfio.VfioDevice;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelTest {
    @ParameterizedTest
    @CsvSource({
        "2, open /dev/kvm: ENOENT (no KVM here: load kvm_intel or kvm_amd",
        "13, open /dev/kvm: EACCES (this user has no permission to open it: join the group",
        "16, open /dev/kvm: EBUSY (another hypervisor uses the CPU's virtualization"
    })
    void whyTheDeviceDoesNotOpenIsOneSentence(int errno, String sentence) {
        long before = Machine.openFds();
        KernelBackend failing = new Faults()
                .fail("kvmOpen", 1, new Errno(errno))
                .over(Backends.ofThisMachine().open("jni"));
        assertThatThrownBy(() -> Kernel.over(failing).device())
                .isInstanceOf(KernelException.class)
                .hasMessageStartingWith(sentence);
        assertThat(Machine.openFds()).isEqualTo(before);
    }

    @Test
    void nodeThatIsNoKvmDeviceIsRefusedAndClosed() {
        KernelBackend backend = Backends.ofThisMachine().open("jni");
        long before = Machine.openFds();
        assertThatThrownBy(() -> Kernel.over(backend, Path.of("/dev/null")).device())
                .isInstanceOf(KernelException.class)
                .hasMessage(
                        "kvm version /dev/null (fd " + nextFd(backend) + "): ENOTTY (the node is not a KVM device)");
        assertThat(Machine.openFds()).isEqualTo(before);
    }

    private static int nextFd(KernelBackend backend) {
        int fd = backend.eventfdCreate();
        backend.fdClose(fd);
        return fd;
    }

    /** VFIO and vCPUs are asked through the raw calls, also for the host's files. */
    @Test
    void mockWithoutRawCallsSaysWhatToDo() {
        KernelBackend mock = mock(KernelBackend.class);
        try (Kernel kernel = Kernel.over(mock)) {
            assertThatThrownBy(() -> VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0")))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("mock(KernelBackend.class, delegatesTo(fake.backend()))");
            assertThatThrownBy(() -> EventLoop.create(kernel)).isInstanceOf(IllegalStateException.class);
            assertThat(kernel.openHandles()).isEmpty();
        }
    }

    /** Mockito answers null to {@code description()} unless it is told otherwise. */
    @Test
    void mockWithoutDescriptionStillExplains() {
        KernelBackend mock = mock(KernelBackend.class);
        when(mock.eventfdSignal(anyInt(), anyLong())).thenReturn(-Errno.EAGAIN.number());
        try (Kernel kernel = Kernel.over(mock);
                EventFd event = EventFd.create(kernel)) {
            assertThat(kernel.backendDescription()).isEmpty();
            assertThat(kernel.backendName()).isEmpty();
            assertThatThrownBy(event::signal)
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("EAGAIN (the count would exceed");
        }
    }

    /** A host without KVM can use eventfds, and later VFIO: the KVM device is opened by who needs it. */
    @Test
    void deviceIsOpenedWithTheFirstVmAndOnce() {
        KernelBackend mock = mock(KernelBackend.class);
        when(mock.kvmVersion(anyInt())).thenReturn(12);
        when(mock.kvmOpen(any())).thenReturn(3);
        when(mock.vmCreate(3, 0)).thenReturn(4);
        try (Kernel kernel = Kernel.over(mock)) {
            EventFd.create(kernel).close();
            verify(mock, never()).kvmOpen(any());
            Vm.create(kernel).close();
            Vm.create(kernel).close();
            verify(mock).kvmOpen(any());
            verify(mock, never()).fdClose(3);
        }
        verify(mock).fdClose(3);
    }

    /** Making a descriptor may call the user's logger, so no lock is held meanwhile. */
    @Test
    void kernelMayBeClosedWhileItsDeviceIsOpened() {
        KernelBackend mock = mock(KernelBackend.class);
        Kernel kernel = Kernel.over(mock);
        when(mock.kvmVersion(anyInt())).thenReturn(12);
        when(mock.kvmOpen(any())).thenAnswer(call -> {
            CompletableFuture.runAsync(kernel::close).get();
            return 3;
        });
        assertThatThrownBy(kernel::device).isInstanceOf(ClosedHandleException.class);
        verify(mock).fdClose(3);
    }

    @Test
    void vmThatASignalPreventedIsMadeAgain() {
        KernelBackend mock = mock(KernelBackend.class);
        int interrupted = -Errno.EINTR.number();
        when(mock.kvmVersion(anyInt())).thenReturn(12);
        when(mock.vmCreate(anyInt(), anyLong())).thenReturn(interrupted, interrupted, 4);
        try (Kernel kernel = Kernel.over(mock)) {
            Vm.create(kernel).close();
            when(mock.vmCreate(anyInt(), anyLong())).thenReturn(interrupted);
            assertThatThrownBy(() -> Vm.create(kernel))
                    .isInstanceOf(KernelException.class)
                    .hasMessageStartingWith("vm create: EINTR");
        }
    }

    @Test
    void closedKernelOpensNoDevice() {
        KernelBackend mock = mock(KernelBackend.class);
        Kernel kernel = Kernel.over(mock);
        kernel.close();
        assertThatThrownBy(kernel::device).isInstanceOf(ClosedHandleException.class);
        verify(mock, never()).kvmOpen(any());
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void closedVmIsRefusedByName() {
        try (Kernel kernel = Kernel.open()) {
            Vm vm = Vm.create(kernel);
            String name = vm.toString();
            vm.close();
            vm.close();
            assertThatThrownBy(vm.x86()::createIrqchip)
                    .isInstanceOf(ClosedHandleException.class)
                    .hasMessage(name + " is closed: it was used after close(); create or open another");
        }
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void handlesOfTwoKernelsDoNotMix() {
        try (Kernel first = Kernel.open();
                Kernel other = Kernel.open();
                Vm vm = Vm.create(first);
                EventFd event = EventFd.create(other)) {
            vm.x86().createIrqchip();
            assertThatThrownBy(() -> vm.assignIrqfd(event, new Gsi(4)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("belongs to another Kernel");
        }
    }

    @Tag("long")
    @Test
    @RealKvm(fullIrqchip = true)
    void hundredsOfVmsLeakNoDescriptor() {
        try (Kernel kernel = Kernel.open()) {
            openOneVm(kernel);
            long before = Machine.openFds();
            for (int i = 0; i < 300; i++) {
                openOneVm(kernel);
            }
            assertThat(Machine.openFds()).isEqualTo(before);
        }
    }

    private static void openOneVm(Kernel kernel) {
        try (Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.x86().createIrqchip();
            vm.assignIrqfd(event, new Gsi(4)).close();
        }
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void vmOutlivesItsKernel() {
        Kernel kernel = Kernel.open();
        Vm vm = Vm.create(kernel);
        kernel.close();
        vm.x86().createIrqchip();
        vm.close();
        assertThatThrownBy(() -> Vm.create(kernel)).isInstanceOf(ClosedHandleException.class);
    }
}
