/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import static io.kvmirq.fake.vfio.PciImage.*;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;

/** The bits of a capability that VFIO virtualizes, and those that users can write: {@code struct perm_bits}. */
record ConfigRules(Access access, ByteBuffer virtual, ByteBuffer writable) {
    enum Access {
        /** The bits decide. */
        BITS,
        /** Reads reach the device, except those of the capability's header. Writes are ignored. */
        READ_ONLY,
        /** Reads are as for READ_ONLY. Writes reach the device. */
        VENDOR,
        /** Reads and writes reach the device, because the byte is in no capability. */
        RAW
    }

    // Masks of registers
    private static final int DIS_INTX = 1 << 10;
    private static final int ALL = -1;
    private static final int BYTE = 0xff;
    private static final int PME_SUPPORT = 0xf800;
    /** PME_Status and PME_En. */
    private static final int PME = 0x8100;

    private static final int POWER_STATE = 3;
    private static final int RESET = 0x8000;
    private static final int PAYLOAD = 0xe0;
    private static final int READ_REQUEST = 0x7000;
    private static final int PHANTOM = 0x200;
    private static final int DEVICE_CONTROL_2 = 0x28;
    private static final int ARI = 0x20;
    private static final int NEXT = 1;
    private static final int LATENCY = 0xd;
    private static final int SELF_TEST = 0xf;
    private static final int MSI_ADDRESS = 4;
    private static final int MSI_UPPER = 8;
    private static final int MSI_DATA = 0xc;
    private static final int FEATURES_FLR = 1;
    private static final int LONGEST_CAPABILITY = 0x40;

    private static final ConfigRules RAW_BYTES = new ConfigRules(Access.RAW);
    private static final ConfigRules VENDORS = new ConfigRules(Access.VENDOR);
    private static final ConfigRules SHOWN = new ConfigRules(Access.READ_ONLY);
    private static final ConfigRules HEADER = header();
    private static final Map<Integer, ConfigRules> CAPABILITIES =
            Map.of(POWER_ID, power(), EXPRESS_ID, express(), FEATURES_ID, features(), VENDOR_ID, VENDORS);
    private static final ConfigRules MSI = msi(false);
    private static final ConfigRules MASKABLE_MSI = msi(true);

    private ConfigRules(Access access) {
        this(access, words(), words());
    }

    private static ByteBuffer words() {
        return ByteBuffer.allocate(LONGEST_CAPABILITY).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** The rules of bytes outside all capabilities. */
    static ConfigRules raw() {
        return RAW_BYTES;
    }

    /** The rules of the first 64 bytes. */
    static ConfigRules ofHeader() {
        return HEADER;
    }

    static ConfigRules of(int id, boolean msiMasks) {
        if (id == MSI_ID) {
            return msiMasks ? MASKABLE_MSI : MSI;
        }
        return CAPABILITIES.getOrDefault(id, SHOWN);
    }

    private ConfigRules word(int at, int virtualBits, int writableBits) {
        virtual.putShort(at, (short) virtualBits);
        writable.putShort(at, (short) writableBits);
        return this;
    }

    private ConfigRules one(int at, int virtualBits, int writableBits) {
        virtual.put(at, (byte) virtualBits);
        writable.put(at, (byte) writableBits);
        return this;
    }

    private ConfigRules both(int at, int virtualBits, int writableBits) {
        virtual.putInt(at, virtualBits);
        writable.putInt(at, writableBits);
        return this;
    }

    private static ConfigRules header() {
        ConfigRules rules = new ConfigRules(Access.BITS)
                .both(0, ALL, 0)
                .word(COMMAND, DIS_INTX, ALL)
                .word(STATUS, HAS_CAPABILITIES, 0)
                .one(CACHE_LINE, 0, BYTE)
                .one(LATENCY, 0, BYTE)
                .one(SELF_TEST, 0, BYTE)
                .one(FIRST_CAPABILITY, BYTE, 0)
                .one(INTERRUPT_LINE, BYTE, BYTE)
                .one(INTERRUPT_PIN, BYTE, 0);
        for (int bar = 0; bar < PciFunction.BARS; bar++) {
            rules.both(BAR_0 + bar * Integer.BYTES, ALL, ALL);
        }
        return rules;
    }

    private static ConfigRules power() {
        return new ConfigRules(Access.BITS)
                .one(NEXT, BYTE, 0)
                .word(FLAGS, PME_SUPPORT, 0)
                .both(POWER_CONTROL, PME, ~(PME | POWER_STATE));
    }

    private static ConfigRules express() {
        return new ConfigRules(Access.BITS)
                .one(NEXT, BYTE, 0)
                .word(DEVICE_CONTROL, RESET | PAYLOAD | READ_REQUEST, ~PHANTOM)
                .word(DEVICE_CONTROL_2, 0, ~ARI);
    }

    private static ConfigRules features() {
        return new ConfigRules(Access.BITS).one(NEXT, BYTE, 0).one(FEATURES_CONTROL, FEATURES_FLR, FEATURES_FLR);
    }

    /** The rules of MSI with 64-bit addresses. */
    private static ConfigRules msi(boolean masks) {
        ConfigRules rules = new ConfigRules(Access.BITS)
                .one(NEXT, BYTE, 0)
                .one(FLAGS, BYTE, BYTE)
                .both(MSI_ADDRESS, ALL, ALL)
                .both(MSI_UPPER, ALL, ALL)
                .word(MSI_DATA, ALL, ALL);
        return masks ? rules.both(MSI_MASKS, 0, ALL).both(MSI_PENDING, 0, ALL) : rules;
    }
}
