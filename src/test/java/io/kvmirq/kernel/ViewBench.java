/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;

/**
 * The device's side of a virtqueue in a view of a mapping, beside the same in C. {@code make bench T=view} runs it.
 *
 * <p>The other half is {@code src/test/native/view.c}.
 */
@BenchmarkMode(Mode.AverageTime)
@OperationsPerInvocation(ViewBench.COUNT)
public class ViewBench {
    static final int COUNT = 102_400;

    private static final VarHandle SHORT =
            MethodHandles.byteBufferViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
    private static final int BATCH = 64;

    private static final int SIZE = 256;
    private static final int AVAIL = 16 * SIZE;
    private static final int USED = AVAIL + 4 + 2 * SIZE;
    private static final int MEMORY = 4 * 4096;

    private static final ByteBuffer BUFFER = ByteBuffer.allocateDirect(MEMORY).order(ByteOrder.LITTLE_ENDIAN);

    @SuppressWarnings("NullAway.Init")
    private static ByteBuffer view;

    private static native long queueInC(ByteBuffer memory, int count);

    /** @param arguments the other half's absolute path */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.open("jni");
                Mapping.Owner owner = Mapping.anonymous(kernel, MEMORY)) {
            view = owner.mapping().view(0, MEMORY);
            for (ByteBuffer queue : List.of(view, BUFFER)) {
                for (int i = 0; i < SIZE; i++) {
                    queue.putLong(16 * i, 0x1000L * i).putInt(16 * i + 8, i + 1);
                    queue.putShort(AVAIL + 4 + 2 * i, (short) (i * 7 % SIZE));
                }
            }
            // One by one, so that the loop is compiled when calls, and not its rounds, have made it hot: slice is
            // inlined
            // then.
            if (queue(view, COUNT, 1) != queueInC(BUFFER, COUNT)) {
                throw new IllegalStateException("Java and C took different descriptors");
            }
            Bench bench = new Bench("view", ViewBench.class);
            List<Row> rows = List.of(new Row("Java / C: pop and push of a virtqueue", 1.5, "queue", "queueInC"));
            bench.warm(500, rows);
            bench.measure(201, rows);
        }
    }

    @Benchmark
    public long queue() {
        return queue(view, COUNT, BATCH);
    }

    @Benchmark
    public long queueInC() {
        return queueInC(BUFFER, COUNT);
    }

    /** A driver offers descriptors by the batch, and the device takes what there is. */
    private static long queue(ByteBuffer memory, int count, int batch) {
        long sum = 0;
        for (int done = 0; done < count; done += batch) {
            SHORT.setRelease(memory, AVAIL + 2, (short) (done + batch));
            sum += take(memory, done);
        }
        return sum;
    }

    /**
     * As {@code library.md} advises: fences, in a slice that does not leave the method. As in vhost, the index of
     * what is available is read again once all before it is taken, and that of what is used is written for all of them.
     */
    private static long take(ByteBuffer memory, int first) {
        ByteBuffer queue = memory.slice(0, MEMORY).order(ByteOrder.LITTLE_ENDIAN);
        int last = first;
        long sum = 0;
        while (true) {
            short available = queue.getShort(AVAIL + 2);
            if (available == (short) last) {
                return sum;
            }
            VarHandle.acquireFence();
            for (int end = last + (available - last & 0xffff); last < end; last++) {
                int place = last & SIZE - 1;
                int head = queue.getShort(AVAIL + 4 + 2 * place) & SIZE - 1;
                int length = queue.getInt(16 * head + 8);
                sum += queue.getLong(16 * head) + Integer.toUnsignedLong(length);
                queue.putInt(USED + 4 + 8 * place, head).putInt(USED + 8 + 8 * place, length);
            }
            VarHandle.releaseFence();
            queue.putShort(USED + 2, available);
        }
    }
}
