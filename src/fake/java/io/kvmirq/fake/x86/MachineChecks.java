/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * The machine check registers of a vCPU. Source: {@code kvm_vcpu_ioctl_x86_setup_mce()}, {@code set_msr_mce()} and {@code
 * kvm_vcpu_ioctl_x86_set_mce()} in arch/x86/kvm/x86.c.
 */
final class MachineChecks {
    /** {@code kvm_caps.supported_mce_cap}: MCG_CTL_P and MCG_SER_P; Intel has MCG_LMCE_P too. */
    static final long SUPPORTED = 1 << 8 | 1 << 24;

    private static final int MOST_BANKS = 32;
    private static final long CONTROL_PRESENT = 1 << 8;
    private static final long COUNTS = 0xff00ff;
    private static final int CAP = 0x179;
    private static final int STATUS = 0x17a;
    private static final int CONTROL = 0x17b;
    private static final int CONTROL2 = 0x280;
    private static final int BANKS = 0x400;
    /** The registers of each bank: control, status, address and misc. */
    private static final int REGISTERS = 4;

    private static final long ALL = -1;
    /** The bits of a bank's control that may be 0: Linux and Windows clear them. */
    private static final long MAY_BE_CLEAR = 1 << 10 | 1;

    private static final long VALID = 1L << 63;
    private static final long OVERFLOW = 1L << 62;
    private static final long UNCORRECTED = 1L << 61;

    private long cap = MOST_BANKS;
    private long status;
    private long control;
    private final long[] banks = new long[MOST_BANKS * REGISTERS];

    private int count() {
        return (int) cap & 0xff;
    }

    /** The rule that refuses KVM_X86_SETUP_MCE; empty for none. */
    Optional<Answer> setUp(long wanted) {
        int wantedBanks = (int) wanted & 0xff;
        if (wantedBanks == 0 || wantedBanks > MOST_BANKS) {
            return Optional.of(SetupAnswer.MCE_BANKS);
        }
        if ((wanted & ~(SUPPORTED | COUNTS)) != 0) {
            return Optional.of(SetupAnswer.MCE_CAPABILITIES);
        }
        cap = wanted;
        if ((cap & CONTROL_PRESENT) != 0) {
            control = ALL;
        }
        for (int bank = 0; bank < count(); bank++) {
            banks[bank * REGISTERS] = ALL;
        }
        return Optional.empty();
    }

    /** KVM_X86_SET_MCE with a corrected error; the rule that refuses it, or empty. */
    Optional<Answer> set(ByteBuffer mce) {
        int bank = mce.get(Uapi.KvmX86Mce.BANK) & 0xff;
        long next = mce.getLong(Uapi.KvmX86Mce.STATUS);
        if (bank >= count() || (next & VALID) == 0) {
            return Optional.of(SetupAnswer.MCE_NO_BANK);
        }
        if ((next & UNCORRECTED) != 0) {
            throw new NotModelledException("a machine check exception");
        }
        int at = bank * REGISTERS + 1;
        if ((banks[at] & (VALID | UNCORRECTED)) == (VALID | UNCORRECTED)) {
            banks[at] |= OVERFLOW;
        } else {
            banks[at] = next | ((banks[at] & VALID) == 0 ? 0 : OVERFLOW);
            banks[at + 1] = mce.getLong(Uapi.KvmX86Mce.ADDR);
            banks[at + 2] = mce.getLong(Uapi.KvmX86Mce.MISC);
        }
        return Optional.empty();
    }

    // MSRs

    boolean has(int msr) {
        return msr >= CAP && msr <= CONTROL
                || msr >= BANKS && msr < BANKS + count() * REGISTERS
                || msr >= CONTROL2 && msr < CONTROL2 + count();
    }

    /** Whether KVM has the register for a vCPU with more banks. */
    static boolean isBeyond(int msr) {
        return msr >= BANKS && msr < BANKS + MOST_BANKS * REGISTERS || msr >= CONTROL2 && msr < CONTROL2 + MOST_BANKS;
    }

    long get(int msr) {
        return switch (msr) {
            case CAP -> cap;
            case STATUS -> status;
            case CONTROL -> control;
            default -> msr >= BANKS ? banks[msr - BANKS] : 0;
        };
    }

    /** Whether a VMM can write the value to the register. */
    boolean takes(int msr, long value) {
        if (msr == CAP) {
            return false;
        }
        if (msr == CONTROL) {
            return value == 0 || value == ALL && (cap & CONTROL_PRESENT) != 0;
        }
        boolean ofBank = msr >= BANKS && (msr - BANKS) % REGISTERS == 0;
        return ofBank ? value == 0 || (value | MAY_BE_CLEAR) == ALL : msr == STATUS || msr >= BANKS || value == 0;
    }

    void put(int msr, long value) {
        switch (msr) {
            case STATUS -> status = value;
            case CONTROL -> control = value;
            default -> {
                if (msr >= BANKS) {
                    banks[msr - BANKS] = value;
                }
            }
        }
    }
}
