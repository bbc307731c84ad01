/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.nio.ByteBuffer;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** The kernel's structures, filled as by an initialiser of C: values in the order of the fields, the others 0. */
public final class Structs {
    private Structs() {}

    /** @param tag as C has it, without {@code struct} */
    public static ByteBuffer of(String tag, long... values) {
        return put(Buffers.allocate(UapiTable.struct(tag).size()), 0, tag, values);
    }

    /** {@code struct kvm_msrs} with its entries: each a number and a value. */
    public static ByteBuffer msrs(long... numbersAndValues) {
        int count = numbersAndValues.length / 2;
        ByteBuffer msrs = Buffers.allocate(Uapi.KvmMsrs.SIZE + count * Uapi.KvmMsrEntry.SIZE)
                .putInt(Uapi.KvmMsrs.NMSRS, count);
        for (int i = 0; i < count; i++) {
            int at = Uapi.KvmMsrs.SIZE + i * Uapi.KvmMsrEntry.SIZE;
            msrs.putInt(at, (int) numbersAndValues[2 * i])
                    .putLong(at + Uapi.KvmMsrEntry.DATA, numbersAndValues[2 * i + 1]);
        }
        return msrs;
    }

    /** {@code struct kvm_cpuid2} with its entries. */
    public static ByteBuffer cpuid(int[]... leaves) {
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + leaves.length * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, leaves.length);
        for (int i = 0; i < leaves.length; i++) {
            int at = Uapi.KvmCpuid2.SIZE + i * Uapi.KvmCpuidEntry2.SIZE;
            cpuid.putInt(at + Uapi.KvmCpuidEntry2.FUNCTION, leaves[i][0]);
            for (int register = 1; register < leaves[i].length; register++) {
                cpuid.putInt(at + Uapi.KvmCpuidEntry2.EAX + (register - 1) * Integer.BYTES, leaves[i][register]);
            }
        }
        return cpuid;
    }

    /** A CPUID leaf: EAX, EBX, ECX and EDX; registers that are not given are 0. */
    public static int[] leaf(int number, int... registers) {
        return IntStream.concat(IntStream.of(number), IntStream.of(registers)).toArray();
    }

    /** Fills a structure at a place of memory. Of fields that share their bytes one counts. */
    public static ByteBuffer put(ByteBuffer memory, int at, String tag, long... values) {
        int[] next = {0};
        UapiTable.struct(tag).fields().stream()
                .collect(Collectors.toMap(UapiTable.Field::offset, UapiTable.Field::size, Math::max, TreeMap::new))
                .forEach((offset, size) -> {
                    if (next[0] < values.length) {
                        put(memory, at + offset, size, values[next[0]++]);
                    }
                });
        if (next[0] < values.length) {
            throw new IllegalArgumentException(values.length + " values for " + tag + ": it has " + next[0]);
        }
        return memory;
    }

    private static void put(ByteBuffer memory, int at, int size, long value) {
        switch (size) {
            case Byte.BYTES -> memory.put(at, (byte) value);
            case Short.BYTES -> memory.putShort(at, (short) value);
            case Integer.BYTES -> memory.putInt(at, (int) value);
            default -> memory.putLong(at, value);
        }
    }
}
