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
import java.util.List;
import org.junit.jupiter.api.Test;

/** The configuration space that {@code OpenedDevice.config} and {@code GuestConfig} access: vfio_pci_config.c of Linux. */
@VfioContract
class VfioConfigContract extends VfioSuite {
    private static final long CONFIG = (long) UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX << 40;
    private static final int CACHE_LINE = 0xc;
    private static final int BAR_0 = 0x10;
    private static final int ROM = 0x30;
    private static final int LINE = 0x3c;
    private static final int PIN = 0x3d;
    private static final int ALL = -1;

    private static final int POWER = 1;
    private static final int MESSAGES = 5;
    private static final int VENDOR = 9;
    private static final int EXPRESS = 0x10;
    private static final int MSI_X = 0x11;

    private static final int FLAGS = 2;
    private static final int POWER_CONTROL = 4;
    private static final int D3HOT = 3;
    private static final int DEVICE_CONTROL = 8;
    private static final int FUNCTION_RESET = 1 << 15;

    /** What a register of 32 bits holds after ones and after zeros. Then it holds again what it held. */
    static String bits(OpenedDevice device, int at) {
        long before = device.readConfig(at, 4);
        device.writeConfig(at, 4, ALL);
        long ones = device.readConfig(at, 4);
        device.writeConfig(at, 4, 0);
        long zeros = device.readConfig(at, 4);
        device.writeConfig(at, 4, before);
        assertThat(device.readConfig(at, 4)).as("%x", at).isEqualTo(before);
        return String.format("%08x %08x", ones, zeros);
    }

    private static long bytes(OpenedDevice device, int at, int count) {
        long value = 0;
        for (int i = 0; i < count; i++) {
            value |= device.readConfig(at + i, 1) << Byte.SIZE * i;
        }
        return value;
    }

    // The header

    @Test
    void identityIsTheDevices() {
        assertThat(identity(E1000E)).isEqualTo("02000000 00008086");
        assertThat(identity(EDU)).isEqualTo("00ff0010 11001af4");
        assertThat(identity(NVME)).isEqualTo("01080202 11001af4");
        assertThat(identity(SERIAL)).isEqualTo("07800001 11001af4");
    }

    private String identity(TestDevice one) {
        OpenedDevice device = vfio.device(one);
        return String.format("%08x %08x", device.readConfig(8, 4), device.readConfig(0x2c, 4));
    }

    @Test
    void headerTakesWhatAUserMayWrite() {
        for (TestDevice one : List.of(EDU, NVME)) {
            OpenedDevice device = vfio.device(one);
            assertThat(device.readConfig(COMMAND) & 6)
                    .as("the open device answers, and is no bus master")
                    .isEqualTo(2);
            assertThat(bits(device, COMMAND)).as("STATUS takes nothing").isEqualTo("00100507 00100000");
            for (int at : new int[] {0, 8, 0x28, 0x2c, 0x34, 0x38}) {
                long before = device.readConfig(at, 4);
                device.writeConfig(at, 4, ~before);
                assertThat(device.readConfig(at, 4)).as("%s %x", one, at).isEqualTo(before);
            }
            assertThat(bits(device, LINE))
                    .as("the line is the user's, not the pin")
                    .isEqualTo("000001ff 00000100");
            device.writeConfig(LINE, 1, 0x5a);
            assertThat(device.readConfig(LINE)).isEqualTo(0x15a);
            device.writeConfig(PIN, 1, 0);
            assertThat(device.readConfig(PIN, 1)).isEqualTo(1);
        }
    }

    // BARs

    /** By the ones that stay in each BAR; bits 1 to 3 are the kind of memory. */
    private String sizes(TestDevice one) {
        OpenedDevice device = vfio.device(one);
        StringBuilder sizes = new StringBuilder();
        for (int bar = 0; bar < 6; bar++) {
            sizes.append(bits(device, BAR_0 + 4 * bar)).append(' ');
        }
        return sizes + bits(device, ROM);
    }

    @Test
    void barTellsItsSizeByTheBitsThatItKeeps() {
        String none = "00000000 00000000 ";
        String upper = "ffffffff 00000000 ";
        assertThat(sizes(E1000E))
                .isEqualTo("fffe0000 00000000 fffe0000 00000000 ffffffe1 00000001 ffffc000 00000000 " + none + none
                        + none.strip());
        assertThat(sizes(EDU)).isEqualTo("fff00000 00000000 " + none.repeat(5) + none.strip());
        assertThat(sizes(NVME).replace("c00c", "c004").replace("000c", "0004"))
                .as("whether or not it is prefetchable")
                .isEqualTo("ffffc004 00000004 " + upper + none.repeat(4) + none.strip());
        assertThat(sizes(SERIAL))
                .isEqualTo(none + "ffff8000 00000000 " + none.repeat(2) + "ffffc00c 0000000c " + upper + none.strip());
    }

    @Test
    void barIsWrittenInParts() {
        OpenedDevice device = vfio.device(EDU);
        device.writeConfig(BAR_0, 4, 0);
        device.writeConfig(BAR_0 + 3, 1, 0xab);
        assertThat(device.readConfig(BAR_0, 4)).isEqualTo(0xab00_0000L);
        device.writeConfig(BAR_0 + 2, 2, 0x12ff);
        assertThat(device.readConfig(BAR_0, 4)).isEqualTo(0x12f0_0000L);
        device.writeConfig(BAR_0, 1, 0xff);
        assertThat(device.readConfig(BAR_0, 1)).isZero();
        assertThat(device.readRegion(0, 4)).as("the device stays where it is").isNotZero();
    }

    @Test
    void headerIsTheHostsAgainForTheNextUser() {
        OpenedDevice device = vfio.device(EDU);
        long before = device.readConfig(BAR_0, 4);
        assertThat(before).isNotZero();
        device.writeConfig(BAR_0, 4, 0);
        device.writeConfig(LINE, 1, 0x77);
        device.writeConfig(CACHE_LINE, 1, 0x10);
        device.close();
        OpenedDevice next = vfio.device(EDU);
        assertThat(next.readConfig(BAR_0, 4)).isEqualTo(before);
        assertThat(next.readConfig(LINE, 1)).isNotEqualTo(0x77);
        assertThat(next.readConfig(CACHE_LINE, 1)).isZero();
    }

    // Widths

    @Test
    void accessOfAnyWidthAndAlignmentIsSplit() {
        OpenedDevice device = vfio.device(NVME);
        for (int at = 0; at < 0x14; at++) {
            assertThat(device.readConfig(at, 2)).as("%x", at).isEqualTo(bytes(device, at, 2));
            assertThat(device.readConfig(at, 4)).as("%x", at).isEqualTo(bytes(device, at, 4));
            assertThat(device.readConfig(at, 8)).as("%x", at).isEqualTo(bytes(device, at, 8));
        }
        device.writeConfig(BAR_0, 8, 0x1234_5678_9abc_def0L);
        assertThat(device.readConfig(BAR_0, 8) & ~8).isEqualTo(0x1234_5678_9abc_c004L);
        device.writeConfig(BAR_0 + 3, 4, 0x44332211);
        assertThat(device.readConfig(BAR_0 + 3, 4)).isEqualTo(0x44332211);
    }

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

    private void assertCapabilities(TestDevice one, Integer... ids) {
        OpenedDevice device = vfio.device(one);
        assertThat(device.capabilities()).as("%s", one).containsOnlyKeys(ids);
        for (int at : device.capabilities().values()) {
            int before = device.readConfig(at);
            device.writeConfig(at, 2, ~before);
            device.writeConfig(at + 1, 1, ~before >>> 8);
            assertThat(device.readConfig(at)).as("%s %x", one, at).isEqualTo(before);
        }
    }

    // MSI

    @Test
    void messageIsTheUsersAndReachesNoHardware() {
        OpenedDevice device = vfio.device(EDU);
        int at = device.capabilities().get(MESSAGES);
        int event = vfio.world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        device.start();
        assertThat(bits(device, at + 4)).as("address").isEqualTo("ffffffff 00000000");
        assertThat(bits(device, at + 8)).as("upper half").isEqualTo("ffffffff 00000000");
        device.writeConfig(at + 12, 2, 0x1234);
        assertThat(device.readConfig(at + 12)).as("data").isEqualTo(0x1234);
        device.hardware.send(0);
        assertThat(vfio.await(event)).isEqualTo(1);
    }

    @Test
    void messagesAreEnabledByTheirEventfds() {
        OpenedDevice device = vfio.device(EDU);
        int flags = device.capabilities().get(MESSAGES) + FLAGS;
        assertThat(device.readConfig(flags)).isEqualTo(0x80);
        device.writeConfig(flags, 2, 0xffff);
        assertThat(device.readConfig(flags)).as("no vector is armed").isEqualTo(0x8e);
        int event = vfio.world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        device.start();
        assertThat(device.readConfig(flags)).isEqualTo(0x8e);
        device.writeConfig(flags, 2, 0xffff);
        assertThat(device.readConfig(flags)).as("of one vector").isEqualTo(0x8f);
        device.writeConfig(flags, 2, 0x80);
        assertThat(device.readConfig(flags)).isEqualTo(0x80);
        device.hardware.send(0);
        device.writeConfig(flags, 1, 0x81);
        assertThat(vfio.take(event)).as("sent while disabled").isZero();
        device.hardware.send(0);
        assertThat(vfio.await(event)).isEqualTo(1);
        assertOk(device.disable(MSI));
        assertThat(device.readConfig(flags)).as("the bit is the user's").isEqualTo(0x81);
        device.writeConfig(flags, 2, 0x81);
        assertThat(device.readConfig(flags)).isEqualTo(0x80);
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

    @Test
    void placeOfTheTableIsReadOnly() {
        OpenedDevice device = vfio.device(NVME);
        int at = device.capabilities().get(MSI_X);
        assertThat(bits(device, at + 4)).isEqualTo("00002000 00002000");
        assertThat(bits(device, at + 8)).isEqualTo("00003000 00003000");
        at = e1000e().capabilities().get(MSI_X);
        assertThat(bits(e1000e(), at + 4)).isEqualTo("00000003 00000003");
        assertThat(bits(e1000e(), at + 8)).isEqualTo("00002003 00002003");
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

    @Test
    void functionResetOfTheGuestWakesTheDeviceAndKeepsWhatTheKernelRestores() {
        OpenedDevice device = vfio.device(NVME);
        int express = device.capabilities().get(EXPRESS);
        int power = device.capabilities().get(POWER) + POWER_CONTROL;
        int[] events = vfio.events(2);
        assertOk(device.arm(MSIX, 0, events));
        device.writeCommand(7);
        device.writeConfig(LINE, 1, 0x44);
        device.writeConfig(BAR_0, 4, 0xc000_0000L);
        device.writeConfig(power, 2, D3HOT);
        assertThat(device.readConfig(power) & 3).isEqualTo(D3HOT);
        device.writeConfig(express + DEVICE_CONTROL, 2, FUNCTION_RESET | 0x5020);
        assertThat(device.readConfig(express + DEVICE_CONTROL) & ~0x81f)
                .as("virtual sizes")
                .isEqualTo(0x5020);
        assertThat(device.readConfig(power) & 3).isZero();
        assertThat(device.readConfig(COMMAND)).isEqualTo(7);
        assertThat(device.readConfig(LINE, 1)).isEqualTo(0x44);
        assertThat(device.readConfig(BAR_0, 4) & ~0xfL).isEqualTo(0xc000_0000L);
        assertThat(device.armed(MSIX, events)).containsExactly(0, 1);
        assertThat(device.readRegion(0, 4)).isNotZero();
    }

    @Test
    void resetByTheFileWakesTheDevice() {
        for (TestDevice one : List.of(E1000E, NVME)) {
            OpenedDevice device = vfio.device(one);
            int power = device.capabilities().get(POWER) + POWER_CONTROL;
            device.writeConfig(power, 2, D3HOT);
            assertThat(device.readConfig(power) & 3).isEqualTo(D3HOT);
            assertThat(kernel.vfioDeviceReset(device.fd)).isZero();
            assertThat(device.readConfig(power) & 3).as("%s", one).isZero();
        }
    }
}
