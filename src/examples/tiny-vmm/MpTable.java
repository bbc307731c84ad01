/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.pci.PciHostBridge;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Tells the guest of its processors, its IOAPIC, and which interrupt is on which pin. Linux finds it in the last KiB below
 * 640 KiB. Source: Intel's MultiProcessor Specification 1.4, chapter 4.
 */
final class MpTable {
    static final int ADDRESS = 0x9fc00;
    private static final int LENGTH = 0x400, LAPIC = 0xfee00000, IOAPIC = 0xfec00000;
    private static final int HEADER = 16, COUNT = HEADER + 34, LAPIC_AT = HEADER + 36, ENTRIES = HEADER + 44;
    // Types of entries, and kinds of interrupts
    private static final int PROCESSOR = 0, BUS = 1, CHIP = 2, ON_IOAPIC = 3, ON_LAPIC = 4;
    private static final int NORMAL = 0, NMI = 1, OF_PICS = 3, EVERY_LAPIC = 0xff;

    // Numbers of buses: Linux finds the interrupts of PCI bus 0 by this one
    private static final int PCI = 0, ISA = 1;

    /** The APIC id of a vCPU is its number; that of the IOAPIC is the one after. */
    static byte[] build(int vcpus, List<PciHostBridge.Line> lines) {
        ByteBuffer table = ByteBuffer.allocate(LENGTH).order(ByteOrder.LITTLE_ENDIAN);
        put(table, '_', 'M', 'P', '_').putInt(ADDRESS + HEADER);
        put(table, 1, 4).position(HEADER);
        put(table, 'P', 'C', 'M', 'P', 0, 0, 4, 0).put("KVMIRQ  TINY-VMM    ".getBytes(StandardCharsets.US_ASCII));
        table.putShort(COUNT, (short) (vcpus + lines.size() + 21))
                .putInt(LAPIC_AT, LAPIC)
                .position(ENTRIES);
        for (int id = 0; id < vcpus; id++) {
            int enabledAndBoot = id == 0 ? 3 : 1;
            put(table, PROCESSOR, id, 0x14, enabledAndBoot, 0, 6, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        }
        put(table, BUS, PCI, 'P', 'C', 'I', ' ', ' ', ' ');
        put(table, BUS, ISA, 'I', 'S', 'A', ' ', ' ', ' ');
        put(table, CHIP, vcpus, 0x11, 1).putInt(IOAPIC);
        for (int irq = 0; irq < 16; irq++) {
            put(table, ON_IOAPIC, NORMAL, 0, 0, ISA, irq, vcpus, irq); // to this pin, as KVM's default routes
        }
        for (PciHostBridge.Line line : lines) {
            int pin = line.gsi().number();
            put(table, ON_IOAPIC, NORMAL, 0, 0, PCI, line.slot() << 2 | line.pin(), vcpus, pin);
        }
        put(table, ON_LAPIC, OF_PICS, 0, 0, ISA, 0, EVERY_LAPIC, 0);
        put(table, ON_LAPIC, NMI, 0, 0, ISA, 0, EVERY_LAPIC, 1);
        int end = table.position();
        table.putShort(HEADER + 4, (short) (end - HEADER));
        check(table, 0, HEADER, 10);
        check(table, HEADER, end, HEADER + 7);
        return table.array();
    }

    private static ByteBuffer put(ByteBuffer table, int... bytes) {
        for (int value : bytes) {
            table.put((byte) value);
        }
        return table;
    }

    /** Makes the sum of the bytes 0. */
    private static void check(ByteBuffer table, int from, int to, int place) {
        table.put(place, (byte) -IntStream.range(from, to).map(table::get).sum());
    }
}
