/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.kvmirq.Errno;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** INTx of a VFIO device, of devices and in orders that the lab does not have. */
class VfioIntxTest {
    private static final String ADDRESS = "0000:00:1e.0";
    private static final int GROUP = 8;

    @AutoClose
    private final VfioWorld vfio = VfioWorld.ofFake("6.18");

    private final int event = vfio.world.eventfd();

    private FakePciDevice.Builder builder() {
        return vfio.fake().pciDevice(ADDRESS, GROUP);
    }

    private OpenedDevice armed(FakePciDevice hardware) {
        OpenedDevice device = vfio.device(hardware, GROUP, ADDRESS);
        assertOk(device.arm(INTX, 0, event));
        return device;
    }

    @Test
    void lineWithoutDisIntxIsMaskedAtTheController() {
        FakePciDevice hardware = builder().intxWithoutDisIntx().add();
        OpenedDevice device = armed(hardware);
        hardware.requestService();
        assertThat(vfio.take(event)).isEqualTo(1);
        hardware.requestService();
        assertThat(vfio.take(event)).as("masked").isZero();
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).as("still requested").isEqualTo(1);
        hardware.serve();
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).as("served").isZero();
        assertOk(device.intx(MASK));
        hardware.requestService();
        assertThat(vfio.take(event)).as("masked by the user").isZero();
        assertOk(device.bytes(UNMASK, INTX, 0, 0));
        assertThat(vfio.take(event)).isZero();
        assertOk(device.bytes(UNMASK, INTX, 0, 1));
        assertThat(vfio.take(event)).isEqualTo(1);
    }

    @Test
    void deviceWithDisIntxSharesItsLine() {
        FakePciDevice hardware = builder().intx().onSharedLine().add();
        armed(hardware);
        hardware.requestService();
        assertThat(vfio.take(event)).isEqualTo(1);
    }

    @Test
    void requestWithoutATriggerSignalsNothing() {
        FakePciDevice hardware = builder().intx().add();
        OpenedDevice device = armed(hardware);
        hardware.requestService();
        assertThat(vfio.take(event)).isEqualTo(1);
        assertOk(device.arm(INTX, 0, -1));
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).isZero();
    }

    /** {@code vfio_intx_enable()} clears DisINTx before it requests the line. */
    @Test
    void refusedEnableLetsTheDeviceAssertItsLine() {
        FakePciDevice first =
                vfio.fake().pciDevice("0000:00:1d.0", 9).intxWithoutDisIntx().add();
        FakePciDevice second = builder().onLineOf(first).add();
        OpenedDevice masked = vfio.device(second, GROUP, ADDRESS);
        assertOk(masked.arm(INTX, 0, event));
        second.requestService();
        assertThat(vfio.take(event)).isEqualTo(1);
        assertOk(masked.disable(INTX)); // and DisINTx stays set
        int other = vfio.world.eventfd();
        assertOk(vfio.device(first, 9, "0000:00:1d.0").arm(INTX, 0, other));
        assertThat(vfio.take(other)).isZero();
        assertErrno(Errno.EBUSY, masked.arm(INTX, 0, event));
        assertThat(vfio.take(other)).as("the handler that has the line").isEqualTo(1);
    }

    /** Linux signals, unmasks and signals again in a work item that never ends while the device requests service. */
    @Test
    void triggerThatUnmasksItsOwnLineLeavesTheKernelUsable() {
        String other = "0000:00:1d.0";
        FakePciDevice withoutDisIntx =
                vfio.fake().pciDevice(other, 9).intxWithoutDisIntx().add();
        FakePciDevice withDisIntx = builder().intx().add();
        unmasksItself(withDisIntx, vfio.device(withDisIntx, GROUP, ADDRESS));
        unmasksItself(withoutDisIntx, vfio.device(withoutDisIntx, 9, other));
    }

    private void unmasksItself(FakePciDevice hardware, OpenedDevice device) {
        assertOk(device.arm(INTX, 0, event));
        assertOk(device.unmaskBy(event));
        hardware.requestService();
        assertOk(device.intx(TRIGGER));
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).as("the unmask reads it").isZero();
        hardware.serve();
        assertOk(device.unmaskBy(-1));
        hardware.requestService();
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).as("served, and requested again").isPositive();
        assertOk(device.disable(INTX));
    }

    /** Checked for the first user of the device and for the next one. */
    @Test
    void disIntxThatWasSetBeforeHoldsEverySignal() {
        FakePciDevice hardware = builder().intx().resettable().add();
        for (int user = 1; user <= 2; user++) {
            OpenedDevice device = vfio.device(hardware, GROUP, ADDRESS);
            device.writeCommand(DIS_INTX);
            assertOk(device.arm(INTX, 0, event));
            hardware.requestService();
            assertOk(device.intx(TRIGGER));
            assertOk(device.intx(UNMASK));
            assertThat(vfio.take(event)).as("user %d", user).isZero();
            assertThat(device.readConfig(COMMAND)).isEqualTo(DIS_INTX);
            device.writeCommand(0);
            assertThat(vfio.take(event)).as("user %d", user).isEqualTo(1);
            assertThat(device.readConfig(COMMAND))
                    .as("masked by VFIO, which the guest does not see")
                    .isZero();
            device.close();
        }
    }

    /** The devices of the lab all have a pin. */
    @Test
    void deviceWithoutAPinHasNoIntx() {
        FakePciDevice hardware = builder().add();
        OpenedDevice device = vfio.device(hardware, GROUP, ADDRESS);
        assertErrno(Errno.EINVAL, device.disable(INTX));
        assertErrno(Errno.EINVAL, device.intx(MASK));
        assertThatIllegalStateException().isThrownBy(hardware::requestService);
    }

    @Test
    void resetEndsTheRequestOfTheDevice() {
        FakePciDevice hardware = builder().intx().resettable().add();
        OpenedDevice device = armed(hardware);
        hardware.requestService();
        assertThat(vfio.take(event)).isEqualTo(1);
        assertOk(vfio.kernel().vfioDeviceReset(device.fd));
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).as("the device forgot its request").isZero();
    }

    private FakeMessages messages() {
        return vfio.fake().messages();
    }

    @Test
    void messageOfTheUnmaskEventIsNotThatOfTheTrigger() {
        FakePciDevice hardware = builder().intxWithoutDisIntx().add();
        OpenedDevice device = armed(hardware);
        int unmask = vfio.world.eventfd();
        assertOk(device.unmaskBy(unmask));
        hardware.requestService();
        assertThat(vfio.take(event)).isEqualTo(1);
        vfio.signal(unmask);
        assertThat(vfio.take(event)).as("still requested").isEqualTo(1);
        assertThat(messages().counts().sent()).isEqualTo(1);
        assertThat(messages().waiting()).isEmpty();
    }

    @Test
    void countBeforeTheUnmaskEventIsNotLost() {
        OpenedDevice device = armed(builder().intxWithoutDisIntx().add());
        int unmask = vfio.world.eventfd();
        vfio.signal(unmask);
        assertOk(device.unmaskBy(unmask));
        vfio.signal(unmask);
        vfio.world.eventfd();
        assertThat(vfio.fake().lost()).isEmpty();
        assertOk(device.unmaskBy(-1));
        assertThat(vfio.fake().lost()).isEmpty();
        assertThat(messages().counts().taken()).isEqualTo(2);
    }
}
