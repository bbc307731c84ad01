/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Backends;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.Faults;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelTest {
    @ParameterizedTest
    @CsvSource({
        "2, open /dev/kvm: ENOENT (no KVM here: load kvm_intel or kvm_amd",
        "13, open /dev/kvm: EACCES (this user may not open it: join the group",
        "16, open /dev/kvm: EBUSY (another hypervisor holds the CPU's virtualisation"
    })
    void whyTheDeviceDoesNotOpenIsOneSentence(int errno, String sentence) {
        long before = Machine.openFds();
        assertThatThrownBy(() -> Kernel.over(
                        new Faults()
                                .fail("kvmOpen", 1, new Errno(errno))
                                .over(Backends.ofThisMachine().open("jni")),
                        Kernel.DEVICE))
                .isInstanceOf(KernelException.class)
                .hasMessageStartingWith(sentence);
        assertThat(Machine.openFds()).isEqualTo(before);
    }

    @Test
    void nodeThatIsNoKvmDeviceIsRefusedAndClosed() {
        KernelBackend backend = Backends.ofThisMachine().open("jni");
        long before = Machine.openFds();
        assertThatThrownBy(() -> Kernel.over(backend, Path.of("/dev/null")))
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

    @Test
    @RealKvm
    void closedVmIsRefusedByName() {
        try (Kernel kernel = Kernel.open()) {
            Vm vm = Vm.create(kernel);
            String name = vm.toString();
            vm.close();
            vm.close();
            assertThatThrownBy(vm::createIrqchip)
                    .isInstanceOf(ClosedHandleException.class)
                    .hasMessage(name + " is closed: it was used after close(); open another");
        }
    }

    @Test
    @RealKvm
    void handlesOfTwoKernelsDoNotMix() {
        try (Kernel one = Kernel.open();
                Kernel other = Kernel.open();
                Vm vm = Vm.create(one);
                EventFd event = EventFd.create(other)) {
            vm.createIrqchip();
            assertThatThrownBy(() -> vm.assign(event, new Gsi(4)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("belongs to another Kernel");
        }
    }

    @Test
    @RealKvm
    void thousandVmsLeakNoDescriptor() {
        try (Kernel kernel = Kernel.open()) {
            openOneVm(kernel);
            long before = Machine.openFds();
            for (int i = 0; i < 1000; i++) {
                openOneVm(kernel);
            }
            assertThat(Machine.openFds()).isEqualTo(before);
        }
    }

    private static void openOneVm(Kernel kernel) {
        try (Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.createIrqchip();
            vm.assign(event, new Gsi(4)).close();
        }
    }

    @Test
    @RealKvm
    void vmOutlivesItsKernel() {
        Kernel kernel = Kernel.open();
        Vm vm = Vm.create(kernel);
        kernel.close();
        vm.createIrqchip();
        vm.close();
        assertThatThrownBy(() -> Vm.create(kernel)).isInstanceOf(ClosedHandleException.class);
    }
}
