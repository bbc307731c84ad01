/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.VfioDevice.MSI;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiIommufd.IommuIoasAlloc;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceAttachIommufdPt;
import io.kvmirq.uapi.UapiVfio.VfioDeviceBindIommufd;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Files of VFIO devices and iommufd, as vfio_cdev of the kernel's selftest: drivers/vfio/device_cdev.c. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#withDeviceFiles")
class VfioCdevContract {
    private static final int BIND_SIZE = 16;
    private static final int ATTACH_SIZE = 12;
    private static final int NO_OBJECT = 999;

    private final VfioWorld vfio;

    VfioCdevContract(VfioWorld vfio) {
        this.vfio = vfio;
    }

    @AfterEach
    void close() {
        vfio.closeAll();
    }

    private int device() {
        vfio.place(EDU);
        boolean fake = vfio.world.fake().isPresent();
        Optional<String> file = EDU.file(fake);
        assumeTrue(
                file.isPresent() && (fake || Files.exists(Path.of("/dev/iommu"))),
                "needs files of VFIO devices and /dev/iommu, which Debian's kernels are built without");
        return vfio.world.own(vfio.open("/dev/vfio/devices/" + file.orElseThrow()));
    }

    private int iommufd() {
        return vfio.world.own(vfio.open("/dev/iommu"));
    }

    private int bind(int device, int iommufd) {
        return vfio.ioctl(
                device,
                UapiVfio.VFIO_DEVICE_BIND_IOMMUFD,
                Buffers.allocate(VfioDeviceBindIommufd.SIZE)
                        .putInt(VfioDeviceBindIommufd.ARGSZ, BIND_SIZE)
                        .putInt(VfioDeviceBindIommufd.IOMMUFD, iommufd));
    }

    private int attach(int device, int space) {
        return vfio.ioctl(
                device,
                UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT,
                Buffers.allocate(VfioDeviceAttachIommufdPt.SIZE)
                        .putInt(VfioDeviceAttachIommufdPt.ARGSZ, ATTACH_SIZE)
                        .putInt(VfioDeviceAttachIommufdPt.PT_ID, space));
    }

    private int detach(int device) {
        ByteBuffer detach = Buffers.allocate(ATTACH_SIZE).putInt(0, 8);
        return vfio.ioctl(device, UapiVfio.VFIO_DEVICE_DETACH_IOMMUFD_PT, detach);
    }

    private int info(int device) {
        ByteBuffer info = Buffers.allocate(VfioDeviceInfo.SIZE).putInt(VfioDeviceInfo.ARGSZ, VfioDeviceInfo.SIZE);
        return vfio.ioctl(device, UapiVfio.VFIO_DEVICE_GET_INFO, info);
    }

    private int space(int iommufd) {
        ByteBuffer alloc = Buffers.allocate(IommuIoasAlloc.SIZE).putInt(0, IommuIoasAlloc.SIZE);
        assertOk(vfio.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_ALLOC, alloc));
        return alloc.getInt(IommuIoasAlloc.OUT_IOAS_ID);
    }

    @Test
    void deviceAnswersNothingBeforeItIsBound() {
        int device = device();
        assertErrno(Errno.EINVAL, info(device));
        assertErrno(Errno.EINVAL, attach(device, 1));
        assertOk(bind(device, iommufd()));
        assertOk(info(device));
    }

    @Test
    void deviceIsBoundToAnIommufdOnly() {
        int device = device();
        assertErrno(Errno.EINVAL, bind(device, -1));
        assertErrno(Errno.EBADF, bind(device, NOT_OPEN));
        assertErrno(Errno.EBADFD, bind(device, vfio.world.eventfd()));
        assertErrno(Errno.EINVAL, info(device));
    }

    @Test
    void deviceIsBoundOnce() {
        int device = device();
        int iommufd = iommufd();
        assertOk(bind(device, iommufd));
        assertErrno(Errno.EINVAL, bind(device, iommufd));
    }

    @Test
    void deviceIsAttachedAndDetachedAndMayBeDetachedAgain() {
        int device = device();
        int iommufd = iommufd();
        assertOk(bind(device, iommufd));
        assertOk(attach(device, space(iommufd)));
        assertOk(detach(device));
        assertOk(detach(device));
    }

    @Test
    void deviceIsAttachedToWhatThereIs() {
        int device = device();
        assertOk(bind(device, iommufd()));
        assertErrno(Errno.ENOENT, attach(device, NO_OBJECT));
    }

    @Test
    void groupAndFileOfADeviceExcludeEachOther() {
        int device = device();
        int iommufd = iommufd();
        int group = vfio.group(EDU);
        assertErrno(Errno.EBUSY, bind(device, iommufd));
        vfio.world.close(group);
        assertOk(bind(device, iommufd));
        assertErrno(Errno.EBUSY, vfio.open(vfio.groupPath(EDU)));
    }

    @Test
    void kvmTakesTheFileBeforeItIsBound() {
        int device = device();
        int files = vfio.world.own(vfio.kernel().deviceCreate(vfio.world.bareVm(), Uapi.KVM_DEV_TYPE_VFIO));
        assertOk(vfio.kernel().deviceVfioAdd(files, device));
        assertErrno(Errno.EEXIST, vfio.kernel().deviceVfioAdd(files, device));
        assertOk(vfio.kernel().deviceVfioRemove(files, device));
    }

    @Test
    void interruptsOfABoundDeviceAreArmed() {
        int fd = device();
        int iommufd = iommufd();
        assertOk(bind(fd, iommufd));
        VfioDevice device = vfio.bound(EDU, fd, iommufd);
        int event = vfio.world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        device.start();
        device.hardware.send(0);
        assertThat(vfio.await(event)).isEqualTo(1);
    }
}
