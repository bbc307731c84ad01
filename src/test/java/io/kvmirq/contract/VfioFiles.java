/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;

import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiIommufd.IommuIoasAlloc;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceAttachIommufdPt;
import io.kvmirq.uapi.UapiVfio.VfioDeviceBindIommufd;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import java.nio.ByteBuffer;

/** Requests to files of VFIO devices and to the iommufd that the devices are bound to. */
public record VfioFiles(VfioWorld vfio) {
    private static final int BIND_SIZE = 16;
    private static final int ATTACH_SIZE = 12;
    private static final int DETACH_SIZE = 8;

    public int iommufd() {
        return vfio.world.own(vfio.open("/dev/iommu"));
    }

    /** VFIO_DEVICE_BIND_IOMMUFD. Returns the number of the device, or a negative errno. */
    public int bind(int device, int iommufd) {
        ByteBuffer bind = bind(BIND_SIZE, 0, iommufd);
        int result = vfio.ioctl(device, UapiVfio.VFIO_DEVICE_BIND_IOMMUFD, bind);
        return result < 0 ? result : bind.getInt(VfioDeviceBindIommufd.OUT_DEVID);
    }

    /** The structure of VFIO_DEVICE_BIND_IOMMUFD, with room for fields that are not known. */
    public static ByteBuffer bind(int argsz, int flags, int iommufd) {
        ByteBuffer room = Buffers.allocate(VfioDeviceBindIommufd.SIZE + Long.BYTES);
        return Structs.put(room, 0, "vfio_device_bind_iommufd", argsz, flags, iommufd);
    }

    /** VFIO_DEVICE_ATTACH_IOMMUFD_PT. Returns the number of the page table, or a negative errno. */
    public int attach(int device, int to) {
        ByteBuffer attach = Structs.of("vfio_device_attach_iommufd_pt", ATTACH_SIZE, 0, to);
        int result = vfio.ioctl(device, UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach);
        return result < 0 ? result : attach.getInt(VfioDeviceAttachIommufdPt.PT_ID);
    }

    public int detach(int device) {
        ByteBuffer detach = Buffers.allocate(ATTACH_SIZE).putInt(0, DETACH_SIZE);
        return vfio.ioctl(device, UapiVfio.VFIO_DEVICE_DETACH_IOMMUFD_PT, detach);
    }

    /** VFIO_DEVICE_GET_INFO. */
    public int info(int device) {
        ByteBuffer info = Buffers.allocate(VfioDeviceInfo.SIZE).putInt(VfioDeviceInfo.ARGSZ, VfioDeviceInfo.SIZE);
        return vfio.ioctl(device, UapiVfio.VFIO_DEVICE_GET_INFO, info);
    }

    /** Makes an address space. Returns its number. */
    public int space(int iommufd) {
        ByteBuffer alloc = Buffers.allocate(IommuIoasAlloc.SIZE).putInt(0, IommuIoasAlloc.SIZE);
        assertOk(vfio.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_ALLOC, alloc));
        return alloc.getInt(IommuIoasAlloc.OUT_IOAS_ID);
    }

    /** IOMMU_DESTROY. */
    public int destroy(int iommufd, int object) {
        ByteBuffer destroy = Buffers.allocate(8).putInt(0, 8).putInt(4, object);
        return vfio.ioctl(iommufd, UapiIommufd.IOMMU_DESTROY, destroy);
    }
}
