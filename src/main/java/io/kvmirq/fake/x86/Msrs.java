/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.X86Msr;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * The model specific registers of a vCPU that VMMs set up: they are kept, and no guest of the fake sees them. Source: {@code
 * kvm_set_msr_common()} and {@code __kvm_set_msr()} in arch/x86/kvm/x86.c.
 */
final class Msrs {
    /** MAX_IO_MSRS; one fewer is the most. */
    static final int TOO_MANY = 256;

    /** The fake's part of {@code msrs_to_save}, in the order of the kernel. */
    static final List<X86Msr> LISTED = List.of(
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
            X86Msr.MISC_ENABLE,
            X86Msr.UCODE_REV);

    /** No PEBS and no BTS: {@code kvm_vcpu_reset()}. */
    private static final long MISC_ENABLE_RESET = 1 << 12 | 1 << 11;

    private static final long INITIAL_PAT = 0x0007_0406_0007_0406L;
    private static final long MTRR_BITS = 0xcff;
    /** Memory types 0, 1, 4, 5, 6; of the PAT also 7. */
    private static final int MTRR_TYPES = 0b111_0011;

    private static final int PAT_TYPES = 0b1111_0011;
    private static final int BYTE = 0xff;
    /** The bits of an address above the sign bit, where pages have four levels. */
    private static final int CANONICAL = Long.SIZE - 48;

    private final Map<X86Msr, Long> values = new EnumMap<>(X86Msr.class);

    Msrs() {
        LISTED.forEach(msr -> values.put(msr, 0L));
        values.put(X86Msr.PAT, INITIAL_PAT);
        values.put(X86Msr.MISC_ENABLE, MISC_ENABLE_RESET);
        values.put(X86Msr.MTRR_DEF_TYPE, 0L);
    }

    /** @throws NotModelledException for one that real kernels may have */
    private Optional<X86Msr> find(int number) {
        Optional<X86Msr> known = X86Msr.of(number);
        if (known.isPresent() ? !values.containsKey(known.get()) : mayExist(number)) {
            throw new NotModelledException("MSR " + X86Msr.text(number));
        }
        return known;
    }

    /** Whether processors, KVM or Hyper-V have registers near the number. */
    private static boolean mayExist(int number) {
        return number >= 0 && number < 0x2000
                || number >>> 16 == 0xc000
                || number >>> 16 == 0xc001
                || number >>> 8 == 0x4b564d
                || number >>> 12 == 0x40000;
    }

    /** How many of the entries were read, to the first unknown one. */
    int get(Host host, ByteBuffer entries) {
        int count = entries.capacity() / Uapi.KvmMsrEntry.SIZE;
        for (int i = 0; i < count; i++) {
            int at = i * Uapi.KvmMsrEntry.SIZE;
            Optional<X86Msr> msr = find(entries.getInt(at + Uapi.KvmMsrEntry.INDEX));
            if (msr.isEmpty()) {
                host.note(VmAnswer.MSRS_STOP);
                return i;
            }
            entries.putLong(at + Uapi.KvmMsrEntry.DATA, Objects.requireNonNull(values.get(msr.get())));
        }
        return count;
    }

    /**
     * How many of the entries were written, to the first refused one.
     *
     * @throws NotModelledException before any is written
     */
    int set(Host host, ByteBuffer entries) {
        X86Msr[] msrs = new X86Msr[entries.capacity() / Uapi.KvmMsrEntry.SIZE];
        int done = 0;
        while (done < msrs.length) {
            int at = done * Uapi.KvmMsrEntry.SIZE;
            Optional<X86Msr> msr = find(entries.getInt(at + Uapi.KvmMsrEntry.INDEX));
            if (msr.isEmpty() || !takes(msr.get(), entries.getLong(at + Uapi.KvmMsrEntry.DATA))) {
                host.note(VmAnswer.MSRS_STOP);
                break;
            }
            msrs[done++] = msr.get();
        }
        for (int i = 0; i < done; i++) {
            long value = entries.getLong(i * Uapi.KvmMsrEntry.SIZE + Uapi.KvmMsrEntry.DATA);
            boolean address = msrs[i] == X86Msr.SYSENTER_ESP || msrs[i] == X86Msr.SYSENTER_EIP;
            values.put(msrs[i], address ? canonical(value) : value);
        }
        return done;
    }

    private static long canonical(long address) {
        return address << CANONICAL >> CANONICAL;
    }

    private static boolean takes(X86Msr msr, long value) {
        return switch (msr) {
            case LSTAR, CSTAR, KERNEL_GS_BASE -> canonical(value) == value;
            case PAT ->
                Arrays.stream(new int[] {0, 8, 16, 24, 32, 40, 48, 56})
                        .allMatch(at -> isType(value >>> at & BYTE, PAT_TYPES));
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

    private static boolean isType(long type, int types) {
        return type < Byte.SIZE && (types >>> type & 1) != 0;
    }
}
