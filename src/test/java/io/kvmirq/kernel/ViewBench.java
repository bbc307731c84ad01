/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

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
    private static final int WARM_UP_ROUNDS = 200;
    private static final int COUNT = 102_400;
    private static final int BATCH = 64;

    private static final int SIZE = 256;
    private static final int AVAIL = 16 * SIZE;
    private static final int USED = AVAIL + 4 + 2 * SIZE;
    private static final int MEMORY = 4 * 4096;

    private enum Op {
        GET("view / buffer: getLong", Goal.atMost(1.2)),
        PUT("view / buffer: putLong", Goal.atMost(1.2)),
        QUEUE("Java / C: pop and push of a virtqueue", Goal.atMost(1.5));

        private final String title;
        private final Goal goal;

        Op(String title, Goal goal) {
            this.title = title;
            this.goal = goal;
        }
    }

    private final Bench bench;
    private final ByteBuffer view;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(MEMORY).order(ByteOrder.LITTLE_ENDIAN);
    private long sum;

    private ViewBench(String binding, Mapping memory) {
        this.bench = new Bench("view", binding + ", JDK " + Runtime.version().feature());
        this.view = memory.view(0, MEMORY);
        for (ByteBuffer queue : new ByteBuffer[] {view, buffer}) {
            for (int i = 0; i < SIZE; i++) {
                queue.putLong(16 * i, 0x1000L * i).putInt(16 * i + 8, i + 1);
                queue.putShort(AVAIL + 4 + 2 * i, (short) (i * 7 % SIZE));
            }
        }
    }

    private static native long queueInC(ByteBuffer memory, int count);

    /** @param arguments a binding, and the twin's absolute path */
    public static void main(String[] arguments) {
        System.load(arguments[1]);
        try (Kernel kernel = Kernel.over(Backends.ofThisMachine().open(arguments[0]));
                Mapping.Owner owner = Mapping.anonymous(kernel, MEMORY)) {
            new ViewBench(arguments[0], owner.mapping()).run();
        }
    }

    private void run() {
        // One by one, so that the loop is compiled when calls, and not its rounds, have made it hot: slice is inlined
        // then.
        if (queue(view, COUNT, 1) != queueInC(buffer, COUNT)) {
            throw new IllegalStateException("Java and C took different descriptors");
        }
        Rounds.of(Op.values(), bench.warmUp(WARM_UP_ROUNDS), this::ours, this::theirs);
        bench.measure(Op.values(), ROUNDS, this::ours, this::theirs, op -> new Bench.Title(op.title, op.goal));
        if (sum == 0) {
            throw new IllegalStateException("nothing was read");
        }
    }

    private double ours(Op op) {
        return time(op, view, false);
    }

    private double theirs(Op op) {
        return time(op, buffer, op == Op.QUEUE);
    }

    private double time(Op op, ByteBuffer memory, boolean inC) {
        long start = System.nanoTime();
        sum += switch (op) {
            case GET -> memory == view ? getOfView(COUNT) : getOfBuffer(COUNT);
            case PUT -> memory == view ? putOfView(COUNT) : putOfBuffer(COUNT);
            case QUEUE -> inC ? queueInC(memory, COUNT) : queue(memory, COUNT, BATCH);
        };
        return (double) (System.nanoTime() - start) / COUNT;
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

    private long putOfView(int count) {
        ByteBuffer memory = view;
        for (int i = 0; i < count; i++) {
            memory.putLong(MEMORY / 2 + (i * 24 & MEMORY / 2 - 8), i);
        }
        return 1;
    }

    private long putOfBuffer(int count) {
        ByteBuffer memory = buffer;
        for (int i = 0; i < count; i++) {
            memory.putLong(MEMORY / 2 + (i * 24 & MEMORY / 2 - 8), i);
        }
        return 1;
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
