/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.NotModelledException;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** {@code struct kvm_regs}. A real-mode guest uses the low half of the first eight registers, and RIP below 64 KiB. */
public final class GeneralRegisters {
    /** The register numbers in opcodes, in the order of {@code struct kvm_regs}. */
    private static final int[] ORDER = {0, 3, 1, 2, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};

    static final int EAX = 0;
    static final int ECX = 1;
    static final int EDX = 2;
    static final int EBX = 3;
    static final int ESP = 4;
    static final int EBP = 5;
    static final int ESI = 6;
    static final int EDI = 7;

    static final int INTERRUPT_FLAG = 1 << 9;
    static final int DIRECTION_FLAG = 1 << 10;
    /** CF, PF, AF, ZF, SF, OF. */
    static final int STATUS_FLAGS = 0x8d5;
    /** The flag bit that is always set. */
    static final int FIXED_FLAG = 2;

    /** The settable flags: status flags, TF, IOPL, NT, RF, AC and ID. VM is for virtual 8086 mode only. */
    private static final int SETTABLE_FLAGS = 0x25_7fd7;

    private static final int MODELLED_FLAGS = STATUS_FLAGS | DIRECTION_FLAG | INTERRUPT_FLAG | FIXED_FLAG;
    /** The signature of a processor before KVM_SET_CPUID2. */
    static final int SIGNATURE = 0x600;

    public static final int RESET_IP = 0xfff0;
    private static final long LOW_HALF = 0xffff_ffffL;

    private final long[] values = new long[ORDER.length];
    private long ip;
    private int flags;

    public GeneralRegisters() {
        reset(SIGNATURE);
    }

    /** @param signature the processor's signature, EAX of CPUID leaf 1 */
    public void reset(int signature) {
        Arrays.fill(values, 0);
        values[EDX] = Integer.toUnsignedLong(signature);
        ip = RESET_IP;
        flags = FIXED_FLAG;
    }

    int get(int register) {
        return (int) values[register];
    }

    void set(int register, int value) {
        values[register] = values[register] & ~LOW_HALF | value & LOW_HALF;
    }

    /** A register operand of 1, 2 or 4 bytes. As 1-byte operands, registers 4 to 7 are AH, CH, DH and BH. */
    int get(int register, int size) {
        if (size == 1) {
            return get(register & 3) >>> (register & 4) * 2 & 0xff;
        }
        return size == Short.BYTES ? get(register) & 0xffff : get(register);
    }

    void set(int register, int size, int value) {
        if (size == 1) {
            int shift = (register & 4) * 2;
            set(register & 3, get(register & 3) & ~(0xff << shift) | (value & 0xff) << shift);
        } else {
            set(register, size == Short.BYTES ? get(register) & 0xffff0000 | value & 0xffff : value);
        }
    }

    public long ip() {
        return ip;
    }

    public void setIp(long next) {
        ip = next;
    }

    int flags() {
        return flags;
    }

    void setFlags(int next) {
        flags = next;
    }

    boolean interruptsOn() {
        return (flags & INTERRUPT_FLAG) != 0;
    }

    /** @throws NotModelledException if a flag is set that real mode does not have */
    public static int checked(long flags) {
        long next = flags | FIXED_FLAG;
        if ((next & ~MODELLED_FLAGS) != 0) {
            throw new NotModelledException("RFLAGS 0x" + Long.toHexString(next));
        }
        return (int) next;
    }

    /** Throws {@link NotModelledException} if a flag is set that the fake does not model; called before a run. */
    public void checkModelled() {
        checked(flags);
    }

    /** Loads the registers; the flags may be of any mode. If it throws NotModelledException, it has changed nothing. */
    public void load(ByteBuffer from) {
        long next = from.getLong(Uapi.KvmRegs.RFLAGS) | FIXED_FLAG;
        flags = (next & ~SETTABLE_FLAGS) == 0 ? (int) next : checked(next);
        ip = from.getLong(Uapi.KvmRegs.RIP);
        for (int i = 0; i < ORDER.length; i++) {
            values[ORDER[i]] = from.getLong(i * Long.BYTES);
        }
    }

    public void save(ByteBuffer to) {
        for (int i = 0; i < ORDER.length; i++) {
            to.putLong(i * Long.BYTES, values[ORDER[i]]);
        }
        to.putLong(Uapi.KvmRegs.RIP, ip).putLong(Uapi.KvmRegs.RFLAGS, flags);
    }
}
