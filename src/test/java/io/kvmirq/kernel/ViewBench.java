/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * Accesses by a view of a mapping beside the same to a buffer of the JDK, and the device's side of a virtqueue in a view
 * beside the same in C. {@code make bench T=view} runs it.
 *
 * <p>The other half is {@code src/test/native/view.c}.
 */
final class ViewBench {
    private static final VarHandle SHORT =
            MethodHandles.byteBufferViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
    private static final int ROUNDS = 201;
    private static final int COUNT = 102_400;
    private static final int BATCH = 64;

    private static final int SIZE = 256;
    private static final int AVAIL = 16 * SIZE;
    private static final int USED = AVAIL + 4 + 2 * SIZE;
    private static final int MEMORY = 4 * 4096;

    private final ByteBuffer view;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(MEMORY).order(ByteOrder.LITTLE_ENDIAN);

    private ViewBench(Mapping memory) {
        this.view = memory.view(0, MEMORY);
        for (ByteBuffer queue : new ByteBuffer[] {view, buffer}) {
            for (int i = 0; i < SIZE; i++) {
                queue.putLong(16 * i, 0x1000L * i).putInt(16 * i + 8, i + 1);
                queue.putShort(AVAIL + 4 + 2 * i, (short) (i * 7 % SIZE));
            }
        }
    }

    private static native long queueInC(ByteBuffer memory, int count);

    /** @param arguments the other half's absolute path, and a binding */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.over(Backends.ofThisMachine().open(arguments[1]));
                Mapping.Owner owner = Mapping.anonymous(kernel, MEMORY)) {
            new ViewBench(owner.mapping()).run(arguments[1]);
        }
    }

    private void run(String binding) {
        // One by one, so that the loop is compiled when calls, and not its rounds, have made it hot: slice is inlined
        // then.
        if (queue(view, COUNT, 1) != queueInC(buffer, COUNT)) {
            throw new IllegalStateException("Java and C took different descriptors");
        }
        new Bench("view")
                .measure(
                        ROUNDS,
                        ROUNDS,
                        List.of(
                                Row.of(
                                        binding + ", view / buffer: getLong",
                                        1.2,
                                        COUNT,
                                        this::getOfView,
                                        this::getOfBuffer),
                                Row.of(
                                        binding + ", Java / C: pop and push of a virtqueue",
                                        1.5,
                                        COUNT,
                                        count -> queue(view, count, BATCH),
                                        count -> queueInC(buffer, count))));
    }

    /**
     * Each loop meets one kind of buffer, as the code of a VMM does. On ffm a view has a scope and the JDK's buffer has
     * none: a loop that meets both is compiled for both, and takes up to twice as long for a view in half of the runs.
     */
    private long getOfView(int count) {
        ByteBuffer memory = view;
        long all = 0;
        for (int i = 0; i < count; i++) {
            all += memory.getLong(i * 24 & MEMORY - 8);
        }
        return all;
    }

    private long getOfBuffer(int count) {
        ByteBuffer memory = buffer;
        long all = 0;
        for (int i = 0; i < count; i++) {
            all += memory.getLong(i * 24 & MEMORY - 8);
        }
        return all;
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
