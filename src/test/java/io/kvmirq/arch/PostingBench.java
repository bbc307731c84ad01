/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.posting.PiDescriptor;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;

/**
 * The cost of posting and of entries beside the same accesses by C11 atomics and the same shifts: in one process, in
 * batches of half a millisecond that take turns. {@code make bench T=posting} runs it.
 *
 * <p>One kind of words a process, as programs have it.
 *
 * <p>The other half is {@code src/test/native/posting.c}, method for method.
 */
final class PostingBench {
    private static final int ROUNDS = 201;
    private static final int WARM_UP_ROUNDS = 200;
    private static final int PROBED = 1 << 14;
    private static final double BATCH_NANOS = 500_000;

    private static final int VECTORS = 256;
    private static final int SPREAD = 32;
    private static final int EIGHT = 8;
    private static final int IRR = PiDescriptor.WORDS;
    private static final int WORDS = PiDescriptor.WORDS + PiDescriptor.PIR_WORDS;
    private static final int LINE = 64;
    private static final int ENTRIES = 1024;
    private static final int AMD_ENTRIES = 2048;
    private static final int FIELDS = 11;
    private static final int BY_ID = 1;

    private enum Op {
        DELIVER("deliver, bit clear", Goal.atMost(1.10)),
        REDELIVER("deliver, bit set", Goal.atMost(1.25)),
        DELIVER_AND_SYNC("deliver and sync", Goal.atMost(1.10)),
        EIGHT_AND_SYNC("8 deliver and sync, each", Goal.atMost(1.10)),
        POST("post, as a unit", Goal.atMost(1.10)),
        DECODE("decode all, by accessors", Goal.atMost(1.05)),
        SCAN("vector, source, target", Goal.atMost(1.05)),
        SCAN_AMD("2048 AMD entries, all", Goal.atMost(1.05)),
        DECODE_RECORD("decode to records", Goal.none()),
        ENCODE_ALL("encode all, field by field", Goal.atMost(1.10)),
        ENCODE("posted words at once", Goal.atMost(1.05)),
        ENCODE_RECORD("encode from records", Goal.none());

        private final String title;
        /** None of records, which are for users of single entries. */
        private final Goal goal;

        Op(String title, Goal goal) {
            this.title = title;
            this.goal = goal;
        }

        boolean isOfEntries() {
            return EnumSet.range(DECODE, ENCODE_RECORD).contains(this);
        }
    }

    private final Bench bench = new Bench("posting");
    private final Op[] ops;
    /** How many operations make a batch. */
    private final Map<Op, Integer> batches = new EnumMap<>(Op.class);

    private final SharedWords words;
    private final PiDescriptor pid;
    private final long[] table = new long[2 * ENTRIES];
    /** The first half remapped, the others in guest mode. */
    private final long[] amdTable = new long[2 * AMD_ENTRIES];
    /** For each a descriptor's address, and a requester's id above 8 bits of vector. */
    private final long[] sources = new long[2 * ENTRIES];

    /** For each what a posted entry has, field by field from the lowest bit. */
    private final long[] fields = new long[FIELDS * ENTRIES];

    private final long[] encoded = new long[2 * ENTRIES];
    private final List<ByteBuffer> memories = new ArrayList<>();
    private final long inC;
    private final long tableInC;
    private final long amdTableInC;
    private final long sourcesInC;
    private final long encodedInC;
    private final long fieldsInC;

    private PostingBench(String kind) {
        ops = Arrays.stream(Op.values())
                .filter(op -> op.isOfEntries() == kind.equals("entries"))
                .toArray(Op[]::new);
        words = SharedWords.of(new long[WORDS]);
        pid = PiDescriptor.over(words, 0);
        inC = address(kept(WORDS * Long.BYTES));
        ByteBuffer tableOfC = kept(table.length * Long.BYTES);
        tableInC = address(tableOfC);
        encodedInC = address(kept(table.length * Long.BYTES));
        ByteBuffer amdTableOfC = kept(amdTable.length * Long.BYTES);
        amdTableInC = address(amdTableOfC);
        ByteBuffer sourcesOfC = kept(sources.length * Long.BYTES);
        sourcesInC = address(sourcesOfC);
        ByteBuffer fieldsOfC = kept(fields.length * Long.BYTES);
        fieldsInC = address(fieldsOfC);
        fill();
        longs(fieldsOfC).put(fields);
        longs(tableOfC).put(table);
        longs(amdTableOfC).put(amdTable);
        longs(sourcesOfC).put(sources);
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
            sources[2 * i] = descriptor;
            sources[2 * i + 1] = (long) i << 8 | i & 0xff;
            long[] values = {1, i & 1, i & 15, 0, 1, i & 0xff, 0x3f, i, 0, BY_ID, i >> 4};
            System.arraycopy(values, 0, fields, FIELDS * i, FIELDS);
        }
        for (int i = 0; i < AMD_ENTRIES; i++) {
            boolean guest = i >= AMD_ENTRIES / 2;
            amdTable[2 * i] = guest
                    ? GaIrte.guestLow(i, (i & 1) != 0) | GaIrte.IS_RUN.with(i >> 1 & 1) | GaIrte.DESTINATION_LOW.with(i)
                    : LegacyIrte.VALID.mask() | LegacyIrte.INT_TYPE.with(i & 1) | GaIrte.DESTINATION_LOW.with(i);
            amdTable[2 * i + 1] = guest
                    ? GaIrte.guestHigh((long) i << 28, i & 0xff) | GaIrte.DESTINATION_HIGH.with(i & 0xff)
                    : GaIrte.VECTOR.with(i & 0xff);
        }
    }

    private static native long address(ByteBuffer direct);

    private static native int deliverInC(long address, int count);

    private static native int redeliverInC(long address, int count);

    private static native int deliverAndSyncInC(long address, int count);

    private static native int deliverEightAndSyncInC(long address, int count);

    private static native int postInC(long address, int count);

    private static native long scanInC(long address, int entries, int count);

    private static native long scanAmdInC(long address, int entries, int count);

    private static native long decodeInC(long address, int entries, int count);

    private static native long encodeAllInC(long fields, long address, int entries, int count);

    private static native long encodeInC(long sources, long address, int entries, int count);

    /** @param arguments {@code array} or {@code entries}, and the twin's absolute path */
    public static void main(String[] arguments) {
        System.load(arguments[1]);
        new PostingBench(arguments[0]).run();
    }

    private void run() {
        for (Op op : ops) {
            batches.put(op, PROBED);
            inC(op);
            int fitting = (int) (BATCH_NANOS / inC(op));
            batches.put(op, Math.max(1, fitting / ENTRIES) * ENTRIES);
        }
        Rounds.of(ops, bench.warmUp(WARM_UP_ROUNDS), this::inJava, this::inC);
        bench.measure(ops, ROUNDS, this::inJava, this::inC, op -> new Bench.Title("Java / C: " + op.title, op.goal));
    }

    private double inJava(Op op) {
        int count = batches.getOrDefault(op, PROBED);
        long expected = op.isOfEntries() ? c(op, count) : 0;
        long start = System.nanoTime();
        long answer = java(op, count);
        long nanos = System.nanoTime() - start;
        if (answer != expected) {
            throw new IllegalStateException(op + " answers " + answer + " in Java, expected " + expected);
        }
        return (double) nanos / count;
    }

    private double inC(Op op) {
        int count = batches.getOrDefault(op, PROBED);
        long start = System.nanoTime();
        long answer = c(op, count);
        long nanos = System.nanoTime() - start;
        if (!op.isOfEntries() && answer != 0) {
            throw new IllegalStateException(op + " answers " + answer + " in C, expected 0");
        }
        return (double) nanos / count;
    }

    private long c(Op op, int count) {
        return switch (op) {
            case DELIVER -> deliverInC(inC, count);
            case REDELIVER -> redeliverInC(inC, count);
            case DELIVER_AND_SYNC -> deliverAndSyncInC(inC, count);
            case EIGHT_AND_SYNC -> deliverEightAndSyncInC(inC, count);
            case POST -> postInC(inC, count);
            case DECODE -> decodeInC(tableInC, ENTRIES, count);
            case SCAN_AMD -> scanAmdInC(amdTableInC, AMD_ENTRIES, count);
            case SCAN, DECODE_RECORD -> scanInC(tableInC, ENTRIES, count);
            case ENCODE_ALL -> encodeAllInC(fieldsInC, encodedInC, ENTRIES, count);
            case ENCODE, ENCODE_RECORD -> encodeInC(sourcesInC, encodedInC, ENTRIES, count);
        };
    }

    private long java(Op op, int count) {
        return switch (op) {
            case DELIVER -> deliver(count);
            case REDELIVER -> redeliver(count);
            case DELIVER_AND_SYNC -> deliverAndSync(count);
            case EIGHT_AND_SYNC -> deliverEightAndSync(count);
            case POST -> post(count);
            case DECODE -> passes(count, ENTRIES, () -> decode(table));
            case SCAN -> passes(count, ENTRIES, () -> scan(table));
            case SCAN_AMD -> passes(count, AMD_ENTRIES, () -> scanAmd(amdTable));
            case DECODE_RECORD -> passes(count, ENTRIES, () -> decodeRecords(table));
            case ENCODE_ALL -> passes(count, ENTRIES, () -> encodeAll(fields, encoded));
            case ENCODE -> passes(count, ENTRIES, () -> encode(sources, encoded));
            case ENCODE_RECORD -> passes(count, ENTRIES, () -> encodeRecords(sources, encoded));
        };
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

    private int redeliver(int count) {
        for (int vector = 0; vector < VECTORS; vector++) {
            pid.deliver(vector);
        }
        int wrong = 0;
        for (int i = 0; i < count; i++) {
            wrong += pid.deliver(i & VECTORS - 1) ? 1 : 0;
        }
        pid.discard();
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

    private int deliverEightAndSync(int count) {
        int wrong = 0;
        for (int i = 0; i < count; i += EIGHT) {
            for (int k = 0; k < EIGHT; k++) {
                wrong += pid.deliver(i / EIGHT + k * SPREAD & VECTORS - 1) == (k == 0) ? 0 : 1;
            }
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

    private static long scan(long[] table) {
        long sum = 0;
        for (int i = 0; i < table.length; i += 2) {
            long low = table[i];
            long high = table[i + 1];
            if (!Irte.PRESENT.isSet(low)) {
                continue;
            }
            sum += Irte.VECTOR.of(low)
                    + Irte.SOURCE_ID.of(high)
                    + (Irte.POSTED.isSet(low) ? Irte.descriptorAddress(low, high) : RemappedIrte.DESTINATION.of(low));
        }
        return sum;
    }

    private static long scanAmd(long[] table) {
        long sum = 0;
        for (int i = 0; i < table.length; i += 2) {
            sum += decodeAmd(table[i], table[i + 1]);
        }
        return sum;
    }

    private static long decodeAmd(long low, long high) {
        long sum = LegacyIrte.VALID.of(low)
                + LegacyIrte.NO_FAULT.of(low)
                + GaIrte.GUEST_MODE.of(low)
                + GaIrte.VECTOR.of(high)
                + GaIrte.DESTINATION.of(low, high);
        if (GaIrte.GUEST_MODE.isSet(low)) {
            return sum
                    + GaIrte.GA_LOG_INTR.of(low)
                    + GaIrte.IS_RUN.of(low)
                    + GaIrte.GA_TAG.of(low)
                    + GaIrte.ROOT.of(high);
        }
        return sum + LegacyIrte.INT_TYPE.of(low) + LegacyIrte.RQ_EOI.of(low) + LegacyIrte.LOGICAL.of(low);
    }

    private static long decodeRecords(long[] table) {
        long sum = 0;
        for (int i = 0; i < table.length; i += 2) {
            Irte irte = Irte.decode(table[i], table[i + 1]);
            if (!Irte.PRESENT.isSet(irte.low())) {
                continue;
            }
            if (irte instanceof PostedIrte posted) {
                sum += posted.vector().number() + posted.source().id() + posted.descriptorAddress();
            } else if (irte instanceof RemappedIrte remapped) {
                sum += remapped.vector().number() + remapped.source().id() + remapped.destination();
            }
        }
        return sum;
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

    private static long encode(long[] sources, long[] encoded) {
        long sum = 0;
        for (int i = 0; i < ENTRIES; i++) {
            long low = PostedIrte.lowWord(sources[2 * i], (int) sources[2 * i + 1] & 0xff);
            long high = PostedIrte.highWord(sources[2 * i], (int) (sources[2 * i + 1] >>> 8), 0, BY_ID);
            encoded[2 * i] = low;
            encoded[2 * i + 1] = high;
            sum += low ^ high;
        }
        return sum;
    }

    private static long encodeRecords(long[] sources, long[] encoded) {
        long sum = 0;
        for (int i = 0; i < ENTRIES; i++) {
            PostedIrte irte = new RemappedIrte(
                            Irte.PRESENT.with(1),
                            Irte.SOURCE_ID.with(sources[2 * i + 1] >>> 8) | Irte.SOURCE_VALIDATION.with(BY_ID))
                    .posted(sources[2 * i], new InterruptVector((int) sources[2 * i + 1] & 0xff));
            encoded[2 * i] = irte.low();
            encoded[2 * i + 1] = irte.high();
            sum += encoded[2 * i] ^ encoded[2 * i + 1];
        }
        return sum;
    }
}
