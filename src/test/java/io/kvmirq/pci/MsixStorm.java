/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.ENABLE;
import static io.kvmirq.pci.MessagesWorld.FUNCTION_MASK;
import static io.kvmirq.pci.MessagesWorld.VECTORS;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.FakeMessages;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * Four threads change MSI-X of one device: the guest masks, the guest writes entries, the host moves vectors, and the host
 * holds and saves them. Meanwhile a fifth lets the device send, and takes what arrives. After each round all is open, and
 * the ledger of the kernel has to have nothing that waits, is lost or has ended.
 *
 * <p>{@code main}: how many rounds on each profile, and the first seed; a line for each profile.
 */
final class MsixStorm {
    private static final int CHANGES = 20;
    /** At most so many messages are sent in a round. */
    private static final int SENDS = 500;
    /** The guest's vectors of a vector of the device. */
    private static final int VECTORS_EACH = 8;

    private static final int FIRST = 0x40;

    private final String profile;
    private final MessagesWorld world;
    private final ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();
    private long sent;
    private long arrived;

    private MsixStorm(String profile, MessagesWorld world) {
        this.profile = profile;
        this.world = world;
    }

    /** @param arguments how many rounds, and the first seed */
    public static void main(String[] arguments) {
        long rounds = Long.parseLong(arguments[0]);
        long seed = arguments.length > 1 ? Long.parseLong(arguments[1]) : 0;
        MessageReport.profiles().forEach(profile -> System.out.println(run(profile, seed, rounds)));
    }

    static String run(String profile, long seed, long rounds) {
        try (MessagesWorld world = new MessagesWorld(profile)) {
            MsixStorm storm = new MsixStorm(profile, world);
            SplittableRandom random = new SplittableRandom(seed);
            IntStream.range(0, VECTORS).forEach(i -> storm.entry(i, random));
            storm.openAll();
            for (long round = 0; round < rounds; round++) {
                storm.round(random);
                storm.rest(round);
            }
            FakeMessages.Counts counts = world.fake.messages().counts();
            assertThat(counts.taken()).as("%s: %s", profile, counts).isPositive();
            return profile + " storm: " + rounds + " rounds, " + storm.sent + " messages sent, " + storm.arrived
                    + " interrupts arrived; " + counts;
        }
    }

    private void round(SplittableRandom random) {
        List<Thread> threads = new ArrayList<>();
        for (Consumer<SplittableRandom> change :
                List.<Consumer<SplittableRandom>>of(this::mask, this::reroute, this::move, this::save)) {
            SplittableRandom own = random.split();
            Thread thread = new Thread(() -> {
                try {
                    for (int i = 0; i < CHANGES; i++) {
                        change.accept(own);
                    }
                } catch (RuntimeException | Error e) {
                    failures.add(e);
                }
            });
            threads.add(thread);
            thread.start();
        }
        // A guest without interrupt hardware takes only at rest: its IRR is written as a whole.
        boolean takes = world.isArm64() || !world.fake.vcpus().isEmpty();
        for (int i = 0; i < SENDS && threads.stream().anyMatch(Thread::isAlive); i++) {
            sent += world.hardware.sendMessage(random.nextInt(VECTORS)) ? 1 : 0;
            if (takes && random.nextBoolean()) {
                arrived += world.taken().size();
            }
            Thread.yield();
        }
        threads.forEach(MsixSearch::join);
    }

    private void rest(long round) {
        if (!failures.isEmpty()) {
            throw new AssertionError(profile + ", round " + round, failures.peek());
        }
        openAll();
        arrived += world.taken().size();
        FakeMessages messages = world.fake.messages();
        assertThat(messages.brokenRules()).as("%s, round %s", profile, round).isEmpty();
        assertThat(world.fake.lost()).as("%s, round %s", profile, round).isEmpty();
        assertThat(messages.ended()).as("%s, round %s", profile, round).isEmpty();
        assertThat(messages.waiting()).as("%s, round %s", profile, round).isEmpty();
    }

    // What the threads do. A VMM lets one access of a device come after the other.

    private void openAll() {
        synchronized (world.msix) {
            IntStream.range(0, VECTORS).forEach(i -> world.mask(i, false));
            world.msix.writeMessageControl(ENABLE);
        }
    }

    private void mask(SplittableRandom random) {
        synchronized (world.msix) {
            if (random.nextInt(4) == 0) {
                world.msix.writeMessageControl(ENABLE | (random.nextBoolean() ? FUNCTION_MASK : 0));
            } else {
                world.mask(random.nextInt(VECTORS), random.nextBoolean());
            }
        }
    }

    private void reroute(SplittableRandom random) {
        synchronized (world.msix) {
            entry(random.nextInt(VECTORS), random);
        }
    }

    /** Software masks a vector before it writes the entry. */
    private void entry(int vector, SplittableRandom random) {
        world.mask(vector, true);
        world.entry(vector, random.nextInt(2), FIRST + vector * VECTORS_EACH + random.nextInt(VECTORS_EACH));
        world.mask(vector, random.nextBoolean());
    }

    private void move(SplittableRandom random) {
        world.forwarded(random.nextInt(VECTORS)).ifPresent(MessagesWorld::move);
    }

    private void save(SplittableRandom random) {
        synchronized (world.msix) {
            world.msix.hold();
            assertThat(world.msix.state()).isNotEmpty();
            if (random.nextBoolean()) {
                Thread.yield();
            }
            world.msix.release();
        }
    }
}
