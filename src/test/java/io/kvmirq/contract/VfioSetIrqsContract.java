/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.VfioDevice.*;
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
        VfioDevice device = vfio.device(E1000E);
        assertErrno(Errno.EFAULT, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_SET_IRQS, 0));
        int noAction = NONE;
        assertErrno(Errno.EINVAL, device.raw(HEADER - 1, noAction, INTX, 0, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER, noAction, 5, 0, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER, noAction, -1, 0, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER, noAction, INTX, 1, -2));
        assertErrno(Errno.EINVAL, device.raw(HEADER, noAction | 64, INTX, 0, 1));
    }

    @Test
    void rangeEndsWithTheInterruptsOfTheIndex() {
        VfioDevice device = vfio.device(E1000E);
        int noAction = NONE;
        assertErrno(Errno.EINVAL, device.raw(HEADER, noAction, INTX, 1, 0));
        assertErrno(Errno.EINVAL, device.raw(HEADER, noAction, MSIX, 5, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER, noAction, MSIX, 1, 5));
        assertErrno(Errno.ENOTTY, device.raw(HEADER, noAction, MSIX, 1, 4));
    }

    @Test
    void dataIsOfOneKindAndFitsBeforeTheActionIsLookedAt() {
        VfioDevice device = vfio.device(E1000E);
        assertErrno(Errno.EINVAL, device.raw(HEADER, 0, INTX, 0, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER, NONE | BOOL, INTX, 0, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER, BOOL, INTX, 0, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER + 3, EVENTFD, INTX, 0, 1));
        assertErrno(Errno.ENOTTY, device.raw(HEADER + 4, EVENTFD, INTX, 0, 1, -1));
    }

    @Test
    void argszMayExceedTheData() {
        VfioDevice device = vfio.device(E1000E);
        assertErrno(Errno.ENOTTY, device.raw(1 << 30, NONE, MSIX, 0, 5));
        assertErrno(Errno.ENOTTY, device.raw(-1, NONE, MSIX, 0, 5));
    }

    @Test
    void exactlyOneActionIsKnown() {
        VfioDevice device = vfio.device(E1000E);
        assertErrno(Errno.ENOTTY, device.setIrqs(NONE, INTX, 0, 1));
        assertErrno(Errno.ENOTTY, device.setIrqs(MASK | TRIGGER | NONE, INTX, 0, 1));
        assertErrno(Errno.ENOTTY, device.setIrqs(MASK | UNMASK | NONE, MSIX, 0, 1));
    }

    @Test
    void onlyIntxIsMasked() {
        VfioDevice device = vfio.device(E1000E);
        for (int index : new int[] {MSI, MSIX, ERR, REQ}) {
            assertErrno(Errno.ENOTTY, device.setIrqs(MASK | NONE, index, 0, 1));
            assertErrno(Errno.ENOTTY, device.setIrqs(UNMASK | NONE, index, 0, 1));
        }
    }

    @Test
    void maskingNothingOfMsixIsUnknownToo() {
        VfioDevice device = vfio.device(E1000E);
        assertErrno(Errno.ENOTTY, device.setIrqs(MASK | NONE, MSIX, 0, 0));
    }

    @Test
    void indexWithoutInterruptsIsOutOfRange() {
        VfioDevice edu = vfio.device(EDU);
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
        VfioDevice device = vfio.device(E1000E);
        assertErrno(Errno.EINVAL, device.setIrqs(TRIGGER | NONE, index, 0, 1));
        assertErrno(Errno.EINVAL, device.setIrqs(TRIGGER | NONE, index, 0, 0));
        assertErrno(Errno.EINVAL, device.raw(HEADER, TRIGGER | BOOL, index, 0, 0));
        assertOk(device.bytes(TRIGGER, index, 0, 1));
        assertErrno(Errno.EINVAL, device.raw(HEADER, TRIGGER | EVENTFD, index, 0, 0));
        assertErrno(Errno.EBADF, device.arm(index, 0, NOT_OPEN));
        assertErrno(Errno.EINVAL, device.arm(index, 0, device.fd));
        assertErrno(Errno.EINVAL, device.arm(index, 1, NOT_OPEN));
    }

    @ParameterizedTest
    @ValueSource(ints = {ERR, REQ})
    void singleInterruptIsSignalledByLoopback(int index) {
        VfioDevice device = vfio.device(E1000E);
        int event = vfio.world.eventfd();
        assertOk(device.arm(index, 0, event));
        assertErrno(Errno.EBADF, device.arm(index, 0, NOT_OPEN));
        assertOk(device.loopback(index, 0, 1));
        assertOk(device.bytes(TRIGGER, index, 0, 1));
        assertOk(device.bytes(TRIGGER, index, 0, 0));
        assertThat(vfio.take(event)).as("the failure left it set").isEqualTo(2);
    }

    @ParameterizedTest
    @ValueSource(ints = {ERR, REQ})
    void singleInterruptIsRemovedByMinusOneOrNothing(int index) {
        VfioDevice device = vfio.device(E1000E);
        int event = vfio.world.eventfd();
        assertOk(device.arm(index, 0, -1));
        assertOk(device.arm(index, 0, event));
        assertOk(device.arm(index, 0, -1));
        assertErrno(Errno.EINVAL, device.disable(index));
        assertOk(device.arm(index, 0, event));
        assertOk(device.disable(index));
        assertErrno(Errno.EINVAL, device.disable(index));
    }

    @Test
    void descriptorBelowMinusOneIsRefusedSince612() {
        VfioDevice device = vfio.device(E1000E);
        if (vfio.isSince(6, 12)) {
            assertErrno(Errno.EINVAL, device.arm(REQ, 0, -2));
        } else {
            assertOk(device.arm(REQ, 0, -2));
        }
    }

    @Test
    void interruptsOfTheDeviceDoNotShareAModeWithErrorAndRequest() {
        VfioDevice device = vfio.device(E1000E);
        int[] events = vfio.events(3);
        assertOk(device.arm(ERR, 0, events[0]));
        assertOk(device.arm(REQ, 0, events[1]));
        assertOk(device.arm(MSIX, 0, events[2]));
        assertOk(device.disable(MSIX));
        assertOk(device.loopback(ERR, 0, 1));
        assertOk(device.loopback(REQ, 0, 1));
        assertThat(vfio.take(events[0])).isEqualTo(1);
        assertThat(vfio.take(events[1])).isEqualTo(1);
    }

    @Test
    void hostSignalsTheErrorAndTheRequest() {
        VfioWorld alone = vfio.fakeAlone("the lab provokes no error, and its driver stays bound");
        VfioDevice device = alone.device(E1000E);
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
