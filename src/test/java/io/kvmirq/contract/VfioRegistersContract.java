/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.TestDevice.SERIAL;
import static io.kvmirq.contract.VfioConfigContract.bits;
import static io.kvmirq.contract.VfioDevice.COMMAND;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** What the devices themselves hold in their configuration spaces, and what VFIO lets be written of it. */
@VfioContract
class VfioRegistersContract extends VfioSuite {
    private static final int POWER = 1;
    private static final int EXPRESS = 0x10;
    private static final int FLAGS = 2;
    private static final int POWER_CONTROL = 4;
    private static final int D3HOT = 3;
    private static final int DEVICE_CONTROL = 8;
    private static final int FUNCTION_RESET = 1 << 15;

    @Test
    void identityIsTheDevices() {
        assertThat(identity(E1000E)).isEqualTo("02000000 00008086");
        assertThat(identity(EDU)).isEqualTo("00ff0010 11001af4");
        assertThat(identity(NVME)).isEqualTo("01080202 11001af4");
        assertThat(identity(SERIAL)).isEqualTo("07800001 11001af4");
    }

    private String identity(TestDevice one) {
        VfioDevice device = vfio.device(one);
        return String.format("%08x %08x", device.readConfig(8, 4), device.readConfig(0x2c, 4));
    }

    /** QEMU's firmware of x86 enables I/O ports of every device, and SERR#. */
    @Test
    void commandIsWhatTheFirmwareLeft() {
        assumeTrue(!world.isArm64(), "the lab's arm64 has no firmware");
        for (TestDevice one : TestDevice.values()) {
            assertThat(vfio.device(one).readConfig(COMMAND)).as("%s", one).isEqualTo(0x103);
        }
    }

    /** Bits 1 to 15 of DEVCTL, as a reset is none of this test. */
    @Test
    void expressCapabilityTellsOfItsLink() {
        for (TestDevice one : List.of(E1000E, NVME)) {
            VfioDevice device = vfio.device(one);
            int at = device.capabilities().get(EXPRESS);
            assertThat(device.readConfig(at + FLAGS)).as("%s", one).isEqualTo(one == E1000E ? 0x91 : 0x92);
            assertThat(device.readConfig(at + 4, 4)).isEqualTo(one == E1000E ? 0x8000 : 0x1000_8000);
            device.writeConfig(at + DEVICE_CONTROL, 2, 0x7fff);
            assertThat(device.readConfig(at + DEVICE_CONTROL)).isEqualTo(0x70e0);
            assertThat(bits(device, at + 0xc)).isEqualTo("00000411 00000411");
            assertThat(bits(device, at + 0x10)).isEqualTo("00110000 00110000");
            device.close();
        }
        VfioDevice nvme = vfio.device(NVME);
        int at = nvme.capabilities().get(EXPRESS);
        assertThat(bits(nvme, at + 0x24)).isEqualTo("00300000 00300000");
        assertThat(bits(nvme, at + 0x28)).isEqualTo("00008000 00000000");
    }

    /** The kernel wakes a device by a 0 in the whole register, and resets this one by its power. */
    @Test
    void selectionOfPowerDataStaysUntilTheDeviceIsWoken() {
        VfioDevice device = e1000e();
        int at = device.capabilities().get(POWER);
        assertThat(device.readConfig(at + FLAGS)).isEqualTo(0x22);
        device.writeConfig(at + POWER_CONTROL, 2, 0x1e00);
        assertThat(device.readConfig(at + POWER_CONTROL)).isEqualTo(0x1e00);
        assertThat(kernel.vfioReset(device.fd)).isZero();
        assertThat(device.readConfig(at + POWER_CONTROL)).isEqualTo(0x1e00);
        device.writeConfig(at + POWER_CONTROL, 2, 0x1e00 | D3HOT);
        assertThat(device.readConfig(at + POWER_CONTROL)).isEqualTo(0x1e00 | D3HOT);
        device.writeConfig(at + POWER_CONTROL, 2, 0x1e00);
        assertThat(device.readConfig(at + POWER_CONTROL)).isZero();
    }

    @Test
    void functionResetOfADeviceWithoutItDoesNothing() {
        VfioDevice device = e1000e();
        int power = device.capabilities().get(POWER) + POWER_CONTROL;
        int control = device.capabilities().get(EXPRESS) + DEVICE_CONTROL;
        device.writeConfig(power, 2, D3HOT);
        device.writeConfig(control, 2, FUNCTION_RESET);
        assertThat(device.readConfig(control)).isZero();
        assertThat(device.readConfig(power)).isEqualTo(D3HOT);
    }

    @Test
    void bytesOfNoCapabilityOutliveResetAndClose() {
        for (TestDevice one : List.of(E1000E, NVME)) {
            VfioDevice device = vfio.device(one);
            device.writeConfig(0xf4, 4, 0x1234_5678);
            assertThat(kernel.vfioReset(device.fd)).isZero();
            assertThat(device.readConfig(0xf4, 4)).isEqualTo(0x1234_5678);
            device.close();
            VfioDevice next = vfio.device(one);
            assertThat(next.readConfig(0xf4, 4)).isEqualTo(0x1234_5678);
            next.writeConfig(0xf4, 4, 0);
        }
    }
}
