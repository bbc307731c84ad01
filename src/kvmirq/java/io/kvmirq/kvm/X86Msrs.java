/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.X86Msr;
import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;

/**
 * A copy of an x86 vCPU's MSRs, in insertion order, read by {@link X86Vcpu#msrs} and written by {@link
 * X86Vcpu#setMsrs}. Not thread-safe.
 *
 * <p>Source: {@code struct kvm_msrs} in asm/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="msrs"}
 */
public final class X86Msrs {
    private final Map<Integer, Long> values = new LinkedHashMap<>();

    /** Makes an empty copy, to which MSRs can be added. */
    public X86Msrs() {}

    /**
     * The MSRs in this host's KVM_GET_MSR_INDEX_LIST, all with value 0. {@link X86Vcpu#msrs()} reads a vCPU's MSRs.
     *
     * @throws io.kvmirq.KernelException ENOENT or EACCES if {@code /dev/kvm} cannot be opened
     * @throws UnsupportedOperationException if the kernel is not x86
     */
    public static X86Msrs ofHost(Kernel kernel) {
        Objects.requireNonNull(kernel, "kernel is null");
        X86Msrs msrs = new X86Msrs();
        ByteBuffer list = SupportedCpu.msrs(kernel);
        int count = list.getInt(Uapi.KvmMsrList.NMSRS);
        for (int i = 0; i < count; i++) {
            msrs.set(list.getInt(Uapi.KvmMsrList.SIZE + i * Integer.BYTES), 0);
        }
        return msrs;
    }

    /** Adds the entries of a {@code struct kvm_msrs}. */
    void add(ByteBuffer structure) {
        for (int i = 0; i < structure.getInt(Uapi.KvmMsrs.NMSRS); i++) {
            set(number(structure, i), structure.getLong(entry(i) + Uapi.KvmMsrEntry.DATA));
        }
    }

    static int number(ByteBuffer structure, int entry) {
        return structure.getInt(entry(entry) + Uapi.KvmMsrEntry.INDEX);
    }

    private static int entry(int number) {
        return Uapi.KvmMsrs.SIZE + number * Uapi.KvmMsrEntry.SIZE;
    }

    /** @param first the index of the first MSR in {@link #numbers} */
    ByteBuffer structure(int first, int count) {
        ByteBuffer structure = Buffers.allocate(entry(count)).putInt(Uapi.KvmMsrs.NMSRS, count);
        List<Integer> numbers = numbers();
        for (int i = 0; i < count; i++) {
            int number = numbers.get(first + i);
            structure
                    .putInt(entry(i) + Uapi.KvmMsrEntry.INDEX, number)
                    .putLong(entry(i) + Uapi.KvmMsrEntry.DATA, get(number));
        }
        return structure;
    }

    /** The MSR numbers, in insertion order. */
    public List<Integer> numbers() {
        return List.copyOf(values.keySet());
    }

    /** The value of an MSR in this copy. */
    public long get(X86Msr msr) {
        Objects.requireNonNull(msr, "msr is null");
        return get(msr.number());
    }

    /** The value of an MSR. Throws IllegalArgumentException if {@code number} is not among {@link #numbers}. */
    public long get(int number) {
        Long value = values.get(number);
        if (value == null) {
            throw new IllegalArgumentException("MSR " + X86Msr.text(number) + " is not among these " + values.size()
                    + " registers: add it with set, before X86Vcpu.msrs");
        }
        return value;
    }

    /** Sets an MSR in this copy. */
    public X86Msrs set(X86Msr msr, long value) {
        Objects.requireNonNull(msr, "msr is null");
        return set(msr.number(), value);
    }

    /** Sets an MSR in this copy. */
    public X86Msrs set(int number, long value) {
        values.put(number, value);
        return this;
    }

    /** Removes an MSR from this copy. */
    public X86Msrs remove(int number) {
        values.remove(number);
        return this;
    }

    @Override
    public String toString() {
        return values.entrySet().stream()
                .map(entry -> X86Msr.text(entry.getKey()) + "=0x" + Long.toHexString(entry.getValue()))
                .collect(Collectors.joining(" "));
    }
}
