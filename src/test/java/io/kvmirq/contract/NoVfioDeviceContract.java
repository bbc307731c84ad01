/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The VFIO primitives on files of another kind. Each kind answers a request that it does not know in its own way. */
@Contract
class NoVfioDeviceContract extends KernelSuite {
    private void assertRefused(Errno expected, int file) {
        ByteBuffer info = Buffers.allocate(KernelBackend.VFIO_IRQ_SIZE).putLong(0, -1);
        assertErrno(expected, kernel.vfioIrqInfo(file, UapiVfio.VFIO_PCI_MSI_IRQ_INDEX, info));
        assertThat(info.getLong(0)).as("record after an error").isEqualTo(-1);
        ByteBuffer set = Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE + Integer.BYTES);
        set.putInt(KernelBackend.VFIO_IRQS_HEADER_SIZE, -1);
        int eventfds = UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD | UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;
        assertErrno(expected, kernel.vfioIrqsSet(file, eventfds, UapiVfio.VFIO_PCI_MSI_IRQ_INDEX, 0, 1, set));
        assertErrno(expected, kernel.vfioDeviceReset(file));
    }

    @Test
    void eventfdHasNoInterrupts() {
        assertRefused(Errno.ENOTTY, world.eventfd());
    }

    @Test
    void noDescriptorIsRefusedBeforeTheRequest() {
        assertRefused(Errno.EBADF, -1);
    }

    @Test
    void kvmAndVcpuCallThemInvalid() {
        assertRefused(Errno.EINVAL, world.kvm());
        assertRefused(Errno.EINVAL, world.vcpu(world.fullVm(), 0));
    }

    @Test
    void vmAndItsDevicesDoNotKnowThem() {
        world.assumeX86();
        int vm = world.bareVm();
        assertRefused(Errno.ENOTTY, vm);
        assertRefused(Errno.ENOTTY, world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO)));
    }
}
