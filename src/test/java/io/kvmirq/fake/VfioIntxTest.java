/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.BOOL;
import static io.kvmirq.fake.VfioUser.DIS_INTX;
import static io.kvmirq.fake.VfioUser.EVENTFD;
import static io.kvmirq.fake.VfioUser.INTX;
import static io.kvmirq.fake.VfioUser.MASK;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.NONE;
import static io.kvmirq.fake.VfioUser.TRIGGER;
import static io.kvmirq.fake.VfioUser.UNMASK;
import static io.kvmirq.fake.VfioUser.irqSet;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.kvmirq.Errno;
import io.kvmirq.uapi.UapiVfio;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** INTx of a VFIO device. */
class VfioIntxTest {
    private final VfioUser user = new VfioUser("6.18");
    private int device;

    @AfterEach
    void explain() {
        user.close();
    }

    private FakePciDevice add(UnaryOperator<FakePciDevice.Builder> with) {
        FakePciDevice hardware =
                with.apply(user.kernel.pciDevice(NAME, 1).msix(2)).add();
        device = user.device(1);
        return hardware;
    }

    private int setIrqs(int flags, int start, int count, int... fds) {
        return user.setIrqs(device, flags, INTX, start, count, fds);
    }

    private int act(int action) {
        return setIrqs(action | NONE, 0, 1);
    }

    private int bytes(int action, int value) {
        return user.ioctl(device, UapiVfio.VFIO_DEVICE_SET_IRQS, irqSet(21, action | BOOL, INTX, 0, 1, value));
    }

    @Test
    void triggerIsCheckedInOrder() {
        add(FakePciDevice.Builder::intx);
        int event = user.event();
        assertThat(user.disable(device, INTX)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(act(TRIGGER)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(bytes(TRIGGER, 1)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(setIrqs(TRIGGER | EVENTFD, 0, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.arm(device, INTX, 0, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(user.arm(device, INTX, 0, device)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.disable(device, INTX)).as("still not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        assertThat(setIrqs(TRIGGER | EVENTFD, 0, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.arm(device, MSIX, 0, event)).isEqualTo(refused(Errno.EINVAL));
        assertThat(act(TRIGGER)).isZero();
        assertThat(bytes(TRIGGER, 1)).isZero();
        assertThat(bytes(TRIGGER, 0)).isZero();
        assertThat(user.take(event)).isEqualTo(2);
        assertThat(user.disable(device, INTX)).isZero();
        assertThat(user.disable(device, INTX)).as("disabled already").isEqualTo(refused(Errno.EINVAL));
    }

    @Test
    void maskIsCheckedInOrder() {
        add(FakePciDevice.Builder::intx);
        int event = user.event();
        assertThat(setIrqs(MASK | EVENTFD, 0, 1, 999)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(act(UNMASK)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        assertThat(setIrqs(MASK | NONE, 0, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(setIrqs(MASK | EVENTFD, 0, 1, 999)).isEqualTo(refused(Errno.ENOTTY));
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, device)).isEqualTo(refused(Errno.EINVAL));
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, -1)).as("nothing to remove").isZero();
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, user.event())).isZero();
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, 999)).as("set, and not open").isEqualTo(refused(Errno.EBADF));
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, user.event())).isEqualTo(refused(Errno.EBUSY));
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, -1)).isZero();
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, user.event())).isZero();
        assertThat(user.disable(device, INTX)).isZero();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, user.event()))
                .as("disable removed it")
                .isZero();
    }

    /** As edu's INTx in the lab. */
    @Test
    void lineIsMaskedUntilItIsUnmasked() {
        FakePciDevice hardware = add(FakePciDevice.Builder::intx);
        checkAutoMask(hardware);
    }

    @Test
    void lineWithoutDisIntxIsMaskedAtTheController() {
        FakePciDevice hardware = add(FakePciDevice.Builder::intxWithoutDisIntx);
        checkAutoMask(hardware);
    }

    private void checkAutoMask(FakePciDevice hardware) {
        int event = user.event();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).isEqualTo(1);
        hardware.requestService();
        assertThat(user.take(event)).as("masked").isZero();
        assertThat(act(UNMASK)).isZero();
        assertThat(user.take(event)).as("still requested").isEqualTo(1);
        hardware.serve();
        assertThat(act(UNMASK)).isZero();
        assertThat(user.take(event)).as("served").isZero();
        assertThat(act(MASK)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).as("masked by the user").isZero();
        assertThat(bytes(UNMASK, 0)).isZero();
        assertThat(user.take(event)).isZero();
        assertThat(bytes(UNMASK, 1)).isZero();
        assertThat(user.take(event)).isEqualTo(1);
    }

    @Test
    void unmaskEventfdIsConsumed() {
        FakePciDevice hardware = add(FakePciDevice.Builder::intx);
        int event = user.event();
        int unmask = user.event();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).isEqualTo(1);
        user.signal(unmask);
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, unmask)).isZero();
        assertThat(user.take(event)).as("signalled before").isEqualTo(1);
        assertThat(user.take(unmask)).as("its count stays").isEqualTo(1);
        user.signal(unmask);
        assertThat(user.take(event)).isEqualTo(1);
        assertThat(user.take(unmask)).as("its count was read").isZero();
        hardware.serve();
        user.signal(unmask);
        assertThat(user.take(event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).isEqualTo(1);
        user.kernel.close(unmask);
        assertThat(setIrqs(UNMASK | EVENTFD, 0, 1, user.event()))
                .as("its last close removed it")
                .isZero();
    }

    @Test
    void triggerIsSwappedAndTheMaskStays() {
        FakePciDevice hardware = add(FakePciDevice.Builder::intx);
        int event = user.event();
        int other = user.event();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.arm(device, INTX, 0, other)).isZero();
        assertThat(user.take(other)).as("still masked").isZero();
        assertThat(act(UNMASK)).isZero();
        assertThat(user.take(other)).isEqualTo(1);
        assertThat(user.arm(device, INTX, 0, -1)).isZero();
        assertThat(act(UNMASK)).isZero();
        assertThat(user.take(other)).as("no trigger").isZero();
        assertThat(act(MASK)).as("still active").isZero();
        assertThat(user.disable(device, INTX)).isZero();
        assertThat(user.arm(device, INTX, 0, -1))
                .as("enabled without a trigger")
                .isZero();
        assertThat(act(MASK)).isZero();
    }

    @Test
    void deviceWithoutDisIntxNeedsItsLineAlone() {
        add(builder -> builder.intxWithoutDisIntx().onSharedLine());
        assertThat(user.arm(device, INTX, 0, 999)).as("shared, and not open").isEqualTo(refused(Errno.EBADF));
        assertThat(user.arm(device, INTX, 0, user.event())).isEqualTo(refused(Errno.EBUSY));
        assertThat(user.arm(device, INTX, 0, -1)).isEqualTo(refused(Errno.EBUSY));
        assertThat(act(MASK)).as("not active").isEqualTo(refused(Errno.EINVAL));
    }

    @Test
    void deviceWithDisIntxSharesItsLine() {
        FakePciDevice hardware = add(builder -> builder.intx().onSharedLine());
        int event = user.event();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).isEqualTo(1);
    }

    /** While the guest has DisINTx set no signal reaches it, and clearing the bit unmasks. */
    @Test
    void disIntxOfTheGuestIsVirtual() {
        FakePciDevice hardware = add(FakePciDevice.Builder::intx);
        int event = user.event();
        user.writeCommand(device, DIS_INTX);
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(act(TRIGGER)).isZero();
        assertThat(act(UNMASK)).isZero();
        assertThat(user.take(event)).isZero();
        assertThat(user.readWord(device, VfioUser.COMMAND)).isEqualTo(DIS_INTX);
        user.writeCommand(device, 0);
        assertThat(user.take(event)).isEqualTo(1);
        assertThat(user.readWord(device, VfioUser.COMMAND))
                .as("masked by VFIO, which the guest does not see")
                .isZero();
    }

    @Test
    void disIntxOfTheNextUserIsVirtualToo() {
        FakePciDevice hardware =
                user.kernel.pciDevice(NAME, 1).intx().resettable().add();
        int container = user.container();
        int group = user.open("/dev/vfio/1");
        assertThat(user.setContainer(group, container)).isZero();
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU))
                .isZero();
        user.kernel.close(user.deviceFd(group, NAME));
        device = user.deviceFd(group, NAME);
        user.writeCommand(device, DIS_INTX);
        int event = user.event();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).isZero();
        user.writeCommand(device, 0);
        assertThat(user.take(event)).isEqualTo(1);
    }

    @Test
    void deviceWithoutAPinRequestsNothing() {
        FakePciDevice hardware = add(UnaryOperator.identity());
        assertThatIllegalStateException().isThrownBy(hardware::requestService);
    }
}
