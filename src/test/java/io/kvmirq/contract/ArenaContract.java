/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.testing.TestArena;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

/** Buffers of an arena: its owner may close it, and the allocator then gives the memory to others. */
@Contract
class ArenaContract extends KernelSuite {
    private static final int USES = Integer.getInteger("kvmirq.test.arena.uses", 2000);
    private static final int SEED = 46;

    /** A use of a buffer of 8 bytes. */
    private interface Use {
        long of(int event, ByteBuffer buffer);
    }

    private List<Use> uses() {
        return List.of(
                libc::read,
                libc::write,
                (event, buffer) -> libc.pread(event, buffer, 0),
                (event, buffer) -> libc.pwrite(event, buffer, 0),
                (event, buffer) -> libc.open(buffer, 0),
                (event, buffer) -> libc.ioctl(event, Uapi.KVM_SIGNAL_MSI & ~(0x3fffL << 16) | 8 << 16, buffer),
                kernel::eventfdDrain,
                (event, buffer) -> kernel.kvmOpen(buffer));
    }

    private static void assertDead(Use use, int event, ByteBuffer buffer) {
        assertThatThrownBy(() -> use.of(event, buffer))
                .isExactlyInstanceOf(IllegalStateException.class)
                .hasMessage("Already closed");
    }

    @Test
    void closedArenaIsRefusedBeforeTheCall() {
        int event = world.eventfd();
        assertOk(kernel.eventfdSignal(event, 7));
        TestArena confined = TestArena.confined();
        TestArena shared = TestArena.shared();
        List<ByteBuffer> closed = List.of(confined.allocate(8), shared.allocate(8));
        confined.close();
        shared.close();
        for (ByteBuffer buffer : closed) {
            uses().forEach(use -> assertDead(use, event, buffer));
            uses().forEach(use -> assertDead(use, event, buffer.duplicate()));
        }
        assertThat(world.drain(event)).as("no call was made").isEqualTo(7);
    }

    @Test
    void arenaOfAnotherThreadIsRefusedBeforeTheCall() throws Exception {
        int event = world.eventfd();
        assertOk(kernel.eventfdSignal(event, 7));
        try (TestArena confined = TestArena.confined()) {
            ByteBuffer buffer = confined.allocate(8);
            for (Use use : uses()) {
                CompletableFuture<Long> other = CompletableFuture.supplyAsync(() -> use.of(event, buffer));
                assertThatThrownBy(other::get)
                        .isInstanceOf(ExecutionException.class)
                        .satisfies(thrown -> assertThat(
                                        thrown.getCause().getClass().getSimpleName())
                                .isEqualTo("WrongThreadException"));
            }
        }
        assertThat(world.drain(event)).as("no call was made").isEqualTo(7);
    }

    @Test
    void livingArenaIsReadAndWritten() {
        int event = world.eventfd();
        try (TestArena confined = TestArena.confined();
                TestArena shared = TestArena.shared()) {
            for (ByteBuffer buffer : List.of(confined.allocate(8), shared.allocate(8))) {
                assertThat(libc.write(event, buffer.putLong(0, 5))).isEqualTo(8);
                assertThat(libc.read(event, buffer.putLong(0, 0))).isEqualTo(8);
                assertThat(buffer.getLong(0)).isEqualTo(5);
                assertErrno(Errno.EAGAIN, libc.read(event, buffer));
                assertThat(buffer.getLong(0))
                        .as("a call that fails writes nothing")
                        .isEqualTo(5);
                assertThatThrownBy(() -> libc.read(event, buffer.asReadOnlyBuffer()))
                        .isInstanceOf(IllegalArgumentException.class);
            }
        }
    }

    /** E2BIG comes with the needed number. */
    @Test
    void refusedCallThatWritesReachesTheArena() {
        world.assumeX86();
        try (TestArena confined = TestArena.confined();
                TestArena shared = TestArena.shared()) {
            for (TestArena arena : List.of(confined, shared)) {
                ByteBuffer list = arena.allocate(Uapi.KvmMsrList.SIZE).putInt(0, 0);
                assertErrno(Errno.E2BIG, libc.ioctl(world.kvm(), Uapi.KVM_GET_MSR_INDEX_LIST, list));
                assertThat(list.getInt(0)).as("the needed number").isPositive();
            }
        }
    }

    /** Closes, slices and threads in any order: a call reaches the eventfd or throws, and no byte of others changes. */
    @Test
    void randomUsesTouchTheirOwnMemoryOnly() {
        Random random = new Random(SEED);
        int event = world.eventfd();
        TestArena neighbours = TestArena.shared();
        ByteBuffer mine = neighbours.allocate(8);
        TestArena arena = TestArena.shared();
        ByteBuffer buffer = arena.allocate(8);
        for (int i = 0; i < USES; i++) {
            switch (random.nextInt(4)) {
                case 0 -> {
                    arena.close();
                    assertDead(random.nextBoolean() ? libc::read : libc::write, event, buffer);
                    neighbours.close();
                    arena = TestArena.shared();
                    neighbours = TestArena.shared();
                    mine = neighbours.allocate(8); // often the memory of the closed arena
                    assertDead(libc::read, event, buffer);
                    assertThat(mine.getLong(0)).isZero();
                    buffer = arena.allocate(8);
                }
                case 1 -> {
                    buffer.putLong(0, 3);
                    assertThat(libc.write(event, buffer.slice(0, 8))).isEqualTo(8);
                    assertThat(world.drain(event)).isEqualTo(3);
                }
                case 2 -> {
                    assertOk(kernel.eventfdSignal(event, 2));
                    assertThat(libc.read(event, buffer)).isEqualTo(8);
                    assertThat(buffer.getLong(0)).isEqualTo(2);
                }
                default -> assertErrno(Errno.EAGAIN, libc.read(event, buffer));
            }
        }
        arena.close();
        neighbours.close();
    }
}
