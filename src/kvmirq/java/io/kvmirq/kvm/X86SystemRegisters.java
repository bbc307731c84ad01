/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;
import java.util.Objects;

/**
 * A copy of an x86 vCPU's segment and control registers, read by {@link X86Vcpu#systemRegisters} and written by {@link
 * X86Vcpu#setSystemRegisters}. Not thread-safe.
 *
 * <p>Source: {@code struct kvm_sregs} in asm/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="system"}
 */
public final class X86SystemRegisters extends X86Fields<X86SystemRegisters.Name, X86SystemRegisters> {
    /** A segment register. */
    public enum Segment {
        /** Code segment. */
        CS(0),
        /** Data segment. */
        DS(24),
        /** Extra segment. */
        ES(48),
        /** Extra segment register, usually with a base per thread. */
        FS(72),
        /** Extra segment register, usually with a base per processor in a guest kernel. */
        GS(96),
        /** Stack segment. */
        SS(120),
        /** Task register. */
        TR(144),
        /** Local descriptor table. */
        LDT(168);

        private final int offset;

        Segment(int offset) {
            this.offset = offset;
        }
    }

    /** A 64-bit control register, EFER, or the LAPIC base address. */
    public enum Name {
        /** Control register 0: bit 0 enables protected mode, bit 31 enables paging. */
        CR0(Uapi.KvmSregs.CR0),
        /** Address of the last page fault. */
        CR2(Uapi.KvmSregs.CR2),
        /** Physical address of the page tables. */
        CR3(Uapi.KvmSregs.CR3),
        /** Control register 4: bit 5 enables physical address extension. */
        CR4(Uapi.KvmSregs.CR4),
        /** The task priority. */
        CR8(Uapi.KvmSregs.CR8),
        /** IA32_EFER: bit 8 enables long mode, bit 10 is 1 in long mode. */
        EFER(Uapi.KvmSregs.EFER),
        /** IA32_APIC_BASE. */
        APIC_BASE(Uapi.KvmSregs.APIC_BASE);

        private final int offset;

        Name(int offset) {
            this.offset = offset;
        }
    }

    X86SystemRegisters() {
        super(Uapi.KvmSregs.SIZE, Name.class, name -> name.offset, name -> Long.BYTES);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static X86SystemRegisters fromBytes(byte[] bytes) {
        return load(new X86SystemRegisters(), bytes);
    }

    @Override
    String describe(int offset) {
        for (Segment name : Segment.values()) {
            if (offset >= name.offset && offset < name.offset + Uapi.KvmSegment.SIZE) {
                return name + " " + segment(name);
            }
        }
        return super.describe(offset);
    }

    /** The value of a segment register in this copy. */
    public X86Segment segment(Segment name) {
        Objects.requireNonNull(name, "name is null");
        return X86Segment.read(structure, name.offset);
    }

    /** Sets a segment register in this copy. */
    public X86SystemRegisters setSegment(Segment name, X86Segment segment) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(segment, "segment is null");
        segment.write(structure, name.offset);
        return this;
    }

    /** Sets the GDT base and limit in this copy. */
    public X86SystemRegisters setGdt(long base, int limit) {
        structure.putLong(Uapi.KvmSregs.GDT_BASE, base).putShort(Uapi.KvmSregs.GDT_LIMIT, (short) limit);
        return this;
    }

    /** Sets the IDT base and limit in this copy. */
    public X86SystemRegisters setIdt(long base, int limit) {
        structure.putLong(Uapi.KvmSregs.IDT_BASE, base).putShort(Uapi.KvmSregs.IDT_LIMIT, (short) limit);
        return this;
    }
}
