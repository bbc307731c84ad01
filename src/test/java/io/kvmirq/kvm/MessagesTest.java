/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.testing.RealKvm;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A frequent mistake is answered with its own cause, before any other that has the same errno. */
@RealKvm(fullIrqchip = true)
class MessagesTest {
    private final Kernel kernel = Kernel.open();
    private final Vm vm = Vm.create(kernel);

    @AfterEach
    void close() {
        vm.close();
        kernel.close();
    }

    @Test
    void misalignedMemorySaysSo() {
        assertThatThrownBy(() -> vm.addMemory(0x10, 4096))
                .isInstanceOf(KernelException.class)
                .hasMessageEndingWith(
                        "address=0x10 size=4096: EINVAL (address or size is not a multiple of the page size)");
    }

    /** The VM knows that it was made split: one cause, not three. */
    @Test
    void levelInterruptOnASplitVmSaysExactlyThat() {
        vm.x86().createSplitIrqchip(24);
        try (EventFd event = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel)) {
            assertThatThrownBy(() -> vm.assignLevelIrqfd(event, resample, new Gsi(5)))
                    .isInstanceOf(KernelException.class)
                    .hasMessageEndingWith(
                            "gsi=5: EINVAL (resampling needs the full in-kernel irqchip, which sees the guest's EOI)");
        }
    }

    @Test
    void irqfdBeforeTheIrqchipSaysExactlyThat() {
        try (EventFd event = EventFd.create(kernel)) {
            assertThatThrownBy(() -> vm.assignIrqfd(event, new Gsi(5)))
                    .hasMessageEndingWith("gsi=5: EINVAL (the VM has no in-kernel irqchip)");
        }
    }

    /** The set-up of an adopted VM is not known, so a refusal has more than one cause. */
    @Test
    void adoptedVmGuesses() {
        try (Fd.Lease lease = vm.fd().lease();
                Vm adopted = Vm.adopt(kernel, lease.number(), Ownership.BORROWED, List.of(), new Gsi(0));
                EventFd event = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel)) {
            vm.x86().createSplitIrqchip(24);
            assertThatThrownBy(() -> adopted.assignLevelIrqfd(event, resample, new Gsi(5)))
                    .hasMessageContaining("EINVAL (resampling needs the full")
                    .hasMessageContaining(", or ");
        }
    }

    @Test
    void irqchipAfterVcpuSaysExactlyThat() {
        try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            assertThatThrownBy(vm.x86()::createIrqchip)
                    .hasMessageEndingWith("EINVAL (vCPUs exist already: create the irqchip first)");
            assertThatThrownBy(vcpu.x86()::enableLapic)
                    .hasMessageEndingWith("EINVAL (this VM has no in-kernel irqchip: create one before the vCPU)");
        }
    }

    @Test
    void countThatCannotBeAddedSaysExactlyThat() {
        try (EventFd event = EventFd.create(kernel)) {
            assertThatThrownBy(() -> event.signal(-1)).hasMessageEndingWith("EINVAL (2^64-1 cannot be added)");
        }
    }

    @Test
    void descriptorThatIsNoEventfdSaysSo() {
        try (Fd.Lease lease = vm.fd().lease()) {
            assertIllegalArgument(
                    () -> EventFd.adopt(kernel, lease.number(), Ownership.BORROWED),
                    "fd " + lease.number() + " is open on anon_inode:kvm-vm: expected an eventfd, made by"
                            + " eventfd(2)");
        }
    }

    @Test
    void descriptorThatIsNoVmSaysSo() {
        try (EventFd event = EventFd.create(kernel);
                Fd.Lease lease = event.fd().lease()) {
            assertThatThrownBy(() -> Vm.adopt(kernel, lease.number(), Ownership.OWNED, List.of(), new Gsi(0)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("fd " + lease.number() + " is open on anon_inode:[eventfd]: expected a VM, made by"
                            + " KVM_CREATE_VM");
            assertThatThrownBy(() -> KvmVfio.adopt(kernel, lease.number(), Ownership.OWNED))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining(": expected a KVM-VFIO device, made by KVM_CREATE_DEVICE");
            event.signal(); // it is still open
        }
        assertThatThrownBy(() -> Vm.adopt(kernel, 1_000_000, Ownership.OWNED, List.of(), new Gsi(0)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("fd 1000000 is not open in this process");
        // A VM has no path: a file of any name is none.
        Libc libc = Backends.ofThisMachine().open("jni").libc();
        int file = libc.open(Buffers.cString("/etc/passwd"), 0);
        assertThatThrownBy(() -> Vm.adopt(kernel, file, Ownership.OWNED, List.of(), new Gsi(0)))
                .hasMessageContaining("fd " + file + " is open on /etc/passwd: expected a VM");
        assertThat(libc.close(file)).isZero();
    }
}
