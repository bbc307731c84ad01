/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.uapi.UapiVfio;
import org.junit.jupiter.api.Test;

/** The objects that VFIO keeps alive, and those that end with the last close of its files. */
@VfioContract
class VfioLifetimesContract extends VfioSuite {
    // Devices

    @Test
    void lastCloseOfADeviceDisablesItsInterrupts() {
        int event = world.eventfd();
        assertOk(e1000e().arm(MSIX, 0, event));
        assertOk(e1000e().arm(ERR, 0, event));
        assertOk(e1000e().arm(REQ, 0, event));
        closeFile(e1000e().fd);
        OpenedDevice again = vfio.device(E1000E, e1000e().container, e1000e().group);
        assertErrno(Errno.EINVAL, again.disable(MSIX));
        assertErrno(Errno.EINVAL, again.disable(ERR));
        assertErrno(Errno.EINVAL, again.disable(REQ));
        assertOk(again.arm(INTX, 0, event));
    }

    @Test
    void lastCloseOfADeviceDisablesIntxAndForgetsItsUnmaskEventfd() {
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = world.eventfd();
        int unmask = world.eventfd();
        assertOk(device.arm(INTX, 0, event));
        assertOk(device.unmaskBy(unmask));
        device.hardware.request();
        assertThat(vfio.await(event)).isEqualTo(1);
        device.hardware.serve();
        closeFile(device.fd);
        OpenedDevice again = vfio.device(EDU, device.container, device.group);
        again.start();
        assertErrno(Errno.EINVAL, again.intx(UNMASK));
        assertOk(again.arm(INTX, 0, event));
        assertOk(again.unmaskBy(unmask));
        again.hardware.request();
        assertThat(vfio.await(event)).as("the mask is gone too").isEqualTo(1);
        again.hardware.serve();
    }

    @Test
    void twoFilesOfADeviceShareItsInterrupts() {
        OpenedDevice first = vfio.device(EDU);
        OpenedDevice second = vfio.device(EDU, first.container, first.group);
        int event = world.eventfd();
        assertOk(first.arm(MSI, 0, event));
        closeFile(first.fd);
        assertThat(second.armed(MSI, event)).as("the other file is open").containsExactly(0);
        assertOk(second.disable(MSI));
    }

    @Test
    void duplicateKeepsADeviceOpen() {
        OpenedDevice device = vfio.device(EDU);
        int event = world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        int copy = world.own(kernel.fdDup(device.fd));
        closeFile(device.fd);
        assertErrno(Errno.EBUSY, vfio.unsetContainer(device.group));
        closeFile(copy);
        assertOk(vfio.unsetContainer(device.group));
    }

    // Containers

    @Test
    void containerLivesInItsGroupWithoutADescriptor() {
        int group = vfio.group(EDU);
        int container = vfio.attach(group);
        closeFile(container);
        assertThat(vfio.status(group) & UapiVfio.VFIO_GROUP_FLAGS_CONTAINER_SET).isNotZero();
        OpenedDevice device = vfio.device(EDU, container, group);
        assertThat(device.irqInfo(MSI)).isEqualTo("9 1");
        closeFile(device.fd);
        closeFile(group);
        assertThat(vfio.status(vfio.group(EDU)) & UapiVfio.VFIO_GROUP_FLAGS_CONTAINER_SET)
                .isZero();
    }

    @Test
    void deviceLivesWithoutTheDescriptorsThroughWhichItWasOpened() {
        OpenedDevice device = vfio.device(EDU);
        closeFile(device.container);
        closeFile(device.group);
        int event = world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        device.start();
        device.hardware.send(0);
        assertThat(vfio.await(event)).isEqualTo(1);
    }

    // Eventfds

    /** VFIO holds the eventfd's counter and not its file, so the device still signals a counter without a reader. */
    @Test
    void closedEventfdStaysArmed() {
        OpenedDevice device = vfio.device(EDU);
        int event = world.eventfd();
        int other = world.own(kernel.fdDup(event));
        assertOk(device.arm(MSI, 0, event));
        closeFile(event);
        assertThat(device.armed(MSI, other)).as("by a duplicate").containsExactly(0);
        closeFile(other);
        assertOk(device.loopback(MSI, 0, 1));
        assertOk(device.disable(MSI));
    }

    @Test
    void replacedEventfdHearsNothingMore() {
        OpenedDevice device = vfio.device(EDU);
        int[] events = vfio.events(2);
        assertOk(device.arm(MSI, 0, events[0]));
        assertOk(device.arm(MSI, 0, events[1]));
        assertOk(device.loopback(MSI, 0, 1));
        assertThat(vfio.take(events[0])).isZero();
        assertThat(vfio.take(events[1])).isEqualTo(1);
    }

    @Test
    void signalThatWasCountedOutlivesTheDevice() {
        OpenedDevice device = vfio.device(EDU);
        int event = world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        assertOk(device.loopback(MSI, 0, 1));
        device.close();
        assertThat(vfio.take(event)).isEqualTo(1);
    }

    /** Then INTx stays masked, and nobody hears of it: the last close of a resamplefd is a fault. */
    @Test
    void closedUnmaskEventfdLeavesIntxMasked() {
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = world.eventfd();
        int unmask = world.eventfd();
        int other = world.eventfd();
        assertOk(device.arm(INTX, 0, event));
        assertOk(device.unmaskBy(unmask));
        device.hardware.request();
        assertThat(vfio.await(event)).isEqualTo(1);
        closeFile(unmask);
        eventually("the closed eventfd is removed", () -> device.unmaskBy(other) == 0);
        assertThat(vfio.take(event)).as("still masked").isZero();
        vfio.signal(other);
        assertThat(vfio.await(event)).isEqualTo(1);
        device.hardware.serve();
    }
}
