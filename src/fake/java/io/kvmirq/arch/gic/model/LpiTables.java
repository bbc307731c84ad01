/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.InterruptId;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * The redistributor registers for LPIs, and the tables in guest memory to which they point. Source: IHI 0069,
 * "GICR_PROPBASER", "GICR_PENDBASER"; arch/arm64/kvm/vgic/vgic-mmio-v3.c.
 */
final class LpiTables {
    /** GICR_PENDBASER.PTZ: the pending table is zero, so it is not read. */
    private static final long PENDING_TABLE_ZERO = 1L << 62;

    private static final long ADDRESS = 0xf_ffff_ffff_f000L;
    private static final long PENDING_ADDRESS = 0xf_ffff_ffff_0000L;
    private static final long PROPERTY_RESERVED = 0xf8f0_0000_0000_0060L;
    private static final long PENDING_RESERVED = 0xb8f0_0000_0000_f07fL;

    /** The initial value of GICR_PENDBASER, and of GICR_PROPBASER once there is an ITS: inner shareable, write-back. */
    private static final long INITIAL = Baser.sanitised(1 << 10, Baser.Attributes.OF_REDISTRIBUTOR);

    /** The LPI registers of a vCPU's redistributor. */
    private static final class Redistributor {
        private boolean enabled;
        private long pendingBase = INITIAL;
    }

    private final GuestRam ram;
    private final List<Redistributor> redistributors = new ArrayList<>();
    private long propertyBase;

    LpiTables(GuestRam ram) {
        this.ram = ram;
    }

    private Redistributor redistributor(int vcpu) {
        while (redistributors.size() <= vcpu) {
            redistributors.add(new Redistributor());
        }
        return redistributors.get(vcpu);
    }

    void reset() {
        propertyBase = INITIAL;
    }

    // Registers

    boolean isEnabled(int vcpu) {
        return redistributor(vcpu).enabled;
    }

    void enable(int vcpu, boolean enable) {
        redistributor(vcpu).enabled = enable;
    }

    long propertyBase() {
        return propertyBase;
    }

    void setPropertyBase(long value) {
        propertyBase = Baser.sanitised(value, Baser.Attributes.OF_REDISTRIBUTOR) & ~PROPERTY_RESERVED;
    }

    long pendingBase(int vcpu) {
        return redistributor(vcpu).pendingBase & ~PENDING_TABLE_ZERO;
    }

    long writtenPendingBase(int vcpu) {
        return redistributor(vcpu).pendingBase;
    }

    void setPendingBase(int vcpu, long value) {
        redistributor(vcpu).pendingBase = Baser.sanitised(value, Baser.Attributes.OF_REDISTRIBUTOR) & ~PENDING_RESERVED;
    }

    // Tables

    /** The property of an LPI, a byte; empty if there is no memory. */
    OptionalInt property(int id) {
        return read((propertyBase & ADDRESS) + id - InterruptId.FIRST_LPI);
    }

    /** Whether the pending table of a vCPU must be read when its LPIs are enabled. */
    boolean mayHavePending(int vcpu) {
        return (redistributor(vcpu).pendingBase & PENDING_TABLE_ZERO) == 0;
    }

    /** An LPI's bit in the pending table of a vCPU, 0 or 1; empty if there is no memory. */
    OptionalInt pending(int id, int vcpu) {
        OptionalInt bits = read(pendingAddress(id, vcpu));
        return bits.isPresent() ? OptionalInt.of(bits.getAsInt() >> id % Byte.SIZE & 1) : bits;
    }

    /** @return whether the table is in memory */
    boolean setPending(int id, int vcpu, boolean to) {
        OptionalInt bits = read(pendingAddress(id, vcpu));
        if (bits.isEmpty()) {
            return false;
        }
        int bit = 1 << id % Byte.SIZE;
        int next = to ? bits.getAsInt() | bit : bits.getAsInt() & ~bit;
        return ram.write(pendingAddress(id, vcpu), ByteBuffer.allocate(1).put(0, (byte) next));
    }

    private long pendingAddress(int id, int vcpu) {
        return (redistributor(vcpu).pendingBase & PENDING_ADDRESS) + id / Byte.SIZE;
    }

    private OptionalInt read(long address) {
        ByteBuffer value = ByteBuffer.allocate(1);
        return ram.read(address, value) ? OptionalInt.of(value.get(0) & 0xff) : OptionalInt.empty();
    }
}
