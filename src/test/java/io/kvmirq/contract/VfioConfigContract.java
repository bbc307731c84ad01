/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.TestDevice.SERIAL;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The configuration space that {@code VfioDevice.config} reads: vfio_pci_config.c of Linux. */
@VfioContract
class VfioConfigContract extends VfioSuite {
    private static final long CONFIG = (long) UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX << 40;
    private static final int BAR_0 = 0x10;

    private static final int POWER = 1;
    private static final int MESSAGES = 5;
    private static final int VENDOR = 9;
    private static final int EXPRESS = 0x10;
    private static final int MSI_X = 0x11;

    private static final int FLAGS = 2;
    private static final int POWER_CONTROL = 4;
    private static final int D3HOT = 3;

    // The header

    @Test
    void identityIsTheDevices() {
        assertThat(identity(E1000E)).isEqualTo("02000000 00008086");
        assertThat(identity(EDU)).isEqualTo("00ff0010 11001af4");
        assertThat(identity(NVME)).isEqualTo("01080202 11001af4");
        assertThat(identity(SERIAL)).isEqualTo("07800001 11001af4");
    }

    private String identity(TestDevice wanted) {
        OpenedDevice device = vfio.device(wanted);
        return String.format("%08x %08x", device.readConfig(8, 4), device.readConfig(0x2c, 4));
    }

    // Widths

    @Test
    void wholeSpaceIsReadAtOnceAndNothingBeyondIt() {
        OpenedDevice device = vfio.device(EDU);
        ByteBuffer all = Buffers.allocate(256);
        assertThat(vfio.libc().pread(device.fd, all, CONFIG)).isEqualTo(256);
        for (int at = 0; at < 256; at++) {
            assertThat(all.get(at) & 0xff).as("%x", at).isEqualTo((int) device.readConfig(at, 1));
        }
        assertErrno(Errno.EFAULT, vfio.libc().pread(device.fd, Buffers.allocate(4), CONFIG + 254));
        assertErrno(Errno.EFAULT, vfio.libc().pread(device.fd, Buffers.allocate(1), CONFIG + 256));
        assertErrno(Errno.EFAULT, device.writeRegion(CONFIG + 254, 4, 0));
        assertErrno(Errno.EFAULT, vfio.libc().pread(device.fd, 16, 4, CONFIG));
        assertErrno(Errno.EFAULT, vfio.libc().pwrite(device.fd, 16, 4, CONFIG + BAR_0));
    }

    // Capabilities

    @Test
    void listHasTheCapabilitiesThatVfioKnowsWithReadOnlyHeaders() {
        assertCapabilities(E1000E, POWER, MESSAGES, EXPRESS, MSI_X);
        assertCapabilities(EDU, MESSAGES);
        assertCapabilities(NVME, POWER, EXPRESS, MSI_X);
        assertCapabilities(SERIAL, VENDOR, MSI_X);
    }

    private void assertCapabilities(TestDevice wanted, Integer... ids) {
        OpenedDevice device = vfio.device(wanted);
        assertThat(device.capabilities()).as("%s", wanted).containsOnlyKeys(ids);
        for (int at : device.capabilities().values()) {
            int before = device.readConfig(at);
            device.writeConfig(at, 2, ~before);
            device.writeConfig(at + 1, 1, ~before >>> 8);
            assertThat(device.readConfig(at)).as("%s %x", wanted, at).isEqualTo(before);
        }
    }

    // MSI-X

    @Test
    void controlOfMsixShowsTheHostsAndTakesNothing() {
        OpenedDevice device = vfio.device(NVME);
        int at = device.capabilities().get(MSI_X);
        assertThat(device.readConfig(at + FLAGS)).isEqualTo(64);
        device.writeConfig(at + FLAGS, 2, 0xc000);
        assertThat(device.readConfig(at + FLAGS)).isEqualTo(64);
        assertOk(device.arm(MSIX, 0, vfio.events(1)));
        assertThat(device.readConfig(at + FLAGS)).isEqualTo(0x8000 | 64);
        device.writeConfig(at + FLAGS, 2, 0);
        assertThat(device.readConfig(at + FLAGS)).isEqualTo(0x8000 | 64);
        assertOk(device.disable(MSIX));
        assertThat(device.readConfig(at + FLAGS)).isEqualTo(64);
    }

    // Power, and resets

    @Test
    void sleepingDeviceKeepsItsConfigurationSpaceAndLosesItsMemory() {
        OpenedDevice device = vfio.device(NVME);
        int at = device.capabilities().get(POWER);
        assertThat(device.readConfig(at + FLAGS) & 0xf800).as("PME support").isZero();
        long first = device.readRegion(0, 4);
        for (int unsupported = 1; unsupported < D3HOT; unsupported++) {
            device.writeConfig(at + POWER_CONTROL, 2, unsupported);
            assertThat(device.readConfig(at + POWER_CONTROL) & 3).isZero();
        }
        device.writeConfig(at + POWER_CONTROL, 2, 0x8100 | D3HOT);
        assertThat(device.readConfig(at + POWER_CONTROL) & 0x8103).isEqualTo(D3HOT);
        assertErrno(Errno.EIO, device.writeRegion(0x14, 4, 0));
        assertThat(device.readConfig(0)).isEqualTo(0x1b36);
        device.writeConfig(at + POWER_CONTROL, 2, 1);
        assertThat(device.readConfig(at + POWER_CONTROL) & 3)
                .as("no way up but D0")
                .isEqualTo(D3HOT);
        device.writeConfig(at + POWER_CONTROL, 2, 0);
        assertThat(device.readConfig(at + POWER_CONTROL) & 3).isZero();
        assertThat(device.readRegion(0, 4)).isEqualTo(first);
    }
}
