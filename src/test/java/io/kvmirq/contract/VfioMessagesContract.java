/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.TestDevice.SERIAL;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** MSI and MSI-X of a VFIO device: {@code vfio_msi_*()} in drivers/vfio/pci/vfio_pci_intrs.c. */
@VfioContract
class VfioMessagesContract extends VfioSuite {
    private static final int ALL = 5;

    // Enabling and disabling

    /** As enable_trigger_disable of the kernel's selftest. */
    @ParameterizedTest
    @ValueSource(ints = {MSI, MSIX})
    void everyVectorIsEnabledEmptySignalledOnceAndDisabled(int index) {
        int[] events = vfio.events(index == MSI ? 1 : ALL);
        assertOk(e1000e().arm(index, 0, events));
        for (int event : events) {
            assertThat(vfio.take(event)).as("after enabling").isZero();
        }
        for (int i = 0; i < events.length; i++) {
            assertOk(e1000e().loopback(index, i, 1));
            assertThat(vfio.take(events[i])).isEqualTo(1);
        }
        assertOk(e1000e().disable(index));
    }

    @Test
    void allVectorsOfALargeTableAreArmedAtOnce() {
        OpenedDevice device = vfio.device(NVME);
        int[] events = vfio.events(65);
        assertOk(device.arm(MSIX, 0, events));
        assertThat(device.armed(MSIX, events))
                .containsExactlyElementsOf(IntStream.range(0, 65).boxed().toList());
        assertOk(device.disable(MSIX));
    }

    @ParameterizedTest
    @ValueSource(ints = {MSI, MSIX})
    void disablingTwiceIsInvalid(int index) {
        assertErrno(Errno.EINVAL, e1000e().disable(index));
        assertErrno(Errno.EINVAL, e1000e().loopback(index, 0, 1));
        assertErrno(Errno.EINVAL, e1000e().bytes(TRIGGER, index, 0, 1));
        assertOk(e1000e().arm(index, 0, world.eventfd()));
        assertOk(e1000e().disable(index));
        assertErrno(Errno.EINVAL, e1000e().disable(index));
    }

    @Test
    void noneWithACountIsALoopbackAndDisablesNothing() {
        int[] events = vfio.events(2);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertOk(e1000e().loopback(MSIX, 0, 2));
        assertThat(vfio.take(events[0])).isEqualTo(1);
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 1);
    }

    @Test
    void modesExcludeEachOther() {
        int event = world.eventfd();
        assertOk(e1000e().arm(MSIX, 0, event));
        assertErrno(Errno.EINVAL, e1000e().arm(MSI, 0, event));
        assertErrno(Errno.EINVAL, e1000e().arm(MSI, 0, NOT_OPEN));
        assertErrno(Errno.EINVAL, e1000e().arm(INTX, 0, event));
        assertErrno(Errno.EINVAL, e1000e().disable(MSI));
        assertOk(e1000e().disable(MSIX));
        assertOk(e1000e().arm(MSI, 0, event));
        assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 0, event));
    }

    @Test
    void enablingNoVectorIsOutOfRange() {
        assertErrno(Errno.ERANGE, e1000e().setIrqs(TRIGGER | EVENTFD, MSIX, 0, 0));
        if (vfio.isSince(6, 5)) {
            assertOk(e1000e().setIrqs(TRIGGER | EVENTFD, MSIX, 3, 0));
            assertOk(e1000e().disable(MSIX));
        } else {
            assertErrno(Errno.EINVAL, e1000e().setIrqs(TRIGGER | EVENTFD, MSIX, 3, 0));
            assertErrno(Errno.EINVAL, e1000e().disable(MSIX));
        }
    }

    // Loopback

    @Test
    void bytesChooseVectors() {
        int[] events = vfio.events(ALL);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertOk(e1000e().bytes(TRIGGER, MSIX, 0, 0, 1, 0, 1, 0));
        assertThat(IntStream.of(events).mapToLong(vfio::take)).containsExactly(0L, 1L, 0L, 1L, 0L);
    }

    @Test
    void vectorIsDetachedByMinusOneAndTheOthersStay() {
        int[] events = vfio.events(3);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertOk(e1000e().arm(MSIX, 1, -1));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 2);
        assertOk(e1000e().arm(MSIX, 1, events[1]));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 1, 2);
    }

    @Test
    void vectorsMayBeEnabledWithoutAnEventfd() {
        int[] events = vfio.events(3);
        assertOk(e1000e().arm(MSIX, 0, -1, events[1], -1));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(1);
    }

    @Test
    void oneEventfdMayTakeSeveralVectors() {
        int event = world.eventfd();
        assertOk(e1000e().arm(MSIX, 0, event, event));
        assertOk(e1000e().loopback(MSIX, 0, 2));
        assertThat(vfio.take(event)).isEqualTo(2);
    }

    // Failure

    @Test
    void failureToEnableLeavesNoModeActive() {
        assertErrno(Errno.EBADF, e1000e().arm(MSIX, 0, world.eventfd(), NOT_OPEN));
        assertErrno(Errno.EINVAL, e1000e().disable(MSIX));
        assertOk(e1000e().arm(MSI, 0, world.eventfd()));
    }

    /** Also those that were armed before the call: whoever undoes a failure must arm them again. */
    @Test
    void failureDetachesFromStartThroughTheOneThatFailed() {
        int[] events = vfio.events(ALL);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertErrno(Errno.EBADF, e1000e().arm(MSIX, 1, events[1], NOT_OPEN, events[3]));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 3, 4);
        assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 4, e1000e().fd));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 3);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 1, 2, 3, 4);
    }

    @Test
    void vectorBeyondTheTableIsInvalidAndDetachesNothing() {
        int[] events = vfio.events(ALL);
        assertOk(e1000e().arm(MSIX, 0, events));
        int[] tooMany = vfio.events(ALL + 1);
        assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 0, tooMany));
        assertErrno(Errno.EINVAL, e1000e().arm(MSIX, ALL, tooMany[0]));
        assertErrno(Errno.EINVAL, e1000e().loopback(MSIX, ALL, 1));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 1, 2, 3, 4);
    }

    // Growth

    @Test
    void vectorsOfMsixGrowOneByOneSince65() {
        int[] events = vfio.events(ALL);
        assertOk(e1000e().arm(MSIX, 0, events[0]));
        if (vfio.growsMsix()) {
            assertOk(e1000e().arm(MSIX, 4, events[4]));
            assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 4);
            assertOk(e1000e().arm(MSIX, 2, -1));
        } else if (vfio.isSince(6, 5)) {
            assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 4, events[4]));
            assertOk(e1000e().arm(MSIX, 2, -1));
            assertThat(e1000e().armed(MSIX, events)).containsExactly(0);
        } else {
            assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 4, events[4]));
            assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 2, -1));
            assertErrno(Errno.EINVAL, e1000e().loopback(MSIX, 0, ALL));
            assertThat(e1000e().armed(MSIX, events[0])).containsExactly(0);
        }
    }

    @Test
    void rangeThatReachesPastTheEnabledVectorsDetachesNoneBefore65() {
        int[] events = vfio.events(3);
        assertOk(e1000e().arm(MSIX, 0, events[0], events[1]));
        if (vfio.growsMsix()) {
            assertOk(e1000e().arm(MSIX, 1, events[1], events[2]));
            assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 1, 2);
        } else if (vfio.isSince(6, 5)) {
            assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 1, events[1], events[2]));
            assertThat(e1000e().armed(MSIX, events)).containsExactly(0);
        } else {
            assertErrno(Errno.EINVAL, e1000e().arm(MSIX, 1, events[1], events[2]));
            assertThat(e1000e().armed(MSIX, events[0], events[1])).containsExactly(0, 1);
        }
    }

    @Test
    void growthByDisablingAndEnablingAgainIsPossibleInAllKernels() {
        int[] events = vfio.events(ALL);
        assertOk(e1000e().arm(MSIX, 0, events[0], events[1]));
        assertOk(e1000e().disable(MSIX));
        assertOk(e1000e().arm(MSIX, 0, events));
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 1, 2, 3, 4);
    }

    // Shortage

    /** The number of entries for one device in the table of AMD's IOMMU. */
    private static final int HOST_HAS = 512;

    private static final int MORE = 1000;

    /** The result is positive, and nothing is enabled. */
    @Test
    void shortageOfVectorsIsAPositiveNumberAndEnablesNothing() {
        world.fake().ifPresent(fake -> fake.limitVectors(HOST_HAS));
        OpenedDevice device = vfio.device(SERIAL);
        int[] events = vfio.events(MORE);
        int available = device.arm(MSIX, 0, events);
        assumeTrue(
                available != 0 && available != -Errno.ENOSPC.number(),
                "needs an IOMMU with fewer than 1000 vectors for a device, as AMD's");
        assertThat(available).isBetween(1, MORE - 1);
        assertErrno(Errno.EINVAL, device.disable(MSIX));
        assertErrno(Errno.EINVAL, device.loopback(MSIX, 0, 1));
        assertThat(IntStream.of(events).mapToLong(vfio::take)).containsOnly(0L);
        assertOk(device.arm(MSIX, 0, Arrays.copyOf(events, ALL)));
        assertOk(device.disable(MSIX));
    }

    /** No file shows how many vectors the CPUs have left. */
    @Test
    void hostWithoutAVectorLeftEnablesNothing() {
        boolean fake = world.fake().isPresent();
        world.fake().ifPresent(kernel -> kernel.limitVectors(0));
        OpenedDevice device = vfio.device(SERIAL);
        int result = device.arm(MSIX, 0, vfio.events(fake ? 1 : HOST_HAS));
        world.fake().ifPresent(kernel -> kernel.limitVectors(MORE));
        assumeTrue(result != 0, "needs CPUs with fewer than 512 vectors left");
        assertErrno(Errno.ENOSPC, result);
        assertErrno(Errno.EINVAL, device.disable(MSIX));
        assertOk(device.arm(MSIX, 0, vfio.events(ALL)));
    }

    @Test
    void vectorThatCannotBeAllocatedIsRefusedAlone() {
        VfioWorld alone = vfio.fakeAlone("the lab has no host that is short of one vector");
        OpenedDevice device = alone.device(E1000E);
        alone.fake().limitVectors(2);
        int[] events = alone.events(3);
        assertOk(device.arm(MSIX, 0, events[0], events[1]));
        assertErrno(alone.growsMsix() ? Errno.ENOSPC : Errno.EINVAL, device.arm(MSIX, 2, events[2]));
        assertThat(device.armed(MSIX, events[0], events[1])).containsExactly(0, 1);
    }

    // The device's own messages

    /** QEMU's e1000e may repeat a message 128 us later: messages are counted with edu. */
    @Test
    void everyMessageOfE1000eReachesItsEventfd() {
        e1000e().start();
        int[] events = vfio.events(ALL);
        assertOk(e1000e().arm(MSIX, 0, events));
        for (int vector = 0; vector < ALL; vector++) {
            assertThat(vfio.take(events[vector])).as("before its message").isZero();
            e1000e().hardware.send(vector);
            assertThat(vfio.await(events[vector])).isPositive();
        }
    }

    @Test
    void messageOfEduReachesItsEventfdOnce() {
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        device.hardware.send(0);
        assertThat(vfio.await(event)).isEqualTo(1);
        assertOk(device.disable(MSI));
    }

    @Test
    void deviceThatIsNoBusMasterSendsNothing() {
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        device.writeCommand(device.readConfig(COMMAND) & ~MASTER);
        device.hardware.send(0);
        device.writeCommand(device.readConfig(COMMAND) | MASTER);
        device.hardware.send(0);
        assertThat(vfio.await(event)).as("messages").isEqualTo(1);
        assertOk(device.disable(MSI));
    }

    /** QEMU's e1000e may repeat a message 128 us later. */
    @Test
    void messageOfAVectorWithoutAnEventfdWaitsUntilItGetsOne() {
        e1000e().start();
        int[] events = vfio.events(2);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertOk(e1000e().arm(MSIX, 0, -1));
        e1000e().hardware.send(0);
        e1000e().hardware.send(1);
        assertThat(vfio.await(events[1])).isPositive();
        assertThat(vfio.take(events[0])).isZero();
        assertOk(e1000e().arm(MSIX, 0, events[0]));
        assertThat(vfio.await(events[0])).isPositive();
    }
}
