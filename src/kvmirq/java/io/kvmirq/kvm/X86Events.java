/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;
import java.util.Objects;

/**
 * Events that KVM delivers at an x86 vCPU's next guest entry: exceptions, injected interrupts, NMIs and SMIs, but not
 * interrupts pending in its LAPIC. {@link X86Vcpu#events} reads a copy, and {@link X86Vcpu#setEvents} writes one. Not
 * thread-safe.
 *
 * <p>Source: {@code struct kvm_vcpu_events} in asm/kvm.h; Documentation/virt/kvm/api.rst, KVM_GET_VCPU_EVENTS.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="debug"}
 */
public final class X86Events extends X86Fields<X86Events.Name, X86Events> {
    /** A field, 0 or 1 unless its comment gives another range or a size. */
    public enum Name {
        /** An exception is being delivered. */
        EXCEPTION_INJECTED(Uapi.KvmVcpuEvents.EXCEPTION_INJECTED, Byte.BYTES),
        /** The exception's vector, 0 to 31. */
        EXCEPTION_VECTOR(Uapi.KvmVcpuEvents.EXCEPTION_NR, Byte.BYTES),
        /** The exception has an error code. */
        EXCEPTION_HAS_ERROR_CODE(Uapi.KvmVcpuEvents.EXCEPTION_HAS_ERROR_CODE, Byte.BYTES),
        /** The error code, 32 bits. */
        EXCEPTION_ERROR_CODE(Uapi.KvmVcpuEvents.EXCEPTION_ERROR_CODE, Integer.BYTES),
        /** An interrupt is being delivered. */
        INTERRUPT_INJECTED(Uapi.KvmVcpuEvents.INTERRUPT_INJECTED, Byte.BYTES),
        /** The injected interrupt's vector, 8 bits. */
        INTERRUPT_VECTOR(Uapi.KvmVcpuEvents.INTERRUPT_NR, Byte.BYTES),
        /** An instruction raised the interrupt. KVM accepts this field but never reports it. */
        INTERRUPT_SOFT(Uapi.KvmVcpuEvents.INTERRUPT_SOFT, Byte.BYTES),
        /** Interrupts are blocked for one instruction. Bit 0 is 1 after MOV SS, bit 1 after STI. */
        SHADOW(Uapi.KvmVcpuEvents.INTERRUPT_SHADOW, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_SHADOW),
        /** An NMI is being delivered. */
        NMI_INJECTED(Uapi.KvmVcpuEvents.NMI_INJECTED, Byte.BYTES),
        /** The number of pending NMIs, 0 to 2. Linux before 6.4 reports 1 even for two NMIs. */
        NMI_PENDING(Uapi.KvmVcpuEvents.NMI_PENDING, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_NMI_PENDING),
        /** The guest is handling an NMI, so further NMIs wait. */
        NMI_MASKED(Uapi.KvmVcpuEvents.NMI_MASKED, Byte.BYTES),
        /** The SIPI vector, 32 bits. KVM accepts this field but never reports it. */
        SIPI_VECTOR(Uapi.KvmVcpuEvents.SIPI_VECTOR, Integer.BYTES, Uapi.KVM_VCPUEVENT_VALID_SIPI_VECTOR),
        /** The vCPU is in System Management Mode. */
        SMM(Uapi.KvmVcpuEvents.SMI_SMM, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_SMM),
        /** An SMI is pending. */
        SMI_PENDING(Uapi.KvmVcpuEvents.SMI_PENDING, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_SMM),
        /** The SMI came while the guest handled an NMI. */
        SMM_INSIDE_NMI(Uapi.KvmVcpuEvents.SMI_SMM_INSIDE_NMI, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_SMM),
        /** An INIT is pending; reported only with an in-kernel LAPIC. */
        INIT_LATCHED(Uapi.KvmVcpuEvents.SMI_LATCHED_INIT, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_SMM),
        /** A triple fault is pending; reported only after {@link X86Vm#reportWaitingFaults}. */
        TRIPLE_FAULT_PENDING(
                Uapi.KvmVcpuEvents.TRIPLE_FAULT_PENDING, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_TRIPLE_FAULT),
        /** An exception is pending but not yet delivered; reported only after {@link X86Vm#reportWaitingFaults}. */
        EXCEPTION_PENDING(Uapi.KvmVcpuEvents.EXCEPTION_PENDING, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD),
        /** The pending exception has a payload, see {@link #EXCEPTION_PAYLOAD}. */
        EXCEPTION_HAS_PAYLOAD(Uapi.KvmVcpuEvents.EXCEPTION_HAS_PAYLOAD, Byte.BYTES, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD),
        /** The payload of the pending exception, 64 bits: CR2 for a page fault, bits of DR6 for a debug exception. */
        EXCEPTION_PAYLOAD(Uapi.KvmVcpuEvents.EXCEPTION_PAYLOAD, Long.BYTES, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD);

        private final int offset;
        private final int bytes;
        private final int flag;

        Name(int offset, int bytes) {
            this(offset, bytes, 0);
        }

        /** @param flag the flag that makes KVM use the field, or 0 */
        Name(int offset, int bytes, int flag) {
            this.offset = offset;
            this.bytes = bytes;
            this.flag = flag;
        }
    }

    X86Events() {
        super(Uapi.KvmVcpuEvents.SIZE, Name.class, name -> name.offset, name -> name.bytes);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static X86Events fromBytes(byte[] bytes) {
        return load(new X86Events(), bytes);
    }

    @Override
    public X86Events set(Name name, long value) {
        Objects.requireNonNull(name, "name is null");
        int flags = structure.getInt(Uapi.KvmVcpuEvents.FLAGS) | name.flag;
        structure.putInt(Uapi.KvmVcpuEvents.FLAGS, flags);
        return super.set(name, value);
    }
}
