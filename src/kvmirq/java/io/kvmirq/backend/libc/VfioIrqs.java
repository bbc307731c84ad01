/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.nio.ByteBuffer;

/** Encodes {@code struct vfio_irq_info} in the scratch and {@code struct vfio_irq_set} in the caller's buffer. */
record VfioIrqs(Libc libc, PerThread<Scratch> scratches) {
    int info(int device, int index, ByteBuffer info) {
        ByteBuffer to = Buffers.writable(info, KernelBackend.VFIO_IRQ_SIZE);
        Scratch scratch = scratches.get();
        scratch.zero(VfioIrqInfo.SIZE);
        scratch.putInt(VfioIrqInfo.ARGSZ, VfioIrqInfo.SIZE);
        scratch.putInt(VfioIrqInfo.INDEX, index);
        try {
            int result = libc.ioctl(device, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, scratch.address());
            if (result >= 0) {
                Buffers.put(to, KernelBackend.VFIO_IRQ_FLAGS, scratch.getInt(VfioIrqInfo.FLAGS));
                Buffers.put(to, KernelBackend.VFIO_IRQ_COUNT, scratch.getInt(VfioIrqInfo.COUNT));
            }
            return result;
        } finally {
            scratches.done(scratch);
        }
    }

    int set(int device, int flags, int index, int start, int count, ByteBuffer set) {
        int size = Buffers.vfioIrqs(set, flags, count);
        Buffers.put(set, VfioIrqSet.ARGSZ, size);
        Buffers.put(set, VfioIrqSet.FLAGS, flags);
        Buffers.put(set, VfioIrqSet.INDEX, index);
        Buffers.put(set, VfioIrqSet.START, start);
        Buffers.put(set, VfioIrqSet.COUNT, count);
        return libc.ioctl(device, UapiVfio.VFIO_DEVICE_SET_IRQS, set);
    }
}
