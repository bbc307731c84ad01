/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.VgicV3;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Programs an ITS and the LPIs of a vCPU, as a guest's driver does, with tables in guest memory. For one thread.
 *
 * <p>Source: GIC architecture (IHI 0069), 5.3 (commands), 12.11 (GICR) and 12.19 (GITS).
 */
final class ItsDriver {
    /** Bytes of guest memory that the tables need. */
    static final int MEMORY = 0x6_0000;

    private static final int PROPERTIES = 0;
    private static final int PENDING = 0x1_0000;
    private static final int DEVICES = 0x2_0000;
    private static final int COLLECTIONS = 0x3_0000;
    private static final int COMMANDS = 0x4_0000;
    private static final int EVENTS = 0x5_0000;

    private static final int GICR_CTLR = 0;
    private static final int GICR_PROPBASER = 0x70;
    private static final int GICR_PENDBASER = 0x78;
    private static final int GITS_CTLR = 0;
    private static final int GITS_CBASER = 0x80;
    private static final int GITS_CWRITER = 0x88;
    private static final int GITS_BASER = 0x100;
    private static final int TABLES = 8;

    private static final long VALID = 1L << 63;
    private static final int TYPE_SHIFT = 56;
    /** GITS_BASER.Type and Entry_Size, which are the ITS's. */
    private static final long READ_ONLY = 7L << TYPE_SHIFT | 0x1fL << 48;

    private static final int TYPE_DEVICES = 1;
    private static final int TYPE_COLLECTIONS = 4;
    private static final long PAGE_OF_64K = 2L << 8;
    private static final int COMMAND_PAGES = 16;

    private static final int FIRST_LPI = 8192;
    private static final int NUMBER_BITS = 14;
    private static final byte ENABLED = (byte) 0xa1;

    private static final long MAPD = 0x8;
    private static final long MAPC = 0x9;
    private static final long MAPTI = 0xa;
    private static final int EVENT_BITS = 8;

    private final VgicV3 vgic;
    private final Its its;
    private final long base;
    private final Mapping memory;
    private int end;

    /** @param base the guest-physical address of {@code memory} */
    ItsDriver(VgicV3 vgic, Its its, long base, GuestMemory memory) {
        this.vgic = vgic;
        this.its = its;
        this.base = base;
        this.memory = memory.mapping();
    }

    /** Enables the vCPU's LPIs and the ITS. */
    void enable(VcpuId vcpu) {
        writeWide(vcpu, GICR_PROPBASER, base + PROPERTIES | NUMBER_BITS - 1);
        writeWide(vcpu, GICR_PENDBASER, base + PENDING);
        vgic.writeRedistributor(vcpu, GICR_CTLR, 1);
        for (int i = 0; i < TABLES; i++) {
            long offset = GITS_BASER + i * (long) Long.BYTES;
            long kind = its.readRegister(offset) & READ_ONLY;
            int type = (int) (kind >>> TYPE_SHIFT);
            if (type == TYPE_DEVICES || type == TYPE_COLLECTIONS) {
                int table = type == TYPE_DEVICES ? DEVICES : COLLECTIONS;
                its.writeRegister(offset, VALID | kind | PAGE_OF_64K | base + table);
            }
        }
        its.writeRegister(GITS_CBASER, VALID | base + COMMANDS | COMMAND_PAGES - 1);
        its.writeRegister(GITS_CTLR, 1);
    }

    private void writeWide(VcpuId vcpu, int offset, long value) {
        vgic.writeRedistributor(vcpu, offset, (int) value);
        vgic.writeRedistributor(vcpu, offset + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    /** Maps an event of a device to an LPI of the vCPU with index 0. */
    void map(int device, int event, int lpi) {
        memory.putByte(PROPERTIES + lpi - FIRST_LPI, ENABLED);
        command(MAPC, 0, VALID);
        command(MAPD | (long) device << Integer.SIZE, EVENT_BITS - 1, VALID | base + EVENTS);
        command(MAPTI | (long) device << Integer.SIZE, event | (long) lpi << Integer.SIZE, 0);
    }

    private void command(long first, long second, long third) {
        byte[] words = ByteBuffer.allocate(4 * Long.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(first)
                .putLong(second)
                .putLong(third)
                .array();
        memory.put(COMMANDS + end, words);
        end += words.length;
        its.writeRegister(GITS_CWRITER, end);
    }

    /** Whether an LPI is pending: the VGIC writes the table that a VMM saves. */
    boolean isPending(int lpi) {
        vgic.savePendingTables();
        return (memory.getByte(PENDING + lpi / Byte.SIZE) >>> lpi % Byte.SIZE & 1) == 1;
    }
}
