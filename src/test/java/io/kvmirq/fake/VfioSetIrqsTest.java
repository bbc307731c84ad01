/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.Errno;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.util.Arrays;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** MSI and MSI-X of a device with 4 and 8 vectors, of which the host may have too few. */
class VfioSetIrqsTest {
    private static final String ADDRESS = "0000:00:1e.0";
    private static final int GROUP = 8;

    @AutoClose
    private final VfioWorld vfio = VfioWorld.ofFake("6.18");

    private final FakePciDevice hardware =
            vfio.fake().pciDevice(ADDRESS, GROUP).msi(4).msix(8).add();
    private final OpenedDevice device = vfio.device(hardware, GROUP, ADDRESS);
    private final int[] events = vfio.events(4);

    @Test
    void dataThatIsNotThereIsAFault() {
        assertErrno(Errno.EFAULT, device.raw(VfioIrqSet.SIZE + 4, EVENTFD, MSIX, 0, 1));
    }

    @ParameterizedTest
    @ValueSource(ints = {MSI, MSIX})
    void messageTellsWhetherItSignalledAnEventfd(int index) {
        assertOk(device.arm(index, 0, Arrays.copyOf(events, 3)));
        assertThat(hardware.sendMessage(1)).as("bus mastering off").isFalse();
        device.writeCommand(MASTER);
        assertThat(vfio.take(events[1])).isZero();
        assertThat(hardware.sendMessage(1)).isTrue();
        assertThat(vfio.take(events[1])).isEqualTo(1);
        assertThat(hardware.sendMessage(3)).as("without an eventfd").isFalse();
        vfio.world.close(events[0]);
        assertThat(hardware.sendMessage(0)).as("VFIO has the counter still").isTrue();
        assertOk(device.disable(index));
        assertThat(hardware.sendMessage(1)).isFalse();
        assertThat(vfio.take(events[1])).isZero();
        assertThatIllegalArgumentException().isThrownBy(() -> hardware.sendMessage(8));
    }

    @Test
    void messageOfADetachedVectorWaits() {
        assertOk(device.arm(MSIX, 0, events));
        device.writeCommand(MASTER);
        assertOk(device.arm(MSIX, 0, -1));
        assertThat(hardware.sendMessage(0)).isFalse();
        assertOk(device.arm(MSIX, 0, events[0]));
        assertThat(vfio.take(events[0])).isEqualTo(1);
    }

    @Test
    void msiDoesNotGrow() {
        assertOk(device.arm(MSI, 0, events[0]));
        assertOk(device.arm(MSI, 1, -1));
        assertErrno(Errno.EINVAL, device.arm(MSI, 0, events[0], events[1]));
        assertOk(device.loopback(MSI, 0, 4));
        assertThat(vfio.take(events[0])).as("detached by the failure").isZero();
    }

    @Test
    void failureAndDisablingReturnTheVectors() {
        vfio.fake().limitVectors(3);
        assertThat(device.arm(MSIX, 0, events)).isEqualTo(3);
        assertThat(device.arm(MSI, 0, events)).as("MSI falls back to one").isEqualTo(1);
        assertErrno(Errno.EBADF, device.arm(MSIX, 0, events[0], events[1], NOT_OPEN));
        assertOk(device.arm(MSIX, 0, Arrays.copyOf(events, 3)));
        assertErrno(Errno.ENOSPC, device.arm(MSIX, 3, events[3]));
        assertOk(device.disable(MSIX));
        assertOk(device.arm(MSI, 0, Arrays.copyOf(events, 2)));
        vfio.fake().limitVectors(0);
        assertOk(device.disable(MSI));
        vfio.fake().limitVectors(0);
        assertErrno(Errno.ENOSPC, device.arm(MSIX, 0, NOT_OPEN));
    }

    @Test
    void lastCloseReturnsTheVectors() {
        vfio.fake().limitVectors(4);
        assertOk(device.arm(MSIX, 0, events));
        device.close();
        assertOk(vfio.device(hardware, GROUP, ADDRESS).arm(MSIX, 0, events));
    }
}
