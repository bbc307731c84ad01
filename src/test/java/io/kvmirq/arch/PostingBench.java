/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.posting.PiDescriptor;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntToLongFunction;
import java.util.function.LongSupplier;

/**
 * The cost of posting and of entries beside the same accesses by C11 atomics and the same shifts. {@code
 * make bench T=posting} runs it.
 *
 * <p>One kind of words a process, as programs have it.
 *
 * <p>The other half is {@code src/test/native/posting.c}, method for method.
 */
final class PostingBench {
    private static final int ROUNDS = 201;
    private static final int VECTORS = 256;
    private static final int IRR = PiDescriptor.WORDS;
    private static final int WORDS = PiDescriptor.WORDS + PiDescriptor.PIR_WORDS;
    private static final int LINE = 64;
    private static final int ENTRIES = 1024;
    private static final int FIELDS = 11;
    private static final int BY_ID = 1;

    private final SharedWords words;
    private final PiDescriptor pid;
    private final long[] table = new long[2 * ENTRIES];
    /** For each what a posted entry has, field by field from the lowest bit. */
    private final long[] fields = new long[FIELDS * ENTRIES];

    private final long[] encoded = new long[2 * ENTRIES];
    private final List<ByteBuffer> memories = new ArrayList<>();
    private final long inC;
    private final long tableInC;
    private final long encodedInC;
    private final long fieldsInC;

    private PostingBench() {
        words = SharedWords.of(new long[WORDS]);
        pid = PiDescriptor.over(words, 0);
        inC = address(kept(WORDS * Long.BYTES));
        ByteBuffer tableOfC = kept(table.length * Long.BYTES);
        tableInC = address(tableOfC);
        encodedInC = address(kept(table.length * Long.BYTES));
        ByteBuffer fieldsOfC = kept(fields.length * Long.BYTES);
        fieldsInC = address(fieldsOfC);
        fill();
        longs(fieldsOfC).put(fields);
        longs(tableOfC).put(table);
    }

    private static ByteBuffer aligned(int bytes) {
        return ByteBuffer.allocateDirect(bytes + 2 * LINE).alignedSlice(LINE).limit(bytes);
    }

    private static LongBuffer longs(ByteBuffer memory) {
        return memory.order(ByteOrder.nativeOrder()).asLongBuffer();
    }

    /** Memory of C's. */
    private ByteBuffer kept(int bytes) {
        ByteBuffer memory = aligned(bytes);
        memories.add(memory);
        return memory;
    }

    /** In use, the first half of remapped form, the others posted: the entries of a device lie together. */
    private void fill() {
        for (int i = 0; i < ENTRIES; i++) {
            RemappedIrte entry = new RemappedIrte(
                    Irte.PRESENT.with(1) | Irte.VECTOR.with(i & 0xff) | RemappedIrte.DESTINATION.with(i),
                    Irte.SOURCE_ID.with(i) | Irte.SOURCE_VALIDATION.with(BY_ID));
            long descriptor = (long) i << 28 | 0xfc0;
            Irte irte = i < ENTRIES / 2 ? entry : entry.posted(descriptor, new InterruptVector(i & 0xff));
            table[2 * i] = irte.low();
            table[2 * i + 1] = irte.high();
            long[] values = {1, i & 1, i & 15, 0, 1, i & 0xff, 0x3f, i, 0, BY_ID, i >> 4};
            System.arraycopy(values, 0, fields, FIELDS * i, FIELDS);
        }
    }

    private static native long address(ByteBuffer direct);

    private static native int deliverInC(long address, int count);

    private static native int deliverAndSyncInC(long address, int count);

    private static native int postInC(long address, int count);

    private static native long decodeInC(long address, int entries, int count);

    private static native long encodeAllInC(long fields, long address, int entries, int count);

    /** @param arguments the other half's absolute path, and {@code descriptor} or {@code entries} */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        PostingBench both = new PostingBench();
        Bench bench = new Bench("posting");
        bench.measure(ROUNDS, ROUNDS, arguments[1].equals("entries") ? both.entries() : both.descriptor());
    }

    private List<Row> descriptor() {
        return List.of(
                row("deliver, bit clear", 1.10, VECTORS, this::deliver, count -> deliverInC(inC, count)),
                row("deliver and sync", 1.10, 1, this::deliverAndSync, count -> deliverAndSyncInC(inC, count)),
                row("post, as a unit", 1.10, VECTORS, this::post, count -> postInC(inC, count)));
    }

    private List<Row> entries() {
        return List.of(
                row(
                        "decode all, by accessors",
                        1.05,
                        ENTRIES,
                        count -> passes(count, ENTRIES, () -> decode(table)),
                        count -> decodeInC(tableInC, ENTRIES, count)),
                row(
                        "encode all, field by field",
                        1.10,
                        ENTRIES,
                        count -> passes(count, ENTRIES, () -> encodeAll(fields, encoded)),
                        count -> encodeAllInC(fieldsInC, encodedInC, ENTRIES, count)));
    }

    private static Row row(String title, double max, int unit, IntToLongFunction ours, IntToLongFunction theirs) {
        return Row.of("Java / C: " + title, max, unit, ours, theirs);
    }

    private int deliver(int count) {
        int wrong = 0;
        for (int i = 0; i < count; i += VECTORS) {
            for (int vector = 0; vector < VECTORS; vector++) {
                wrong += pid.deliver(vector) == (vector == 0) ? 0 : 1;
            }
            pid.discard();
        }
        return wrong;
    }

    private int deliverAndSync(int count) {
        int wrong = 0;
        for (int i = 0; i < count; i++) {
            wrong += pid.deliver(i & VECTORS - 1) ? 0 : 1;
            wrong += pid.sync(words, IRR) ? 0 : 1;
        }
        return wrong;
    }

    private int post(int count) {
        int wrong = 0;
        for (int i = 0; i < count; i += VECTORS) {
            for (int vector = 0; vector < VECTORS; vector++) {
                wrong += (pid.post(vector, false) != 0) == (vector == 0) ? 0 : 1;
            }
            pid.discard();
        }
        return wrong;
    }

    /** The sum of passes over a whole table, as many as make the count. */
    private static long passes(int count, int entries, LongSupplier pass) {
        long sum = 0;
        for (int i = 0; i < count; i += entries) {
            sum += pass.getAsLong();
        }
        return sum;
    }

    private static long decode(long[] table) {
        long sum = 0;
        for (int i = 0; i < table.length; i += 2) {
            sum += decode(table[i], table[i + 1]);
        }
        return sum;
    }

    private static long decode(long low, long high) {
        long sum = Irte.PRESENT.of(low)
                + Irte.FAULT_DISABLED.of(low)
                + Irte.AVAILABLE.of(low)
                + Irte.POSTED.of(low)
                + Irte.VECTOR.of(low)
                + Irte.SOURCE_ID.of(high)
                + Irte.SOURCE_QUALIFIER.of(high)
                + Irte.SOURCE_VALIDATION.of(high);
        if (Irte.POSTED.isSet(low)) {
            return sum + PostedIrte.URGENT.of(low) + Irte.descriptorAddress(low, high);
        }
        return sum
                + RemappedIrte.LOGICAL.of(low)
                + RemappedIrte.HINT.of(low)
                + RemappedIrte.LEVEL.of(low)
                + RemappedIrte.MODE.of(low)
                + RemappedIrte.DESTINATION.of(low);
    }

    private static long encodeAll(long[] fields, long[] encoded) {
        long sum = 0;
        for (int i = 0; i < ENTRIES; i++) {
            int at = FIELDS * i;
            long low = Irte.PRESENT.with(fields[at])
                    | Irte.FAULT_DISABLED.with(fields[at + 1])
                    | Irte.AVAILABLE.with(fields[at + 2])
                    | PostedIrte.URGENT.with(fields[at + 3])
                    | Irte.POSTED.with(fields[at + 4])
                    | Irte.VECTOR.with(fields[at + 5])
                    | PostedIrte.ADDRESS_LOW.with(fields[at + 6]);
            long high = Irte.SOURCE_ID.with(fields[at + 7])
                    | Irte.SOURCE_QUALIFIER.with(fields[at + 8])
                    | Irte.SOURCE_VALIDATION.with(fields[at + 9])
                    | PostedIrte.ADDRESS_HIGH.with(fields[at + 10]);
            encoded[2 * i] = low;
            encoded[2 * i + 1] = high;
            sum += low ^ high;
        }
        return sum;
    }
}
