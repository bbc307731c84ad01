/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.TestArena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** Buffers in any state, given to the kernel or used by Java: an exception or the right bytes, and none of others. */
@Contract
class MemoryUsesContract extends KernelSuite {
    private static final int USES = Integer.getInteger("kvmirq.test.arena.uses", 5000);
    private static final int SEED = 46;
    private static final int PAGE = 4096;
    private static final int COLLECTED = 100_000;
    private static final int FIRST_JAVA_WITH_ARENAS = 22;
    private static final byte CANARY = 0x5a;

    private final Random random = new Random(SEED);

    /** A page that a view shows, open or closed, and the numbers that it must hold. */
    private final class Page {
        final Mapping.Owner owner;
        final ByteBuffer view;
        final long[] expected = new long[PAGE / Long.BYTES];

        Page(Kernel opened) {
            this.owner = Mapping.anonymous(opened, PAGE);
            this.view = owner.mapping().view(0, PAGE);
        }

        void close() {
            owner.close();
            if (libc.isReal()) {
                Arrays.fill(expected, 0);
            }
        }

        private ByteBuffer slice(int place) {
            return view.slice(place * Long.BYTES, Long.BYTES).order(ByteOrder.nativeOrder());
        }

        void put(int place, long value) {
            view.putLong(place * Long.BYTES, value);
            expected[place] = value;
        }

        void check(int place) {
            same(expected[place], view.getLong(place * Long.BYTES));
        }

        /** The kernel reads and writes it. */
        void call(int event, int place) {
            put(place, 1 + place);
            same(Long.BYTES, libc.write(event, slice(place)));
            same(1 + place, world.drain(event));
            same(0, kernel.eventfdSignal(event, 7));
            same(Long.BYTES, libc.read(event, slice(place)));
            expected[place] = 7;
            check(place);
        }
    }

    private static void same(long expected, long found) {
        if (expected != found) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    private void canary(Mapping memory) {
        byte[] found = new byte[PAGE];
        memory.get(0, ByteBuffer.wrap(found));
        for (byte octet : found) {
            same(CANARY, octet);
        }
    }

    private static Mapping.Owner canaryOf(Kernel opened) {
        byte[] content = new byte[PAGE];
        Arrays.fill(content, CANARY);
        Mapping.Owner owner = Mapping.anonymous(opened, PAGE);
        owner.mapping().put(0, content);
        return owner;
    }

    /** Memory of an arena of another thread, open, and of a closed one. */
    private static Optional<ByteBuffer[]> foreign() {
        if (Runtime.version().feature() < FIRST_JAVA_WITH_ARENAS) {
            return Optional.empty();
        }
        ByteBuffer others = CompletableFuture.supplyAsync(
                        () -> TestArena.confined().allocate(8))
                .join();
        TestArena arena = TestArena.shared();
        ByteBuffer closed = arena.allocate(8);
        arena.close();
        return Optional.of(new ByteBuffer[] {others, closed});
    }

    @Test
    void kernelGetsAViewItself() {
        int event = world.eventfd();
        ByteBuffer own = Buffers.allocate(Long.BYTES).putLong(0, 1);
        try (Kernel opened = Kernel.over(kernel);
                Mapping.Owner owner = Mapping.anonymous(opened, PAGE)) {
            ByteBuffer view = owner.mapping().view(0, Long.BYTES).putLong(0, 1);
            assertThat(Allocations.leastOf(() -> libc.write(event, view)))
                    .isLessThanOrEqualTo(Allocations.leastOf(() -> libc.write(event, own)));
        }
    }

    @Test
    void randomUsesThrowOrTouchTheirOwnMemory() {
        int event = world.eventfd();
        Optional<ByteBuffer[]> foreign = foreign();
        try (Kernel opened = Kernel.over(kernel)) {
            Page page = new Page(opened);
            Page late = page;
            Mapping.Owner neighbour = canaryOf(opened);
            for (int i = 1; i <= USES; i++) {
                int place = random.nextInt(PAGE / Long.BYTES);
                Page used = random.nextBoolean() ? page : late;
                switch (random.nextInt(i % 64 == 0 ? 8 : 7)) {
                    case 0 -> used.put(place, random.nextLong());
                    case 1 -> used.check(place);
                    case 2 -> used.call(event, place);
                    case 3 ->
                        assertThatThrownBy(() -> libc.read(event, used.view.asReadOnlyBuffer()))
                                .isInstanceOf(IllegalArgumentException.class);
                    case 4 ->
                        assertThatThrownBy(() -> libc.write(event, ByteBuffer.allocate(8)))
                                .isInstanceOf(IllegalArgumentException.class);
                    case 5 -> {
                        int other = place % 2;
                        foreign.ifPresent(buffers -> assertThatThrownBy(() -> libc.read(event, buffers[other]))
                                .isInstanceOf(RuntimeException.class)
                                .isNotInstanceOf(IllegalArgumentException.class));
                    }
                    case 6 -> {
                        int index = PAGE - 7 + place % 7;
                        assertThatThrownBy(() -> used.view.getLong(index))
                                .isInstanceOf(IndexOutOfBoundsException.class);
                    }
                    default -> {
                        page.close();
                        late = page;
                        canary(neighbour.mapping());
                        neighbour.close();
                        neighbour = canaryOf(opened); // often at addresses that were given back
                        Mapping closed = late.owner.mapping();
                        assertThatThrownBy(() -> closed.getInt(0)).isInstanceOf(ClosedHandleException.class);
                        page = new Page(opened);
                    }
                }
                if (i % COLLECTED == 0) {
                    System.gc();
                }
            }
            page.close();
            neighbour.close();
            assertThat(opened.openHandles()).isEmpty();
        }
        assertThat(world.drain(event)).as("each signal was read").isZero();
    }
}
