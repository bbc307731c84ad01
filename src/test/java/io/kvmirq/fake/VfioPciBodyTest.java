/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Configuration space and BARs of devices that the lab does not have. */
class VfioPciBodyTest {
    private static final String NAME = "0000:3b:00.0";
    private static final int GROUP = 5;

    @AutoClose
    private final VfioWorld vfio = VfioWorld.ofFake("6.12");

    private final FakePciDevice.Builder builder = vfio.fake().pciDevice(NAME, GROUP);

    private OpenedDevice open(FakePciDevice hardware) {
        return vfio.device(hardware, GROUP, NAME);
    }

    private int capability(OpenedDevice device, int id) {
        int at = (int) device.readConfig(0x34, 1);
        while (at != 0 && device.readConfig(at, 1) != id) {
            at = (int) device.readConfig(at + 1, 1);
        }
        return at;
    }

    private long region(OpenedDevice device, int index, int field) {
        ByteBuffer info = Buffers.allocate(64);
        assertOk(device.region(64, index, info));
        return field == VfioRegionInfo.FLAGS ? info.getInt(field) : info.getLong(field);
    }

    private int register(OpenedDevice device, int at) {
        ByteBuffer value = Buffers.allocate(Integer.BYTES);
        assertThat(vfio.libc().pread(device.fd, value, at)).isEqualTo(Integer.BYTES);
        return value.getInt(0);
    }

    private void setRegister(OpenedDevice device, int at, int value) {
        assertThat(vfio.libc().pwrite(device.fd, Buffers.allocate(Integer.BYTES).putInt(0, value), at))
                .isEqualTo(Integer.BYTES);
    }

    // Configuration space

    @Test
    void unknownCapabilityIsHiddenAndAVendorsIsWritten() {
        byte[] subsystem = {0xd, 0, 0, 0, 0x34, 0x12, 0x78, 0x56};
        OpenedDevice device = open(builder.msi(1)
                .capability((byte) 9, (byte) 0, (byte) 5, (byte) 0x11, (byte) 0x22)
                .capability(subsystem)
                .msix(1)
                .add());
        assertThat(capability(device, 0xd)).isZero();
        assertThat(capability(device, 5)).isNotZero();
        assertThat(capability(device, 0x11)).as("behind the others").isNotZero();
        int vendors = capability(device, 9);
        assertThat(device.readConfig(vendors) >>> 8).as("the next one").isEqualTo(capability(device, 0x11));
        device.writeConfig(vendors, 4, 0x77777777);
        assertThat(device.readConfig(vendors, 1)).isEqualTo(9);
        assertThat(device.readConfig(vendors + 2, 4))
                .as("its length is not written")
                .isEqualTo(0x2277_05L);
        device.writeConfig(vendors + 4, 1, 0x5a);
        assertThat(device.readConfig(vendors + 4, 1)).isEqualTo(0x5a);
    }

    @Test
    void listOfHiddenCapabilitiesAloneIsNone() {
        OpenedDevice device = open(
                builder.capability((byte) 0xd, (byte) 0, (byte) 0, (byte) 0).add());
        assertThat(device.readConfig(0x34, 1)).isZero();
        assertThat(device.readConfig(STATUS) & 0x10).isZero();
    }

    @Test
    void resetOfAConventionalDeviceKeepsWhatTheKernelRestores() {
        FakePciDevice hardware = builder.resettable().bar(0, 0x1000).add();
        hardware.setRegister(0, 8, 0x1234);
        OpenedDevice device = open(hardware);
        assertThat(register(device, 8)).isEqualTo(0x1234);
        setRegister(device, 8, 1);
        setRegister(device, 12, 2);
        device.writeConfig(0xf0, 1, 0x55);
        device.writeCommand(7);
        assertThat(vfio.kernel().vfioDeviceReset(device.fd)).isZero();
        assertThat(register(device, 8)).as("as the device set it").isEqualTo(0x1234);
        assertThat(register(device, 12)).isZero();
        assertThat(device.readConfig(0xf0, 1)).as("of no capability").isEqualTo(0x55);
        assertThat(device.readConfig(COMMAND)).as("the kernel restores it").isEqualTo(7);
    }

    @Test
    void maskedMessageIsPendingUntilItsBitIsCleared() {
        FakePciDevice hardware = builder.maskableMsi(4).add();
        OpenedDevice device = open(hardware);
        int at = capability(device, 5);
        assertThat(device.readConfig(at + 2)).isEqualTo(0x184);
        int[] events = vfio.events(4);
        assertOk(device.arm(MSI, 0, events));
        device.writeCommand(4);
        assertThat(device.readConfig(at + 0x10, 4)).isZero();
        device.writeConfig(at + 0x10, 4, 0xff);
        assertThat(device.readConfig(at + 0x10, 4)).isEqualTo(0xf);
        assertThat(hardware.sendMessage(2)).isFalse();
        assertThat(device.readConfig(at + 0x14, 4)).isEqualTo(4);
        device.writeConfig(at + 0x14, 4, 0);
        assertThat(device.readConfig(at + 0x14, 4)).as("read-only").isEqualTo(4);
        assertThat(vfio.take(events[2])).isZero();
        device.writeConfig(at + 0x10, 4, 0xb);
        assertThat(vfio.take(events[2])).isEqualTo(1);
        assertThat(device.readConfig(at + 0x14, 4)).isZero();
        assertThat(hardware.sendMessage(1)).isFalse();
        assertOk(device.disable(MSI));
        assertThat(device.readConfig(at + 0x10, 4)).as("unmasked again").isZero();
    }

    @Test
    void sleepingDeviceSendsNothing() {
        FakePciDevice hardware = builder.powerManagement().msix(1).add();
        OpenedDevice device = open(hardware);
        int event = vfio.world.eventfd();
        assertOk(device.arm(MSIX, 0, event));
        device.writeCommand(4);
        int power = capability(device, 1) + 4;
        device.writeConfig(power, 2, 3);
        assertThat(hardware.sendMessage(0)).isFalse();
        device.writeConfig(power, 2, 0);
        assertThat(hardware.sendMessage(0)).isTrue();
    }

    /** VFIO hides PME_Status, and no write reaches it. */
    @Test
    void powerManagementEventOfTheDeviceIsNotTheUsers() {
        OpenedDevice device =
                open(builder.powerManagement().register(1, 4, 0, 0x8000).add());
        int power = capability(device, 1) + 4;
        device.writeConfig(power, 2, 0x8000);
        assertThat(device.readConfig(power)).isZero();
        assertThat(config()[power + 1]).isZero();
    }

    @Test
    void hostShowsWhatTheHardwareHas() {
        FakePciDevice hardware = builder.powerManagement().msix(1).add();
        OpenedDevice device = open(hardware);
        int msix = capability(device, 0x11) + 3;
        int power = capability(device, 1) + 4;
        assertThat(config()[msix]).isZero();
        assertThat(config()[power] & 3).isZero();
        assertOk(device.arm(MSIX, 0, vfio.world.eventfd()));
        assertThat(config()[msix]).isEqualTo((byte) 0x80);
        device.writeCommand(7);
        assertThat(config()[COMMAND]).isEqualTo((byte) 7);
        device.close();
        assertThat(config()[COMMAND]).isEqualTo((byte) 2);
        assertThat(config()[power] & 3).as("it sleeps").isEqualTo(3);
    }

    private byte[] config() {
        return vfio.libc()
                .hostFiles()
                .bytes("sys/bus/pci/devices/" + NAME + "/config", 256)
                .orElseThrow();
    }

    // BARs

    @Test
    void tableWithoutAPlaceHasTheLastFreeBarForItself() {
        OpenedDevice device = open(builder.msix(2048).bar64(4, 0x1000).add());
        assertThat(region(device, 3, VfioRegionInfo.LENGTH)).isEqualTo(0x1_0000);
        assertThat(region(device, 3, VfioRegionInfo.FLAGS)).isEqualTo(0xf);
        int msix = capability(device, 0x11);
        assertThat(device.readConfig(msix + 4, 4)).isEqualTo(3);
        assertThat(device.readConfig(msix + 8, 4)).isEqualTo(0x8003);
        assertThat(region(device, 5, VfioRegionInfo.LENGTH)).isZero();
    }

    @Test
    void maskThatAUserSetsInTheMappedTableHolds() {
        FakePciDevice hardware = builder.msix(2).bar(0, 0x1000).msixTable(0, 0).add();
        OpenedDevice device = open(hardware);
        int[] events = vfio.events(2);
        assertOk(device.arm(MSIX, 0, events));
        device.writeCommand(6);
        long table = vfio.libc().mmap(0x1000, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, device.fd, 0);
        vfio.libc().view(table, 0x1000).putInt(16 + 12, 1);
        assertThat(hardware.sendMessage(0)).isTrue();
        assertThat(hardware.sendMessage(1)).as("masked by mistake").isFalse();
        assertThat(vfio.take(events[1])).isZero();
        assertThat(vfio.libc().munmap(table, 0x1000)).isZero();
    }

    @Test
    void resetMasksAllVectorsButThoseThatTheKernelUses() {
        FakePciDevice hardware =
                builder.msix(3).bar(0, 0x1000).msixTable(0, 0).resettable().add();
        OpenedDevice device = open(hardware);
        int[] events = vfio.events(2);
        assertOk(device.arm(MSIX, 0, events));
        device.writeCommand(6);
        hardware.sendMessage(2);
        assertThat(register(device, 3 * 16)).as("pending").isEqualTo(1 << 2);
        assertThat(vfio.kernel().vfioDeviceReset(device.fd)).isZero();
        assertThat(register(device, 3 * 16)).isZero();
        assertThat(hardware.sendMessage(1)).isTrue();
        assertThat(hardware.sendMessage(2)).isFalse();
    }

    @Test
    void everyBarHasAnAddress() {
        FakePciDevice.Builder large =
                builder.bar(0, 1 << 30).bar(1, 1 << 29).bar64(2, 1 << 30).ioBar(4, 256);
        OpenedDevice device = open(large.bar(5, 0x1000).add());
        for (int bar : new int[] {0, 1, 4, 5}) {
            assertThat(device.readConfig(0x10 + 4 * bar, 4) & ~0xfL)
                    .as("%d", bar)
                    .isNotZero();
        }
        assertThat(device.readConfig(0x18, 8)).isEqualTo(0x40_0000_000cL);
    }

    @Test
    void hotResetIsAResetOfTheDevice() {
        FakePciDevice hardware =
                builder.express().powerManagement().bar(0, 0x1000).add();
        hardware.setRegister(0, 0, 7);
        OpenedDevice device = open(hardware);
        setRegister(device, 0, 8);
        device.writeCommand(6);
        int power = capability(device, 1) + 4;
        device.writeConfig(power, 2, 3);
        assertOk(device.hotReset(0, device.group));
        assertThat(device.readConfig(power, 1) & 3).isZero();
        assertThat(device.readConfig(COMMAND)).isEqualTo(6);
        assertThat(register(device, 0)).isEqualTo(7);
    }

    // Descriptions that cannot be

    @Test
    void descriptionThatNoDeviceCanHaveIsRefused() {
        assertRefused(() -> builder.bar(6, 0x1000), "BAR 6");
        assertRefused(() -> builder.bar(0, 0x800), "from 4096 on");
        assertRefused(() -> builder.bar64(5, 0x1000), "expected 0 to 4");
        assertRefused(() -> builder.ioBar(0, 512), "from 4 to 256");
        builder.bar64(2, 0x1000);
        assertRefused(() -> builder.bar(3, 0x1000), "takes two numbers");
        assertRefused(() -> builder.bar64(1, 0x1000), "takes two numbers");
        assertRefused(() -> builder.capability((byte) 5, (byte) 0, (byte) 0), "expected id 9");
        assertRefused(() -> builder.capability((byte) 9, (byte) 0, (byte) 9), "expected id 9");
        assertRefused(() -> builder.register(0, 3, 0, 0), "an even number of bytes");
        assertRefused(() -> builder.msixTable(2, 4), "multiple of 8");
        assertRefused(() -> builder.msix(1).msixTable(4, 0).add(), "the MSI-X table at 0 of BAR 4");
        assertRefused(() -> builder.msixTable(2, 0xff8).add(), "inside of a BAR of memory");
        assertRefused(() -> builder.msixTable(2, 0).msixPending(2, 0x1000).add(), "the pending bits");
        builder.msixPending(2, 0x800).capability(vendors(60));
        assertRefused(() -> builder.capability(vendors(5)).add(), "at most 64");
    }

    @Test
    void registerIsOfACapabilityThatTheDeviceHas() {
        assertRefused(
                () -> builder.powerManagement().register(5, 2, 0, 0).add(), "capability 5, which the device lacks");
    }

    private static byte[] vendors(int length) {
        byte[] capability = new byte[length];
        capability[0] = 9;
        capability[2] = (byte) length;
        return capability;
    }

    private static void assertRefused(ThrowingCallable call, String part) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageContaining(part);
    }

    /** What leads from one capability to the next is the fake's. */
    @ParameterizedTest
    @CsvSource({"0x10, 256, 2 to 254", "0x10, 0, 2 to 254", "0x10, 9, 2 to 254", "0, 64, 0 to 62"})
    void registerOutsideOfItsCapabilityIsRefused(String capability, int at, String expected) {
        FakePciDevice.Builder device =
                new FakeKernel(Machine.profile()).pciDevice("0000:00:02.0", 3).express();
        assertThatThrownBy(() -> device.register(Integer.decode(capability), at, 0, 0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("register at " + at)
                .hasMessageEndingWith(expected);
    }
}
