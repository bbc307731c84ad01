/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmCoalescedMmio;
import io.kvmirq.uapi.Uapi.KvmCoalescedMmioRing;
import io.kvmirq.uapi.Uapi.KvmCoalescedMmioZone;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Writes of a guest that wait in the ring of its VM: virt/kvm/coalesced_mmio.c. */
@Contract
class CoalescedContract extends KernelSuite {
    private static final int ZONE = 0xf800;
    private static final int LAST_OF_MEMORY = 0xeffe;
    private static final int PORT = 0x90;
    private static final int END = 0x82;
    /** {@code out %al, $END}. */
    private static final String TELLS = "e682";
    /** {@code mov %ax, (ZONE); inc %ax}; a jump to the first. */
    private static final String COUNTS = "a300f840ebfa";

    /** KVM_COALESCED_MMIO_MAX. */
    private static final int ENTRIES = 170;

    private int vm;

    @BeforeEach
    void setUp() {
        vm = world.splitVm();
    }

    private RealModeGuest guest(String code) {
        return new RealModeGuest(world, vm, code);
    }

    private static ByteBuffer zone(long address, int length, int pio) {
        return Buffers.allocate(KvmCoalescedMmioZone.SIZE)
                .putLong(KvmCoalescedMmioZone.ADDR, address)
                .putInt(KvmCoalescedMmioZone.LENGTH, length)
                .putInt(KvmCoalescedMmioZone.PIO, pio);
    }

    private void add(long address, int length, int pio) {
        assertOk(world.ioctl(vm, Uapi.KVM_REGISTER_COALESCED_MMIO, zone(address, length, pio)));
    }

    private ByteBuffer ring(int vcpu) {
        int ring = Uapi.KVM_COALESCED_MMIO_PAGE_OFFSET * (int) PAGE;
        int length = ring + (int) PAGE;
        return libc.view(world.map(length, vcpu), length)
                .slice(ring, (int) PAGE)
                .order(ByteOrder.nativeOrder());
    }

    private static int first(ByteBuffer ring) {
        return ring.getInt(KvmCoalescedMmioRing.FIRST);
    }

    private static int last(ByteBuffer ring) {
        return ring.getInt(KvmCoalescedMmioRing.LAST);
    }

    private static void assertEntry(ByteBuffer ring, int index, long address, int length, int pio, long data) {
        int at = KvmCoalescedMmioRing.SIZE + index * KvmCoalescedMmio.SIZE;
        assertThat(ring.getLong(at + KvmCoalescedMmio.PHYS_ADDR)).as("address").isEqualTo(address);
        assertThat(ring.getInt(at + KvmCoalescedMmio.LEN)).as("length").isEqualTo(length);
        assertThat(ring.getInt(at + KvmCoalescedMmio.PIO)).as("pio").isEqualTo(pio);
        assertThat(ring.getLong(at + KvmCoalescedMmio.DATA) & -1L >>> Long.SIZE - Byte.SIZE * length)
                .as("data")
                .isEqualTo(data);
    }

    /** {@code mov $0x12345678, %eax}; stores of 1, 2 and 4 bytes. */
    @Test
    void writesToAZoneWaitInTheRing() {
        add(ZONE, 8, 0);
        RealModeGuest guest = guest("66b878563412" + "a200f8" + "a302f8" + "66a304f8" + TELLS);
        ByteBuffer ring = ring(guest.vcpu());
        guest.runTo(END);
        assertThat(first(ring)).isZero();
        assertThat(last(ring)).isEqualTo(3);
        assertEntry(ring, 0, ZONE, 1, 0, 0x78);
        assertEntry(ring, 1, ZONE + 2, 2, 0, 0x5678);
        assertEntry(ring, 2, ZONE + 4, 4, 0, 0x12345678);
    }

    /** Before, in part, and after; and once the zone is gone. */
    @Test
    void writesBesideAZoneExit() {
        add(ZONE, 4, 0);
        RealModeGuest guest = guest("b83412" + "a2fff7" + "a303f8" + "a204f8" + "a200f8" + TELLS + "a200f8");
        ByteBuffer ring = ring(guest.vcpu());
        guest.runToMmio(ZONE - 1, 1, 0x34);
        guest.runToMmio(ZONE + 3, 2, 0x1234);
        guest.runToMmio(ZONE + 4, 1, 0x34);
        guest.runTo(END);
        assertThat(last(ring)).isOne();
        assertOk(world.ioctl(vm, Uapi.KVM_UNREGISTER_COALESCED_MMIO, zone(ZONE, 4, 0)));
        guest.runToMmio(ZONE, 1, 0x34);
        assertThat(last(ring)).isOne();
    }

    @Test
    void partOfAStoreBeyondMemoryWaits() {
        add(LAST_OF_MEMORY + 2, 4, 0);
        RealModeGuest guest = guest("66b878563412" + "66a3feef" + TELLS);
        ByteBuffer ring = ring(guest.vcpu());
        guest.runTo(END);
        assertThat(guest.at(LAST_OF_MEMORY)).isEqualTo(0x78);
        assertThat(guest.at(LAST_OF_MEMORY + 1)).isEqualTo(0x56);
        assertThat(last(ring)).isOne();
        assertEntry(ring, 0, LAST_OF_MEMORY + 2, 2, 0, 0x1234);
    }

    /** {@code out} of 1 and 2 bytes; the last one ends beyond the zone. */
    @Test
    void portsHaveZonesOfTheirOwn() {
        add(PORT, 2, 1);
        add(PORT, 0x100, 0);
        RealModeGuest guest = guest("b83412" + "e690" + "e790" + "e691" + "e791" + TELLS);
        ByteBuffer ring = ring(guest.vcpu());
        guest.runTo(PORT + 1);
        assertThat(last(ring)).isEqualTo(3);
        assertEntry(ring, 0, PORT, 1, 1, 0x34);
        assertEntry(ring, 1, PORT, 2, 1, 0x1234);
        assertEntry(ring, 2, PORT + 1, 1, 1, 0x34);
        guest.runTo(END);
    }

    /** A full ring makes room when the VMM moves its first entry. */
    @Test
    void writeToAFullRingExits() {
        add(ZONE, 2, 0);
        RealModeGuest guest = guest(COUNTS);
        ByteBuffer ring = ring(guest.vcpu());
        int full = world.isSince(6, 12) ? ENTRIES - 1 : ENTRIES / 2;
        guest.runToMmio(ZONE, 2, full);
        guest.runToMmio(ZONE, 2, full + 1);
        assertThat(last(ring)).isEqualTo(full);
        for (int i = 0; i < full; i++) {
            assertEntry(ring, i, ZONE, 2, 0, i);
        }
        ring.putInt(KvmCoalescedMmioRing.FIRST, full);
        guest.runToMmio(ZONE, 2, full + 2 + ENTRIES - 1);
        assertThat(last(ring)).isEqualTo(full - 1);
        assertThat(first(ring)).isEqualTo(full);
        assertEntry(ring, full, ZONE, 2, 0, full + 2);
    }

    @Test
    void placeBeyondTheRingTakesNothing() {
        add(ZONE, 2, 0);
        RealModeGuest guest = guest(COUNTS);
        ByteBuffer ring = ring(guest.vcpu()).putInt(KvmCoalescedMmioRing.LAST, ENTRIES);
        guest.runToMmio(ZONE, 2, 0);
        assertThat(last(ring)).isEqualTo(ENTRIES);
    }

    @Test
    void ringIsTheVms() {
        add(ZONE, 2, 0);
        RealModeGuest guest = guest("a200f8" + TELLS + "a200f8" + TELLS);
        ByteBuffer ring = ring(guest.vcpu());
        ByteBuffer other = ring(world.vcpu(vm, 1));
        guest.runTo(END);
        assertThat(last(other)).isOne();
        assertEntry(other, 0, ZONE, 1, 0, 0);
        other.putInt(KvmCoalescedMmioRing.FIRST, 1);
        guest.runTo(END);
        assertThat(first(ring)).isOne();
        assertThat(last(ring(world.vcpu(vm, 2)))).isEqualTo(2);
    }
}
