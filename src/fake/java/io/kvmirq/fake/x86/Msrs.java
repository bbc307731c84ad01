/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.X86Msr;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The model specific registers of a vCPU that VMMs set up. They are stored; guests of the fake cannot read them.
 * Source: {@code kvm_set_msr_common()} and {@code __kvm_set_msr()} in arch/x86/kvm/x86.c.
 */
final class Msrs {
    /** MAX_IO_MSRS. A call may have one fewer. */
    static final int TOO_MANY = 256;

    private static final int ARCH_CAPABILITIES = 0x10a;
    private static final int PERF_CAPABILITIES = 0x345;

    /** The fake's part of {@code msrs_to_save}, in the order of the kernel. */
    static final List<Integer> LISTED = Stream.of(
                    X86Msr.SYSENTER_CS,
                    X86Msr.SYSENTER_ESP,
                    X86Msr.SYSENTER_EIP,
                    X86Msr.STAR,
                    X86Msr.CSTAR,
                    X86Msr.KERNEL_GS_BASE,
                    X86Msr.SYSCALL_MASK,
                    X86Msr.LSTAR,
                    X86Msr.TSC,
                    X86Msr.PAT,
                    X86Msr.KVM_OLD_SYSTEM_TIME,
                    X86Msr.KVM_OLD_WALL_CLOCK,
                    X86Msr.KVM_SYSTEM_TIME,
                    X86Msr.KVM_WALL_CLOCK,
                    X86Msr.TSC_DEADLINE,
                    X86Msr.MISC_ENABLE,
                    X86Msr.UCODE_REV)
            .map(X86Msr::number)
            .toList();

    /** MSRs that describe the processor, with the values of one without errata. */
    static final Map<Integer, Long> FEATURES = new TreeMap<>(Map.of(
            X86Msr.UCODE_REV.number(),
            1L << 32,
            ARCH_CAPABILITIES,
            0L,
            PERF_CAPABILITIES,
            0L,
            X86Msr.PLATFORM_INFO.number(),
            1L << 31));

    /** MSRs of the processor, or of features that are not modelled. A VMM reads 0, and may write 0. */
    private static final Set<Integer> OF_PROCESSOR = Set.of(
            0x34,
            X86Msr.TSC_ADJUST.number(),
            X86Msr.SPEC_CTRL.number(),
            ARCH_CAPABILITIES,
            0x122,
            0x4b564d02,
            0x4b564d03,
            0x4b564d04,
            0xc0010117,
            0xc001011f);

    private static final int APIC_BASE = X86Msr.APIC_BASE.number();
    private static final int DEADLINE = X86Msr.TSC_DEADLINE.number();

    // Memory types: pairs of base and mask, and ranges below 1 MiB of 8 types each
    private static final int VARIABLE = 0x200;
    private static final int VARIABLE_END = VARIABLE + 16;
    private static final Set<Integer> FIXED =
            Set.of(0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f);
    private static final long BASE_RESERVED = 0xf00;
    private static final long MASK_RESERVED = 0x7ff;
    /** The address bits of a processor whose CPUID does not report them. */
    private static final int ADDRESS_BITS = 36;

    /** No PEBS and no BTS: {@code kvm_vcpu_reset()}. */
    private static final long MISC_ENABLE_RESET = 1 << 12 | 1 << 11;

    private static final long INITIAL_PAT = 0x0007_0406_0007_0406L;
    private static final long MTRR_BITS = 0xcff;
    /** The valid memory types: 0, 1, 4, 5, 6, and in the PAT also 7. */
    private static final int MTRR_TYPES = 0b111_0011;

    private static final int PAT_TYPES = 0b1111_0011;
    private static final int BYTE = 0xff;
    /** The address bits above the sign bit, with four-level page tables. */
    private static final int CANONICAL = Long.SIZE - 48;

    private final Map<Integer, Long> values = new HashMap<>();
    private final LapicMsrs lapic;
    private final TimeStampCounter tsc;
    private final LongSupplier apicBase;

    Msrs(LapicMsrs lapic, TimeStampCounter tsc, LongSupplier apicBase) {
        this.tsc = tsc;
        this.lapic = lapic;
        this.apicBase = apicBase;
        LISTED.forEach(msr -> values.put(msr, 0L));
        OF_PROCESSOR.forEach(msr -> values.put(msr, 0L));
        FIXED.forEach(msr -> values.put(msr, 0L));
        for (int msr = VARIABLE; msr < VARIABLE_END; msr++) {
            values.put(msr, 0L);
        }
        values.put(X86Msr.PAT.number(), INITIAL_PAT);
        values.put(X86Msr.MISC_ENABLE.number(), MISC_ENABLE_RESET);
        values.put(X86Msr.MTRR_DEF_TYPE.number(), 0L);
    }

    /** Whether the vCPU has an MSR; NotModelledException for one that real kernels may have. */
    private boolean has(int number) {
        if (values.containsKey(number) || number == APIC_BASE) {
            return true;
        }
        if (LapicMsrs.covers(number)) {
            return lapic.has(number);
        }
        if (mayExist(number)) {
            throw new NotModelledException("MSR " + X86Msr.text(number));
        }
        return false;
    }

    private long get(int number) {
        if (number == APIC_BASE) {
            return apicBase.getAsLong();
        }
        if (number == DEADLINE) {
            return lapic.deadline();
        }
        if (number == X86Msr.TSC.number()) {
            return tsc.read();
        }
        if (LapicMsrs.covers(number)) {
            return lapic.get(number);
        }
        return Objects.requireNonNull(values.get(number));
    }

    /** Whether processors, KVM or Hyper-V have registers near the number. */
    private static boolean mayExist(int number) {
        return number >= 0 && number < 0x2000
                || number >>> 16 == 0xc000
                || number >>> 16 == 0xc001
                || number >>> 8 == 0x4b564d
                || number >>> 12 == 0x40000;
    }

    /** Reads entries up to the first unknown MSR; returns their number. */
    int get(Host host, ByteBuffer entries) {
        int count = entries.capacity() / Uapi.KvmMsrEntry.SIZE;
        for (int i = 0; i < count; i++) {
            int at = i * Uapi.KvmMsrEntry.SIZE;
            int number = entries.getInt(at + Uapi.KvmMsrEntry.INDEX);
            if (!has(number)) {
                host.note(VmAnswer.MSRS_STOP);
                if (host.build().isSince(6, 12) || !LapicMsrs.covers(number)) {
                    entries.putLong(at + Uapi.KvmMsrEntry.DATA, 0);
                }
                return i;
            }
            entries.putLong(at + Uapi.KvmMsrEntry.DATA, get(number));
        }
        return count;
    }

    /**
     * Reads entries up to the first MSR that does not describe the processor; returns their number.
     *
     * @throws NotModelledException for an MSR that does on some processors
     */
    static int getFeatures(Host host, ByteBuffer entries) {
        int count = entries.capacity() / Uapi.KvmMsrEntry.SIZE;
        for (int i = 0; i < count; i++) {
            int at = i * Uapi.KvmMsrEntry.SIZE;
            int number = entries.getInt(at + Uapi.KvmMsrEntry.INDEX);
            Long value = FEATURES.get(number);
            if (value == null && mayExist(number)) {
                throw new NotModelledException("MSR " + X86Msr.text(number) + " of the processor");
            }
            if (value == null) {
                host.note(VmAnswer.MSRS_STOP);
                entries.putLong(at + Uapi.KvmMsrEntry.DATA, 0);
                return i;
            }
            host.note(SetupAnswer.MSRS_OF_PROCESSOR);
            entries.putLong(at + Uapi.KvmMsrEntry.DATA, value);
        }
        return count;
    }

    /** Writes entries up to the first refused one; returns their number. NotModelledException before any is written. */
    int set(Host host, ByteBuffer entries) {
        int count = entries.capacity() / Uapi.KvmMsrEntry.SIZE;
        int done = 0;
        while (done < count && takes(host, number(entries, done), value(entries, done))) {
            done++;
        }
        if (done < count) {
            host.note(VmAnswer.MSRS_STOP);
        }
        for (int i = 0; i < done; i++) {
            put(number(entries, i), value(entries, i));
        }
        return done;
    }

    private static int number(ByteBuffer entries, int entry) {
        return entries.getInt(entry * Uapi.KvmMsrEntry.SIZE + Uapi.KvmMsrEntry.INDEX);
    }

    private static long value(ByteBuffer entries, int entry) {
        return entries.getLong(entry * Uapi.KvmMsrEntry.SIZE + Uapi.KvmMsrEntry.DATA);
    }

    private void put(int number, long value) {
        if (number == X86Msr.TSC.number()) {
            tsc.write(value);
        } else if (number == DEADLINE) {
            lapic.setDeadline(value);
        } else if (number != APIC_BASE) {
            boolean address = number == X86Msr.SYSENTER_ESP.number() || number == X86Msr.SYSENTER_EIP.number();
            values.put(number, address ? canonical(value) : value);
        }
    }

    private boolean takes(Host host, int number, long value) {
        if (!has(number)) {
            return false;
        }
        if (LapicMsrs.covers(number)) {
            throw new NotModelledException("setting MSR " + X86Msr.text(number));
        }
        if (number == DEADLINE) {
            if (value != 0) {
                tsc.checkModelled();
            }
            return true;
        }
        if (OF_PROCESSOR.contains(number) || number == APIC_BASE) {
            if (value != 0 && value != get(number) || value == 0 && number == APIC_BASE) {
                throw new NotModelledException("setting MSR " + X86Msr.text(number));
            }
            host.note(SetupAnswer.MSRS_OF_PROCESSOR);
            return true;
        }
        if (FIXED.contains(number)) {
            return areTypes(value, MTRR_TYPES);
        }
        return number >= VARIABLE && number < VARIABLE_END
                ? takesRange(number, value)
                : takes(X86Msr.of(number).orElseThrow(), value);
    }

    private static boolean takesRange(int number, long value) {
        boolean base = number % 2 == 0;
        if ((value & (base ? BASE_RESERVED : MASK_RESERVED)) != 0 || base && !isType(value & BYTE, MTRR_TYPES)) {
            return false;
        }
        if (value >>> ADDRESS_BITS != 0) {
            throw new NotModelledException("a range of memory types beyond 64 GiB");
        }
        return true;
    }

    private static long canonical(long address) {
        return address << CANONICAL >> CANONICAL;
    }

    private static boolean takes(X86Msr msr, long value) {
        return switch (msr) {
            case LSTAR, CSTAR, KERNEL_GS_BASE -> canonical(value) == value;
            case PAT -> areTypes(value, PAT_TYPES);
            case MTRR_DEF_TYPE -> (value & ~MTRR_BITS) == 0 && isType(value & BYTE, MTRR_TYPES);
            case KVM_OLD_SYSTEM_TIME, KVM_OLD_WALL_CLOCK, KVM_SYSTEM_TIME, KVM_WALL_CLOCK -> {
                if (value != 0) {
                    throw new NotModelledException("a clock of KVM");
                }
                yield true;
            }
            default -> true;
        };
    }

    private static boolean areTypes(long value, int types) {
        return IntStream.range(0, Long.BYTES).allMatch(at -> isType(value >>> at * Byte.SIZE & BYTE, types));
    }

    private static boolean isType(long type, int types) {
        return type < Byte.SIZE && (types >>> type & 1) != 0;
    }
}
