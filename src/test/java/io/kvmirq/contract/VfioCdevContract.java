/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.MSI;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.uapi.Uapi;
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
    private static final int NO_OBJECT = 999;

    private final VfioWorld vfio;
    private final VfioFiles files;

    VfioCdevContract(VfioWorld vfio) {
        this.vfio = vfio;
        this.files = new VfioFiles(vfio);
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

    @Test
    void deviceAnswersNothingBeforeItIsBound() {
        int device = device();
        assertErrno(Errno.EINVAL, files.info(device));
        assertErrno(Errno.EINVAL, files.attach(device, 1));
        assertOk(files.bind(device, files.iommufd()));
        assertOk(files.info(device));
    }

    @Test
    void deviceIsBoundToAnIommufdOnly() {
        int device = device();
        assertErrno(Errno.EINVAL, files.bind(device, -1));
        assertErrno(Errno.EBADF, files.bind(device, NOT_OPEN));
        assertErrno(Errno.EBADFD, files.bind(device, vfio.world.eventfd()));
        assertErrno(Errno.EINVAL, files.info(device));
    }

    @Test
    void deviceIsBoundOnce() {
        int device = device();
        int iommufd = files.iommufd();
        assertOk(files.bind(device, iommufd));
        assertErrno(Errno.EINVAL, files.bind(device, iommufd));
    }

    @Test
    void attachedDeviceMayBeDetachedTwice() {
        int device = device();
        int iommufd = files.iommufd();
        assertOk(files.bind(device, iommufd));
        assertOk(files.attach(device, files.space(iommufd))); // on the fake in attachedDeviceIsAttachedToNoDevice
        vfio.world.assumeReal("VFIO_DEVICE_DETACH_IOMMUFD_PT");
        assertOk(files.detach(device));
        assertOk(files.detach(device));
    }

    @Test
    void deviceIsAttachedToWhatThereIs() {
        int device = device();
        assertOk(files.bind(device, files.iommufd()));
        assertErrno(Errno.ENOENT, files.attach(device, NO_OBJECT));
    }

    /** The first object of an iommufd is the first device that is bound to it. */
    @Test
    void attachedDeviceIsAttachedToNoDevice() {
        int device = device();
        int iommufd = files.iommufd();
        assertOk(files.bind(device, iommufd));
        assertErrno(Errno.EINVAL, files.attach(device, 1));
        assertOk(files.attach(device, files.space(iommufd)));
        assertErrno(Errno.EINVAL, files.attach(device, 1));
    }

    @Test
    void groupAndFileOfADeviceExcludeEachOther() {
        int device = device();
        int iommufd = files.iommufd();
        int group = vfio.group(EDU);
        assertErrno(Errno.EBUSY, files.bind(device, iommufd));
        vfio.world.close(group);
        assertOk(files.bind(device, iommufd));
        assertErrno(Errno.EBUSY, vfio.open(vfio.groupPath(EDU)));
    }

    @Test
    void kvmTakesTheFileBeforeItIsBound() {
        int device = device();
        int kvm = vfio.world.own(vfio.kernel().deviceCreate(vfio.world.bareVm(), Uapi.KVM_DEV_TYPE_VFIO));
        assertOk(vfio.kernel().deviceVfioAdd(kvm, device));
        assertErrno(Errno.EEXIST, vfio.kernel().deviceVfioAdd(kvm, device));
        assertOk(vfio.kernel().deviceVfioRemove(kvm, device));
    }

    @Test
    void interruptsOfABoundDeviceAreArmed() {
        int fd = device();
        int iommufd = files.iommufd();
        assertOk(files.bind(fd, iommufd));
        OpenedDevice device = vfio.bound(EDU, fd, iommufd);
        int event = vfio.world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        device.start();
        device.hardware.send(0);
        assertThat(vfio.await(event)).isEqualTo(1);
    }
}
