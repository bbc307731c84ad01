/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.ValueSource;

/** A device on the bus of an arm64 guest: configuration space by ECAM, messages to the guest's ITS, and a line. */
@ParameterizedClass
@ValueSource(longs = {0x3f00_0000L, 0xe000_0000L, 0x40_1000_0000L})
class PassedArmDeviceTest {
    private static final long HOLE = 0x1000_0000L;
    /** With the requester id of the device that {@link GuestIts} has mapped. */
    private static final int SLOT = GuestIts.DEVICE >> 3;

    private static final Spi LINE = new Spi(40);
    private static final String NIC = "0000:3b:00.0";
    private static final String FREE = "0000:3c:00.0";

    private final FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));
    private final Undo parts = new Undo();
    private final FakePciDevice hardware;
    private final GuestIts guest;
    private final long ecam;
    private final PciHostBridge bus;

    PassedArmDeviceTest(long ecam) {
        this.ecam = ecam;
        this.bus = PciHostBridge.withEcam(HOLE, 0x1000_0000L, ecam);
        hardware = fake.pciDevice(NIC, 7)
                .ids(0x8086, 0x10d3)
                .express()
                .intx()
                .msi(1)
                .msix(8)
                .bar(0, 0x4000)
                .msixTable(0, 0)
                .msixPending(0, 0x2000)
                .add();
        fake.pciDevice(FREE, 8).msix(1).add();
        Kernel kernel = parts.add(fake.open());
        Vm vm = parts.add(Vm.create(kernel));
        parts.add(vm.createVcpu(new VcpuId(0))).arm64().initialize();
        guest = new GuestIts(vm, 1, parts);
        VfioDevice device = parts.add(VfioDevice.open(kernel, PciAddress.parse(NIC)));
        Forwarding forwarding = parts.add(Forwarding.create(vm, device));
        parts.add(PassedThroughDevice.builder(bus, SLOT, vm, device, forwarding)
                .intx(new Gsi(LINE.pin()))
                .build());
    }

    @AfterEach
    void close() {
        parts.close();
    }

    private long at(int slot, int function, int register) {
        return ecam + (slot << 15 | function << 12 | register);
    }

    private long config(int register, int size) {
        return bus.read(false, at(SLOT, 0, register), size) & (1L << Byte.SIZE * size) - 1;
    }

    private void setConfig(int register, int size, long value) {
        bus.write(false, at(SLOT, 0, register), size, value);
    }

    private int capability(int id) {
        int at = (int) config(0x34, 1);
        while (config(at, 1) != id) {
            at = (int) config(at + 1, 1);
        }
        return at;
    }

    private List<Integer> taken() {
        List<Integer> taken = new ArrayList<>();
        guest.take(taken::add);
        return taken;
    }

    @Test
    void busIsFoundByEcam() {
        assertThat(bus.isOurs(false, ecam, 4)).isTrue();
        assertThat(bus.isOurs(false, ecam + PciHostBridge.ECAM_BYTES - 1, 1)).isTrue();
        assertThat(bus.isOurs(false, ecam + PciHostBridge.ECAM_BYTES, 1)).isFalse();
        assertThat(bus.isOurs(false, ecam - 1, 1)).isFalse();
        assertThat(bus.isOurs(true, ecam, 4)).isFalse();
        assertThat(bus.read(false, at(0, 0, 0), 4)).isEqualTo(0x0008_1b36);
        assertThat(bus.read(false, at(0, 0, 0xa), 2) & 0xffff).isEqualTo(0x0600);
        assertThat(config(0, 4)).isEqualTo(0x10d3_8086L);
        assertThat(config(2, 2)).isEqualTo(0x10d3);
        assertThat(config(1, 1)).isEqualTo(0x80);
    }

    @Test
    void otherPlacesOfTheEcamReadOnes() {
        long[] others = {
            at(SLOT + 1, 0, 0),
            at(31, 0, 0),
            at(SLOT, 1, 0),
            at(SLOT, 2, 0),
            at(SLOT, 4, 0),
            at(0, 7, 0),
            at(SLOT, 0, 0x100),
            at(0, 0, 0xffc)
        };
        for (long other : others) {
            assertThat(bus.read(false, other, 4)).as("0x%x", other).isEqualTo(0xffff_ffffL);
            bus.write(false, other, 4, 0);
        }
        assertThat(bus.read(false, at(SLOT, 0, 2), 4)).as("not aligned").isEqualTo(0xffff_ffffL);
        assertThat(bus.read(false, at(SLOT, 0, 0), 8)).as("8 bytes").isEqualTo(-1);
        assertThat(config(0, 4)).isEqualTo(0x10d3_8086L);
    }

    @Test
    void ecamOfABusWithMechanism1IsNone() {
        assertThat(new PciHostBridge(HOLE, 0x1000_0000L).isOurs(false, ecam, 4)).isFalse();
        assertThat(new PciHostBridge(HOLE, 0x1000_0000L).isOurs(false, 0, 4)).isFalse();
    }

    /** KVM would answer the guest's reads of configuration space from the memory. */
    @Test
    void memoryOverTheEcamIsRefused() {
        Kernel kernel = parts.add(fake.open());
        Vm vm = parts.add(Vm.create(kernel));
        GuestMemory memory = parts.add(vm.addMemory(ecam, 0x1000));
        VfioDevice device = parts.add(VfioDevice.open(kernel, PciAddress.parse(FREE)));
        Forwarding forwarding = parts.add(Forwarding.create(vm, device));
        assertThatThrownBy(() -> PassedThroughDevice.builder(bus, SLOT + 1, vm, device, forwarding)
                        .memory(memory)
                        .build())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(" is in the ECAM, 0x" + Long.toHexString(ecam) + " to 0x");
    }

    @Test
    void ecamThatIsNoneIsRefused() {
        for (long wrong : new long[] {-0x10_0000L, 0x3f00_1000L, HOLE, 0x1ff0_0000L}) {
            assertThatThrownBy(() -> PciHostBridge.withEcam(HOLE, 0x1000_0000L, wrong))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("an ECAM at 0x" + Long.toHexString(wrong)
                            + ": expected a multiple of 1 MiB outside of the hole for BARs");
        }
        assertThat(PciHostBridge.withEcam(HOLE, 0x1000_0000L, 0x0ff0_0000L)).isNotNull();
    }

    /** The table is at the BAR's address, which the guest reads by ECAM. */
    private void enableMsix(int vector, int event) {
        guest.map(event);
        setConfig(4, 2, 6); // memory and bus master
        setConfig(capability(0x11) + 2, 2, 1 << 15);
        long entry = config(0x10, 4) + 16 * vector;
        bus.write(false, entry, 8, GuestIts.message(event).address());
        bus.write(false, entry + 8, 4, event);
        bus.write(false, entry + 12, 4, 0);
    }

    @Test
    void vectorOfMsixIsAnLpi() {
        assertThat(config(0x10, 4)).isEqualTo(HOLE);
        enableMsix(3, 5);
        hardware.sendMessage(3);
        assertThat(taken()).containsExactly(5);
        bus.write(false, HOLE + 16 * 3 + 12, 4, 1);
        hardware.sendMessage(3);
        assertThat(taken()).as("masked").isEmpty();
        bus.write(false, HOLE + 16 * 3 + 12, 4, 0);
        assertThat(taken()).containsExactly(5);
    }

    @Test
    void msiIsAnLpi() {
        guest.map(7);
        setConfig(4, 2, 6);
        int msi = capability(5);
        setConfig(msi + 4, 4, GuestIts.message(7).address());
        boolean has64 = (config(msi + 2, 2) & 1 << 7) != 0;
        setConfig(msi + (has64 ? 12 : 8), 2, 7);
        setConfig(msi + 2, 2, 1);
        hardware.sendMessage(0);
        assertThat(taken()).containsExactly(7);
    }

    @Test
    void lineIsALevelAtItsSpi() {
        guest.vgic().makeLevel(LINE);
        setConfig(4, 2, 6);
        hardware.requestService();
        assertThat(guest.vgic().isHigh(LINE)).isTrue();
        assertThat(bus.lines()).containsExactly(new PciHostBridge.Line(SLOT, 0, new Gsi(LINE.pin())));
    }
}
