/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.uapi.UapiVfio;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The checks of VFIO_DEVICE_SET_IRQS for all indexes, and the error and the request interrupt. */
@VfioContract
class VfioSetIrqsContract extends VfioSuite {
    private static final int HEADER = 20;

    // Each call breaks the next rule too

    @Test
    void headerIsCheckedInOrder() {
        assertErrno(Errno.EFAULT, vfio.ioctl(e1000e().fd, UapiVfio.VFIO_DEVICE_SET_IRQS, 0));
        int noAction = NONE;
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER - 1, noAction, INTX, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, noAction, 5, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, noAction, -1, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, noAction, INTX, 1, -2));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, noAction | 64, INTX, 0, 1));
    }

    @Test
    void rangeEndsWithTheInterruptsOfTheIndex() {
        int noAction = NONE;
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, noAction, INTX, 1, 0));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, noAction, MSIX, 5, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, noAction, MSIX, 1, 5));
        assertErrno(Errno.ENOTTY, e1000e().raw(HEADER, noAction, MSIX, 1, 4));
    }

    @Test
    void dataIsOfOneKindAndFitsBeforeTheActionIsLookedAt() {
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, 0, INTX, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, NONE | BOOL, INTX, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, BOOL, INTX, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER + 3, EVENTFD, INTX, 0, 1));
        assertErrno(Errno.ENOTTY, e1000e().raw(HEADER + 4, EVENTFD, INTX, 0, 1, -1));
    }

    @Test
    void exactlyOneActionIsKnown() {
        assertErrno(Errno.ENOTTY, e1000e().setIrqs(NONE, INTX, 0, 1));
        assertErrno(Errno.ENOTTY, e1000e().setIrqs(MASK | TRIGGER | NONE, INTX, 0, 1));
        assertErrno(Errno.ENOTTY, e1000e().setIrqs(MASK | UNMASK | NONE, MSIX, 0, 1));
    }

    @Test
    void onlyIntxIsMasked() {
        for (int index : new int[] {MSI, MSIX, ERR, REQ}) {
            assertErrno(Errno.ENOTTY, e1000e().setIrqs(MASK | NONE, index, 0, 1));
            assertErrno(Errno.ENOTTY, e1000e().setIrqs(UNMASK | NONE, index, 0, 1));
        }
    }

    @Test
    void indexWithoutInterruptsIsOutOfRange() {
        OpenedDevice edu = vfio.device(EDU);
        for (int index : new int[] {MSIX, ERR}) {
            assertErrno(Errno.EINVAL, edu.disable(index));
            assertErrno(Errno.EINVAL, edu.setIrqs(MASK | NONE, index, 0, 1));
        }
        assertErrno(Errno.EINVAL, vfio.device(NVME).disable(MSI));
    }

    // The error and the request interrupt

    @ParameterizedTest
    @ValueSource(ints = {ERR, REQ})
    void singleInterruptIsCheckedInOrder(int index) {
        assertErrno(Errno.EINVAL, e1000e().setIrqs(TRIGGER | NONE, index, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().setIrqs(TRIGGER | NONE, index, 0, 0));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, TRIGGER | BOOL, index, 0, 0));
        assertOk(e1000e().bytes(TRIGGER, index, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().raw(HEADER, TRIGGER | EVENTFD, index, 0, 0));
        assertErrno(Errno.EBADF, e1000e().arm(index, 0, NOT_OPEN));
        assertErrno(Errno.EINVAL, e1000e().arm(index, 0, e1000e().fd));
        assertErrno(Errno.EINVAL, e1000e().arm(index, 1, NOT_OPEN));
    }

    @ParameterizedTest
    @ValueSource(ints = {ERR, REQ})
    void singleInterruptIsSignalledByLoopback(int index) {
        int event = world.eventfd();
        assertOk(e1000e().arm(index, 0, event));
        assertErrno(Errno.EBADF, e1000e().arm(index, 0, NOT_OPEN));
        assertOk(e1000e().loopback(index, 0, 1));
        assertOk(e1000e().bytes(TRIGGER, index, 0, 1));
        assertOk(e1000e().bytes(TRIGGER, index, 0, 0));
        assertThat(vfio.take(event)).as("the failure left it set").isEqualTo(2);
    }

    @ParameterizedTest
    @ValueSource(ints = {ERR, REQ})
    void singleInterruptIsRemovedByMinusOneOrNothing(int index) {
        int event = world.eventfd();
        assertOk(e1000e().arm(index, 0, -1));
        assertOk(e1000e().arm(index, 0, event));
        assertOk(e1000e().arm(index, 0, -1));
        assertErrno(Errno.EINVAL, e1000e().disable(index));
        assertOk(e1000e().arm(index, 0, event));
        assertOk(e1000e().disable(index));
        assertErrno(Errno.EINVAL, e1000e().disable(index));
    }

    @Test
    void descriptorBelowMinusOneIsRefusedSince612() {
        if (vfio.isSince(6, 12)) {
            assertErrno(Errno.EINVAL, e1000e().arm(REQ, 0, -2));
        } else {
            assertOk(e1000e().arm(REQ, 0, -2));
        }
    }

    @Test
    void interruptsOfTheDeviceDoNotShareAModeWithErrorAndRequest() {
        int[] events = vfio.events(3);
        assertOk(e1000e().arm(ERR, 0, events[0]));
        assertOk(e1000e().arm(REQ, 0, events[1]));
        assertOk(e1000e().arm(MSIX, 0, events[2]));
        assertOk(e1000e().disable(MSIX));
        assertOk(e1000e().loopback(ERR, 0, 1));
        assertOk(e1000e().loopback(REQ, 0, 1));
        assertThat(vfio.take(events[0])).isEqualTo(1);
        assertThat(vfio.take(events[1])).isEqualTo(1);
    }

    /** MSI looks at the power before the number of vectors, MSI-X after it. */
    @Test
    void messagesAreNotEnabledWhileTheDeviceSleeps() {
        OpenedDevice device = e1000e();
        int power = device.capabilities().get(1) + 4;
        device.writeConfig(power, 2, 3);
        int[] events = vfio.events(1);
        assertErrno(Errno.EINVAL, device.arm(MSI, 0, events));
        assertErrno(Errno.EINVAL, device.arm(MSIX, 0, events));
        assertErrno(Errno.EINVAL, device.arm(MSI, 0));
        assertErrno(Errno.ERANGE, device.arm(MSIX, 0));
        device.writeConfig(power, 2, 0);
        assertErrno(Errno.ERANGE, device.arm(MSI, 0));
        assertOk(device.arm(MSI, 0, events));
    }

    @Test
    void hostSignalsTheErrorAndTheRequest() {
        VfioWorld alone = vfio.fakeAlone("the lab provokes no error, and its driver stays bound");
        OpenedDevice device = alone.device(E1000E);
        int[] events = alone.events(2);
        assertOk(device.arm(ERR, 0, events[0]));
        assertOk(device.arm(REQ, 0, events[1]));
        FakePciDevice hardware = alone.hardware(E1000E);
        assertThat(hardware.reportError()).isTrue();
        assertThat(hardware.askBack()).isTrue();
        assertThat(alone.take(events[0])).isEqualTo(1);
        assertThat(alone.take(events[1])).isEqualTo(1);
        assertOk(device.disable(ERR));
        assertOk(device.disable(REQ));
        assertThat(hardware.reportError()).isFalse();
        assertThat(hardware.askBack()).isFalse();
    }
}
