/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.fake.FakePciDevice;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * INTx of a VFIO device: {@code vfio_intx_*()} in drivers/vfio/pci/vfio_pci_intrs.c. That no interrupt comes is shown
 * by what the eventfd counts together with the loopback that follows.
 */
@VfioContract
class VfioIntxContract extends VfioSuite {
    private int event;

    @BeforeEach
    void setUp() {
        event = world.eventfd();
    }

    /** A device whose INTx signals an eventfd. */
    private OpenedDevice armed(int event) {
        OpenedDevice device = vfio.device(EDU);
        device.start();
        assertOk(device.arm(INTX, 0, event));
        return device;
    }

    private void interrupt(OpenedDevice device) {
        device.hardware.request();
        assertThat(vfio.await(event)).isEqualTo(1);
    }

    /** Counts the one loopback and no other signal. */
    private void assertQuiet(OpenedDevice device, int event) {
        assertThat(vfio.take(event)).isZero();
        assertOk(device.intx(TRIGGER));
        assertThat(vfio.take(event)).as("the loopback alone").isEqualTo(1);
    }

    // The order of checks

    @Test
    void inactiveIntxKnowsOnlyItsEventfd() {
        OpenedDevice device = vfio.device(EDU);
        assertErrno(Errno.EINVAL, device.disable(INTX));
        assertErrno(Errno.EINVAL, device.intx(TRIGGER));
        assertErrno(Errno.EINVAL, device.bytes(TRIGGER, INTX, 0, 1));
        assertErrno(Errno.EINVAL, device.intx(MASK));
        assertErrno(Errno.EINVAL, device.intx(UNMASK));
        assertErrno(Errno.EINVAL, device.setIrqs(MASK | EVENTFD, INTX, 0, 1, NOT_OPEN));
        assertErrno(Errno.EINVAL, device.unmaskBy(NOT_OPEN));
    }

    @Test
    void triggerIsOneEventfd() {
        OpenedDevice device = vfio.device(EDU);
        assertErrno(Errno.EINVAL, device.setIrqs(TRIGGER | EVENTFD, INTX, 0, 0));
        assertErrno(Errno.EBADF, device.arm(INTX, 0, NOT_OPEN));
        assertErrno(Errno.EINVAL, device.arm(INTX, 0, device.fd));
        assertErrno(Errno.EINVAL, device.disable(INTX));
        assertOk(device.arm(INTX, 0, world.eventfd()));
        assertErrno(Errno.EINVAL, device.setIrqs(TRIGGER | EVENTFD, INTX, 0, 0));
        assertOk(device.disable(INTX));
        assertErrno(Errno.EINVAL, device.disable(INTX));
    }

    @Test
    void maskIsCheckedInOrder() {
        OpenedDevice device = armed(world.eventfd());
        assertErrno(Errno.EINVAL, device.setIrqs(MASK | NONE, INTX, 0, 0));
        assertErrno(Errno.EINVAL, device.setIrqs(UNMASK | NONE, INTX, 0, 0));
        assertErrno(Errno.ENOTTY, device.setIrqs(MASK | EVENTFD, INTX, 0, 1, NOT_OPEN));
        assertErrno(Errno.EBADF, device.unmaskBy(NOT_OPEN));
        assertErrno(Errno.EINVAL, device.unmaskBy(device.fd));
    }

    @Test
    void messagesNeedIntxDisabledFirst() {
        assertOk(e1000e().arm(INTX, 0, event));
        assertErrno(Errno.EINVAL, e1000e().arm(MSI, 0, event));
        assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 0, NOT_OPEN));
        assertOk(e1000e().disable(INTX));
        assertOk(e1000e().arm(MSIX, 0, event));
        assertErrno(Errno.EINVAL, e1000e().arm(INTX, 0, event));
    }

    // Loopback and the device's own request

    @Test
    void loopbackSignalsByNoneAndByAByteThatIsNotZero() {
        OpenedDevice device = armed(event);
        assertOk(device.intx(TRIGGER));
        assertOk(device.bytes(TRIGGER, INTX, 0, 1));
        assertOk(device.bytes(TRIGGER, INTX, 0, 0));
        assertThat(vfio.take(event)).isEqualTo(2);
    }

    @Test
    void requestOfTheDeviceIsSignalledOnceAndAutoMasked() {
        OpenedDevice device = armed(event);
        interrupt(device);
        device.hardware.request();
        assertQuiet(device, event);
        device.hardware.serve();
    }

    @Test
    void unmaskingWhileTheDeviceRequestsSignalsAgain() {
        OpenedDevice device = armed(event);
        interrupt(device);
        assertOk(device.intx(UNMASK));
        assertThat(vfio.await(event)).as("still requested").isEqualTo(1);
        device.hardware.serve();
    }

    @Test
    void unmaskingAfterTheDeviceWasServedIsQuiet() {
        OpenedDevice device = armed(event);
        interrupt(device);
        device.hardware.serve();
        assertOk(device.intx(UNMASK));
        assertQuiet(device, event);
        interrupt(device);
        device.hardware.serve();
    }

    @Test
    void maskOfTheUserHoldsTheRequestUntilItUnmasks() {
        OpenedDevice device = armed(event);
        assertOk(device.intx(MASK));
        assertOk(device.intx(MASK));
        device.hardware.request();
        assertQuiet(device, event);
        assertOk(device.bytes(UNMASK, INTX, 0, 0));
        assertQuiet(device, event);
        assertOk(device.bytes(UNMASK, INTX, 0, 1));
        assertThat(vfio.await(event)).isEqualTo(1);
        device.hardware.serve();
    }

    @Test
    void maskByAByteOfZeroMasksNothing() {
        OpenedDevice device = armed(event);
        assertOk(device.bytes(MASK, INTX, 0, 0));
        interrupt(device);
        device.hardware.serve();
    }

    @Test
    void statusShowsTheRequestWhileItIsMasked() {
        OpenedDevice device = armed(event);
        assertThat(device.readConfig(STATUS) & INTX_PENDING).isZero();
        interrupt(device);
        assertThat(device.readConfig(STATUS) & INTX_PENDING).isEqualTo(INTX_PENDING);
        device.hardware.serve();
        assertThat(device.readConfig(STATUS) & INTX_PENDING).isZero();
    }

    // The unmask eventfd

    @Test
    void secondUnmaskEventfdIsBusyUntilTheFirstIsRemoved() {
        OpenedDevice device = armed(world.eventfd());
        int[] unmask = vfio.events(2);
        assertOk(device.unmaskBy(-1));
        assertOk(device.unmaskBy(unmask[0]));
        assertErrno(Errno.EBADF, device.unmaskBy(NOT_OPEN));
        assertErrno(Errno.EBUSY, device.unmaskBy(unmask[1]));
        assertErrno(Errno.EBUSY, device.unmaskBy(unmask[0]));
        assertOk(device.unmaskBy(-1));
        assertOk(device.unmaskBy(unmask[1]));
    }

    @Test
    void disableRemovesTheUnmaskEventfd() {
        OpenedDevice device = armed(event);
        assertOk(device.unmaskBy(world.eventfd()));
        assertOk(device.disable(INTX));
        assertOk(device.arm(INTX, 0, event));
        assertOk(device.unmaskBy(world.eventfd()));
    }

    @Test
    void unmaskEventfdUnmasksAndIsConsumed() {
        int unmask = world.eventfd();
        OpenedDevice device = armed(event);
        assertOk(device.unmaskBy(unmask));
        interrupt(device);
        vfio.signal(unmask);
        assertThat(vfio.await(event)).isEqualTo(1);
        eventually("the signal is consumed", () -> vfio.take(unmask) == 0);
        device.hardware.serve();
        vfio.signal(unmask);
        interrupt(device);
        device.hardware.serve();
    }

    @Test
    void unmaskEventfdThatIsSignalledAlreadyUnmasksAtOnceAndKeepsItsCount() {
        int unmask = world.eventfd();
        OpenedDevice device = armed(event);
        interrupt(device);
        vfio.signal(unmask);
        assertOk(device.unmaskBy(unmask));
        assertThat(vfio.await(event)).isEqualTo(1);
        assertThat(vfio.take(unmask)).isEqualTo(1);
        device.hardware.serve();
    }

    /** Whether it is removed by -1, or by disabling INTx. */
    @Test
    void removingTheUnmaskEventfdTakesItsCount() {
        OpenedDevice device = armed(world.eventfd());
        int[] unmask = vfio.events(2);
        for (int event : unmask) {
            vfio.signal(event);
        }
        assertOk(device.unmaskBy(unmask[0]));
        assertOk(device.unmaskBy(-1));
        assertThat(vfio.take(unmask[0])).isZero();
        assertOk(device.unmaskBy(unmask[1]));
        assertOk(device.disable(INTX));
        assertThat(vfio.take(unmask[1])).isZero();
    }

    // Swapping the trigger

    @Test
    void swappedTriggerKeepsTheMask() {
        int[] events = vfio.events(2);
        OpenedDevice device = armed(events[0]);
        device.hardware.request();
        assertThat(vfio.await(events[0])).isEqualTo(1);
        assertOk(device.arm(INTX, 0, events[1]));
        assertQuiet(device, events[1]);
        assertOk(device.intx(UNMASK));
        assertThat(vfio.await(events[1])).isEqualTo(1);
        assertThat(vfio.take(events[0])).isZero();
        device.hardware.serve();
    }

    @Test
    void failureToSwapKeepsTheTrigger() {
        OpenedDevice device = armed(event);
        assertErrno(Errno.EBADF, device.arm(INTX, 0, NOT_OPEN));
        assertErrno(Errno.EINVAL, device.arm(INTX, 0, device.fd));
        assertQuiet(device, event);
    }

    /** The fixes of CVE-2024-26812, which Debian's 6.1 and 6.12 have. */
    @Test
    void minusOneKeepsIntxActiveWithoutATrigger() {
        OpenedDevice device = armed(event);
        assertOk(device.arm(INTX, 0, -1));
        assertOk(device.intx(TRIGGER));
        assertThat(vfio.take(event)).isZero();
        assertOk(device.intx(MASK));
        assertOk(device.disable(INTX));
        assertOk(device.arm(INTX, 0, -1));
        assertOk(device.intx(MASK));
        assertOk(device.arm(INTX, 0, event));
        assertQuiet(device, event);
    }

    // DisINTx of the guest

    @Test
    void disIntxOfTheGuestHoldsEverySignal() {
        OpenedDevice device = armed(event);
        device.writeCommand(device.readConfig(COMMAND) | DIS_INTX);
        device.hardware.request();
        assertOk(device.intx(TRIGGER));
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).isZero();
        device.writeCommand(device.readConfig(COMMAND) & ~DIS_INTX);
        assertThat(vfio.await(event)).isEqualTo(1);
        assertThat(device.readConfig(COMMAND) & DIS_INTX)
                .as("masked by VFIO, which the guest does not see")
                .isZero();
        device.hardware.serve();
    }

    // A line of two devices; see also VfioNointxmaskContract

    @Test
    void devicesThatMaskThemselvesShareTheirLine() {
        OpenedDevice[] devices = {vfio.device(EDU), vfio.secondEdu()};
        int[] events = vfio.events(2);
        for (int i = 0; i < 2; i++) {
            devices[i].start();
            assertOk(devices[i].arm(INTX, 0, events[i]));
        }
        for (int i = 0; i < 2; i++) {
            devices[i].hardware.request();
            assertThat(vfio.await(events[i])).isEqualTo(1);
            assertThat(vfio.take(events[1 - i])).as("of the other device").isZero();
            devices[i].hardware.serve();
        }
    }

    @Test
    void deviceWithoutDisIntxNeedsItsLineAlone() {
        VfioWorld alone = vfio.fakeAlone("QEMU's devices all have DisINTx");
        String address = "0000:00:1e.0";
        FakePciDevice hardware = alone.fake()
                .pciDevice(address, 8)
                .intxWithoutDisIntx()
                .onSharedLine()
                .add();
        OpenedDevice device = alone.device(hardware, 8, address);
        assertErrno(Errno.EBADF, device.arm(INTX, 0, NOT_OPEN));
        assertErrno(Errno.EBUSY, device.arm(INTX, 0, alone.world.eventfd()));
        assertErrno(Errno.EBUSY, device.arm(INTX, 0, -1));
        assertErrno(Errno.EINVAL, device.intx(MASK));
    }
}
