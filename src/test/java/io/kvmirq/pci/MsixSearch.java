/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.ENABLE;
import static io.kvmirq.pci.MessagesWorld.FUNCTION_MASK;
import static io.kvmirq.pci.MessagesWorld.VECTORS;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.fake.Faults;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.FiringKernel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A search of MSI-X. Beside what the guest does, the host moves vectors between this process and the kernel, holds all of
 * them, saves and restores the device or the whole VM, and does such things in a second thread.
 */
final class MsixSearch extends TableSearch {
    /** Kernel calls of a guest's access, at one of which a second thread begins. */
    private static final int WINDOWS = 5;

    /** About as many as a restore of a VM makes. */
    private static final int MOST_CALLS = 60;

    /** A save takes as long as all else of a program. */
    private static final int RARITY_OF_SAVES = 4;

    private final String profile;
    private MessagesWorld world;
    /** Vectors whose message only the device has, which may forget it when MSI-X is disabled. */
    private final BitSet inDevice = new BitSet();
    /**
     * Vectors whose messages may arrive or not: messages from the last disabling, which the device may forget, and
     * vectors that were open where a vLPI may have ended, which are signalled again.
     */
    private final BitSet unsure = new BitSet();
    /** Vectors that were open since MSI-X was enabled. */
    private final BitSet forwarded = new BitSet();
    /** Vectors that this process injects. */
    private final BitSet relayed = new BitSet();
    /** Open vectors whose eventfd has a message that this process has not injected yet. */
    private final BitSet waiting = new BitSet();
    /** Open vectors whose eventfd may have one. */
    private final BitSet maybeWaiting = new BitSet();

    MsixSearch(String profile, boolean lazy, Choices random) {
        this(profile, new MessagesWorld(profile), lazy, random);
    }

    private MsixSearch(String profile, MessagesWorld world, boolean lazy, Choices random) {
        super(world.searched(() -> world.msix.readPending(0, 8)), lazy, random);
        this.profile = profile;
        this.world = world;
        reset();
        for (int i = 0; i < VECTORS; i++) {
            entry(i);
        }
    }

    @Override
    void openAll() {
        release();
        for (int i = 0; i < VECTORS; i++) {
            mask(i, false);
        }
        control(true, false);
    }

    @Override
    void step(int vector) {
        switch (random.nextInt(22)) {
            case 16 -> {
                if (enabled && forwarded.get(vector)) {
                    move(vector);
                }
            }
            case 17 -> hold();
            case 18, 19 -> release();
            case 20 -> {
                if (random.nextInt(RARITY_OF_SAVES) == 0) {
                    save();
                }
            }
            case 21 -> {
                if (forwarded.get(vector)) {
                    inTwoThreads(random.nextInt(VECTORS), vector);
                }
            }
            case 0, 1, 2 -> entry(vector);
            case 3, 4 -> mask(vector, true);
            case 5, 6 -> mask(vector, false);
            case 7 -> control(true, random.nextBoolean());
            case 8 -> control(true, false);
            case 9 -> control(random.nextInt(3) > 0, random.nextBoolean());
            case 10 -> {
                if (random.nextInt(6) == 0) {
                    world.msix.reset();
                    device.reset();
                    random.note("reset");
                    if (world.mayHaveVlpis()) {
                        due.clear(); // a vLPI that is pending ends, as do the device's pending bits
                        possible.clear();
                    }
                    reset();
                    check(List.of());
                }
            }
            case 11 -> {
                world.msix.writeTable(random.nextInt(-20, 200), 1 << random.nextInt(2), random.nextLong());
                world.msix.writeTable(random.nextInt(0, 64) * 4L + 2, 4, random.nextLong());
            }
            default -> sends(vector);
        }
    }

    private void sends(int vector) {
        boolean alone = enabled && !isOpen(vector) && !forwarded.get(vector) && !pending.get(vector);
        inDevice.set(vector, alone || inDevice.get(vector));
        send(vector);
    }

    private void reset() {
        enabled = false;
        functionMasked = false;
        Arrays.fill(masked, true);
        Arrays.fill(vcpus, -1);
        pending.clear();
        inDevice.clear();
        unsure.clear();
        leaveThisProcess();
    }

    private void leaveThisProcess() {
        forwarded.clear();
        relayed.clear();
        waiting.clear();
        maybeWaiting.clear();
    }

    /** The host moves a vector into this process or out of it, and the guest sees nothing of that. */
    private void move(int vector) {
        random.note("move " + vector);
        boolean wasPending = isOpen(vector) && !relayed.get(vector);
        ForwardedIrq irq = world.forwarded(vector).orElseThrow();
        MessagesWorld.move(irq);
        boolean here = irq.mechanism() == Mechanism.USERSPACE;
        assertThat(here).isNotEqualTo(relayed.get(vector));
        relayed.set(vector, here);
        if (wasPending && world.mayHaveVlpis()) {
            waiting.set(vector, due.remove(target(vector)));
            maybeWaiting.set(vector, !waiting.get(vector));
        } else if (!here) {
            injected(vector);
        }
        check(List.of());
    }

    private void hold() {
        random.note("hold");
        BitSet open = open();
        held = true;
        world.msix.hold();
        opened(open);
    }

    private void release() {
        random.note("release");
        BitSet open = open();
        held = false;
        world.msix.release();
        opened(open);
    }

    /** Saves, and goes on here, in a device that was reset, or in another VM. Some vCPUs have requests meanwhile. */
    private void save() {
        setMayTake(random.nextBoolean());
        random.ints(random.nextInt(VECTORS), 0, VECTORS).forEach(this::sends);
        saveNow();
        setMayTake(true);
    }

    private void saveNow() {
        switch (random.nextInt(3)) {
            case 0 -> {
                random.note("save");
                VmSnapshot.take(world.saved());
                BitSet open = open();
                boolean wasHeld = held;
                held = true;
                open.stream().forEach(this::closed);
                held = wasHeld;
                opened();
            }
            case 1 -> {
                hold();
                random.note("save, reset, restore");
                byte[] state = world.msix.state();
                world.msix.reset();
                device.reset();
                world.msix.restore(state);
                restored();
            }
            default -> moveToAnotherVm();
        }
    }

    private void moveToAnotherVm() {
        hold();
        random.note("move to another VM");
        VmSnapshot snapshot = VmSnapshot.take(world.saved());
        if (random.nextInt(3) == 0) {
            random.note("refuse a call of the restore");
            restoreRefused(snapshot);
        }
        MessagesWorld next = MessagesWorld.toRestore(profile);
        MessagesWorld before = world;
        world = next;
        device = next.searched(() -> next.msix.readPending(0, 8));
        next.msix.hold();
        next.copyMemory(before);
        snapshot.restore(next.saved());
        before.close();
        restored();
    }

    /** The kernel refuses a call of the restore into a VM, which is closed then. The device is as it was. */
    private void restoreRefused(VmSnapshot snapshot) {
        try (MessagesWorld refuses = MessagesWorld.toRestore(profile)) {
            refuses.msix.hold();
            refuses.copyMemory(world);
            byte[] before = refuses.msix.state();
            if (random.nextBoolean()) {
                refuses.faults.fail(Faults.ANY, 1 + random.nextInt(MOST_CALLS), Errno.ENOMEM);
            } else {
                refuses.faults.fail("VFIO_DEVICE_SET_IRQS", 1 + random.nextInt(2), Errno.ENOMEM);
            }
            boolean refused = false;
            try {
                snapshot.restore(refuses.saved());
            } catch (KernelException e) {
                refused = true;
            } finally {
                refuses.faults.clear();
            }
            if (refused) {
                assertThat(refuses.msix.state()).isEqualTo(before);
            }
        }
    }

    /** The device forgets what it alone had. What this process has to inject was pending. */
    private void restored() {
        pending.andNot(inDevice);
        inDevice.clear();
        leaveThisProcess();
        if (enabled) {
            forwarded.set(0);
        }
        opened();
    }

    /**
     * The guest writes about one vector, and another thread moves one. The move begins before a kernel call of the write,
     * where the device sends, too.
     */
    private void inTwoThreads(int vector, int moved) {
        take();
        int sends = random.ints(0, VECTORS).filter(forwarded::get).findFirst().orElseThrow();
        int window = 1 + random.nextInt(WINDOWS);
        random.note("before call " + window + ", move " + moved + " and send " + sends);
        ForwardedIrq irq = world.forwarded(moved).orElseThrow();
        AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
        Thread guest = Thread.currentThread();
        Thread host = new Thread(() -> {
            try {
                MessagesWorld.move(irq);
            } catch (IllegalStateException e) {
                // The guest's write may have ended the forwarding.
                failed.set(enabled ? e : null);
            } catch (RuntimeException e) {
                failed.set(e);
            }
        });
        BitSet sent = new BitSet();
        int[] calls = {0};
        world.firing.before(() -> {
            if (Thread.currentThread() == guest && ++calls[0] == window) {
                sent.set(sends, world.hardware.sendMessage(sends));
                host.start();
                FiringKernel.awaitEndOrLock(host);
            }
        });
        setMayTake(false);
        write(vector);
        setMayTake(true);
        world.firing.before(() -> {});
        if (host.getState() == Thread.State.NEW) {
            host.start();
        }
        join(host);
        assertThat(failed.get()).isNull();
        if (forwarded.get(moved)) {
            boolean here = irq.mechanism() == Mechanism.USERSPACE;
            relayed.set(moved, here);
        }
        foundAfter(sent, BitSet.valueOf(new long[] {1L << vector | 1L << moved | 1L << sends}));
    }

    private void write(int vector) {
        switch (random.nextInt(4)) {
            case 0 -> entry(vector);
            case 1 -> mask(vector, !masked[vector]);
            case 2 -> control(true, random.nextBoolean());
            default -> control(random.nextInt(3) > 0, random.nextBoolean());
        }
    }

    static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    /**
     * Each message of these vectors is taken or pending, whoever came first. All others are as in one thread.
     *
     * @param sent those whose message was sent in between
     */
    private void foundAfter(BitSet sent, BitSet concerned) {
        taking();
        BitSet owed = (BitSet) sent.clone();
        concerned.stream()
                .filter(i -> pending.get(i) && knowsPending(i) || due.contains(target(i)))
                .forEach(owed::set);
        List<String> taken = takeAny();
        BitSet arrived = new BitSet();
        for (String target : List.copyOf(taken)) {
            int vector = vectorOf(target);
            if (concerned.get(vector)) {
                arrived.set(vector);
                taken.remove(target);
            }
        }
        for (int vector : concerned.stream().toArray()) {
            due.removeIf(target -> vectorOf(target) == vector);
            possible.removeIf(target -> vectorOf(target) == vector);
            waiting.clear(vector);
            maybeWaiting.clear(vector);
            boolean kept = (world.msix.readPending(0, 8) >>> vector & 1) == 1;
            assertThat(!owed.get(vector) || kept || arrived.get(vector))
                    .as("vector %s is taken or pending", vector)
                    .isTrue();
            if (knowsPending(vector)) {
                pending.set(vector, kept);
            }
        }
        possible.removeAll(due);
        taken.removeAll(possible);
        assertThat(taken).containsExactlyInAnyOrderElementsOf(due);
        due.clear();
        possible.clear();
    }

    /** The signals in the eventfd of an open vector are requested. */
    private void injected(int vector) {
        if (waiting.get(vector)) {
            due.add(target(vector));
        } else if (maybeWaiting.get(vector)) {
            possible.add(target(vector));
        }
        waiting.clear(vector);
        maybeWaiting.clear(vector);
    }

    @Override
    boolean isRequestedAtOnce(int vector) {
        if (relayed.get(vector)) {
            waiting.set(vector);
        }
        return !relayed.get(vector);
    }

    @Override
    void taking() {
        relayed.stream().filter(this::isOpen).forEach(this::injected);
    }

    /** Writes the entry in one of the ways of guests. */
    private void entry(int vector) {
        String before = target(vector);
        draw(vector);
        if (random.nextBoolean()) {
            world.entry(vector, vcpus[vector], data[vector]);
        } else {
            MsiMessage message = world.message(vcpus[vector], data[vector]);
            world.msix.writeTable(vector * 16L, 8, message.address());
            world.msix.writeTable(vector * 16L + 8, 8, message.data() | (masked[vector] ? 1L << 32 : 0));
        }
        if (isOpen(vector) && !relayed.get(vector) && !target(vector).equals(before)) {
            hardwareEnds(vector, before);
        }
        opened();
    }

    /** What is not injected yet is pending. */
    private void closed(int vector) {
        if (relayed.get(vector)) {
            pending.set(vector, waiting.get(vector));
            unsure.set(vector, maybeWaiting.get(vector) && !waiting.get(vector));
            waiting.clear(vector);
            maybeWaiting.clear(vector);
        } else {
            hardwareEnds(vector, target(vector));
        }
    }

    /** A vLPI is no more: a message that the guest has not taken waits in the eventfd, and perhaps one that it has. */
    private void hardwareEnds(int vector, String before) {
        if (world.mayHaveVlpis()) {
            pending.set(vector, due.remove(before));
            unsure.set(vector, !pending.get(vector));
        }
    }

    private void mask(int vector, boolean masks) {
        if (vcpus[vector] < 0) {
            entry(vector); // a guest unmasks what it has written
        }
        random.note((masks ? "mask " : "unmask ") + vector);
        BitSet open = open();
        masked[vector] = masks;
        world.mask(vector, masks);
        opened(open);
    }

    private void control(boolean enables, boolean masks) {
        random.note((enables ? "enable" : "disable") + (masks ? " masked" : ""));
        BitSet open = open();
        if (enabled && !enables) {
            unsure.or(inDevice);
            pending.andNot(inDevice);
            inDevice.clear();
        }
        if (!enabled && enables) {
            forwarded.set(0);
        }
        enabled = enables;
        functionMasked = masks;
        int bits = (enables ? ENABLE : 0) | (masks ? FUNCTION_MASK : 0);
        world.msix.writeMessageControl(bits);
        assertThat(world.msix.messageControl()).isEqualTo(VECTORS - 1 | bits);
        opened(open);
    }

    private BitSet open() {
        BitSet open = new BitSet();
        IntStream.range(0, VECTORS).filter(this::isOpen).forEach(open::set);
        return open;
    }

    private void opened(BitSet before) {
        before.stream().filter(vector -> !isOpen(vector)).forEach(this::closed);
        if (!enabled) {
            leaveThisProcess();
        }
        opened();
    }

    @Override
    boolean knowsPending(int vector) {
        return !inDevice.get(vector) && !unsure.get(vector);
    }

    @Override
    void opened() {
        List<String> arrives = new ArrayList<>();
        List<String> may = new ArrayList<>();
        for (int i = 0; i < VECTORS; i++) {
            if (isOpen(i)) {
                forwarded.set(i);
                if (relayed.get(i)) {
                    waiting.set(i, pending.get(i) || waiting.get(i));
                    maybeWaiting.set(i, unsure.get(i) || maybeWaiting.get(i));
                } else {
                    (pending.get(i) ? arrives : unsure.get(i) ? may : new ArrayList<String>()).add(target(i));
                }
                pending.clear(i);
                inDevice.clear(i);
                unsure.clear(i);
            }
        }
        check(arrives, may);
    }
}
