/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.X86Msr;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import java.util.function.ToIntFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The model specific registers of a vCPU that VMMs set up. They are stored; guests of the fake cannot read them.
 * Source: {@code kvm_set_msr_common()} and {@code __kvm_set_msr()} in arch/x86/kvm/x86.c.
 */
final class Msrs {
    /** MAX_IO_MSRS. A call may have one fewer. */
    private static final int TOO_MANY = 256;

    private static final int TSC = 0x10;
    private static final int APIC_BASE = 0x1b;
    private static final int SYSENTER_CS = 0x174;
    private static final int SYSENTER_ESP = 0x175;
    private static final int SYSENTER_EIP = 0x176;
    private static final int DEADLINE = 0x6e0;

    /** The fake's part of {@code msrs_to_save}, in the order of the kernel. */
    private static final List<Integer> LISTED = numbers(
            "174 175 176 c0000081 c0000083 c0000102 c0000084 c0000082 10 277 12 11 4b564d01 4b564d00 6e0 1a0 8b");

    /** The MSRs of VMX in {@code emulated_msrs_all}, in the order of the kernel. */
    private static final List<Integer> LISTED_OF_VMX = numbers("480 48d 48e 48f 490 485 486 488 48a 48b 48c 491");

    private static final int FIRST_OF_VMX = 0x480;
    private static final int LAST_OF_VMX = 0x491;

    /** MSRs of the processor, or of features that are not modelled. A VMM reads 0, and may write 0. */
    private static final List<Integer> OF_PROCESSOR =
            numbers("34 3b 48 10a 122 4b564d02 4b564d03 4b564d04 c0010117 c001011f");

    private static final long NO_PEBS_NO_BTS = 1 << 12 | 1 << 11;
    private static final long INITIAL_PAT = 0x0007_0406_0007_0406L;
    private static final long MTRR_BITS = 0xcff;
    /** The valid memory types: 0, 1, 4, 5, 6, and in the PAT also 7. */
    private static final int MTRR_TYPES = 0b111_0011;

    private static final int PAT_TYPES = 0b1111_0011;
    private static final int BYTE = 0xff;
    /** The address bits above the sign bit, with four-level page tables. */
    private static final int CANONICAL_SHIFT = Long.SIZE - 48;

    private final KernelOfFile host;
    private final Map<Integer, Long> values = new HashMap<>();
    private final LapicMsrs lapic;
    private final TimeStampCounter tsc;
    private final LongSupplier apicBase;

    Msrs(KernelOfFile host, LapicMsrs lapic, TimeStampCounter tsc, LongSupplier apicBase) {
        this.host = host;
        this.tsc = tsc;
        this.lapic = lapic;
        this.apicBase = apicBase;
    }

    private static List<Integer> numbers(String hex) {
        return Arrays.stream(hex.split(" "))
                .map(number -> Integer.parseUnsignedInt(number, 16))
                .toList();
    }

    /** The MSRs of {@code KVM_GET_MSR_INDEX_LIST}. kvm_intel adds some of VMX, which only a vCPU with VMX has. */
    static List<Integer> listed(KernelOfFile host) {
        return host.build().hardware().isIntel()
                ? Stream.concat(LISTED.stream(), LISTED_OF_VMX.stream()).toList()
                : LISTED;
    }

    private boolean isOfVmx(int number) {
        return host.build().hardware().isIntel() && number >= FIRST_OF_VMX && number <= LAST_OF_VMX;
    }

    /** Whether a vCPU keeps the MSR. */
    private static boolean isKept(int number) {
        return LISTED.contains(number) || OF_PROCESSOR.contains(number) || number == X86Msr.MTRR_DEF_TYPE.number();
    }

    private static long initial(int number) {
        return number == X86Msr.PAT.number() ? INITIAL_PAT : number == X86Msr.MISC_ENABLE.number() ? NO_PEBS_NO_BTS : 0;
    }

    // Requests

    /** Reads entries up to the first unknown MSR; returns their number. */
    int get(ByteBuffer header, long address) {
        return withEntries(header, address, entries -> {
            int at = 0;
            while (at < entries.capacity()) {
                int number = number(entries, at);
                Long value = value(number);
                boolean clears = host.build().isSince(6, 12) || !isOfVmx(number) && !LapicMsrs.covers(number);
                if (value != null || clears) {
                    entries.putLong(at + Uapi.KvmMsrEntry.DATA, value == null ? 0 : value);
                }
                if (value == null) {
                    host.note(VmAnswer.MSRS_STOP);
                    break;
                }
                at += Uapi.KvmMsrEntry.SIZE;
            }
            int copied = host.copyOut(address + Uapi.KvmMsrs.SIZE, entries, entries.capacity());
            return copied < 0 ? copied : at / Uapi.KvmMsrEntry.SIZE;
        });
    }

    /** Writes entries up to the first refused one; returns their number. NotModelledException before any is written. */
    int set(ByteBuffer header, long address) {
        return withEntries(header, address, entries -> {
            int end = 0;
            while (end < entries.capacity() && takes(number(entries, end), value(entries, end))) {
                end += Uapi.KvmMsrEntry.SIZE;
            }
            if (end < entries.capacity()) {
                host.note(VmAnswer.MSRS_STOP);
            }
            for (int at = 0; at < end; at += Uapi.KvmMsrEntry.SIZE) {
                put(number(entries, at), value(entries, at));
            }
            return end / Uapi.KvmMsrEntry.SIZE;
        });
    }

    private int withEntries(ByteBuffer header, long address, ToIntFunction<ByteBuffer> answer) {
        int count = header.getInt(Uapi.KvmMsrs.NMSRS);
        return Integer.compareUnsigned(count, TOO_MANY) >= 0
                ? host.refuse(VmAnswer.MSRS_MANY)
                : host.copied(address + Uapi.KvmMsrs.SIZE, count * Uapi.KvmMsrEntry.SIZE, answer);
    }

    private static int number(ByteBuffer entries, int at) {
        return entries.getInt(at + Uapi.KvmMsrEntry.INDEX);
    }

    private static long value(ByteBuffer entries, int at) {
        return entries.getLong(at + Uapi.KvmMsrEntry.DATA);
    }

    // Values

    /** The value of an MSR; null if there is none. NotModelledException for one that real kernels may have. */
    private @Nullable Long value(int number) {
        if (number == APIC_BASE) {
            return apicBase.getAsLong();
        }
        if (LapicMsrs.covers(number)) {
            return lapic.has(number) ? lapic.get(number) : null;
        }
        if (!isKept(number)) {
            if (!isOfVmx(number)) {
                refuseIfAnyHas(number);
            }
            return null;
        }
        return switch (number) {
            case TSC -> tsc.read();
            case DEADLINE -> lapic.deadline();
            default -> values.getOrDefault(number, initial(number));
        };
    }

    /** @throws NotModelledException if processors, KVM or Hyper-V have registers near the number */
    private static void refuseIfAnyHas(int number) {
        if (number >= 0 && number < 0x2000
                || number >>> 16 == 0xc000
                || number >>> 16 == 0xc001
                || number >>> 8 == 0x4b564d
                || number >>> 12 == 0x40000) {
            throw new NotModelledException("MSR " + X86Msr.text(number));
        }
    }

    private void put(int number, long value) {
        switch (number) {
            case TSC -> tsc.write(value);
            case DEADLINE -> lapic.setDeadline(value);
            case SYSENTER_ESP, SYSENTER_EIP -> values.put(number, canonical(value));
            // The VMCS has 32 bits for it, the VMCB 64.
            case SYSENTER_CS ->
                values.put(number, host.build().hardware().isIntel() ? Integer.toUnsignedLong((int) value) : value);
            default -> values.put(number, value);
        }
    }

    private boolean takes(int number, long value) {
        boolean ofLapic = LapicMsrs.covers(number);
        if (ofLapic ? !lapic.has(number) : value(number) == null) {
            return false;
        }
        boolean ofProcessor = OF_PROCESSOR.contains(number) || number == APIC_BASE;
        if (ofLapic || ofProcessor && value != (number == APIC_BASE ? apicBase.getAsLong() : 0)) {
            throw new NotModelledException("setting MSR " + X86Msr.text(number));
        }
        if (ofProcessor) {
            host.note(SetupAnswer.MSRS_OF_PROCESSOR);
            return true;
        }
        if (number == DEADLINE && value != 0) {
            tsc.checkModelled();
        }
        return switch (X86Msr.of(number).orElseThrow()) {
            case LSTAR, CSTAR, KERNEL_GS_BASE -> canonical(value) == value;
            case PAT ->
                IntStream.range(0, Long.BYTES).allMatch(at -> isType(value >>> at * Byte.SIZE & BYTE, PAT_TYPES));
            case MTRR_DEF_TYPE -> (value & ~MTRR_BITS) == 0 && isType(value & BYTE, MTRR_TYPES);
            case KVM_OLD_SYSTEM_TIME, KVM_OLD_WALL_CLOCK, KVM_SYSTEM_TIME, KVM_WALL_CLOCK -> isModelled(value == 0);
            default -> true;
        };
    }

    private static boolean isModelled(boolean modelled) {
        if (!modelled) {
            throw new NotModelledException("a clock of KVM");
        }
        return true;
    }

    private static long canonical(long address) {
        return address << CANONICAL_SHIFT >> CANONICAL_SHIFT;
    }

    private static boolean isType(long type, int types) {
        return type < Byte.SIZE && (types >>> type & 1) != 0;
    }
}
