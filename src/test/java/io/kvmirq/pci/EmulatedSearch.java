/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.ENABLE;
import static io.kvmirq.pci.MessagesWorld.FUNCTION_MASK;
import static io.kvmirq.pci.MessagesWorld.VECTORS;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.testing.Choices;
import java.util.Arrays;
import java.util.List;

/** A search of MSI-X over vectors of an emulated function, which keep what was signalled before a vector is open. */
class EmulatedSearch extends TableSearch {
    private final EmulatedWorld world;

    EmulatedSearch(EmulatedWorld world, boolean lazy, Choices random) {
        super(world.searched(() -> world.msix.readPending(0, 8)), lazy, random);
        this.world = world;
        Arrays.fill(masked, true);
        for (int i = 0; i < VECTORS; i++) {
            entry(i);
        }
    }

    @Override
    void step(int vector) {
        switch (random.nextInt(16)) {
            case 0, 1, 2 -> entry(vector);
            case 3, 4 -> mask(vector, true);
            case 5, 6 -> mask(vector, false);
            case 7 -> control(true, random.nextBoolean());
            case 8 -> control(random.nextInt(3) > 0, false);
            case 9 -> hold(true);
            case 10, 11 -> hold(false);
            case 12 -> restore(random.nextInt(4) == 0);
            default -> signal(vector);
        }
    }

    /** An emulated device may signal before the guest has enabled anything. */
    private void signal(int vector) {
        if (enabled) {
            send(vector);
        } else {
            random.note("send " + vector);
            device.send(vector);
            pending.set(vector);
            check(List.of());
        }
    }

    @Override
    void openAll() {
        hold(false);
        for (int i = 0; i < VECTORS; i++) {
            mask(i, false);
        }
        control(true, false);
    }

    @Override
    boolean knowsPending(int vector) {
        return true;
    }

    private void entry(int vector) {
        boolean wasOpen = isOpen(vector);
        if (wasOpen) {
            mask(vector, true);
        }
        draw(vector);
        MsiMessage message = MsiMessage.to(new VcpuId(vcpus[vector]), new InterruptVector(data[vector]));
        world.msix.writeTable(vector * 16L, 8, message.address());
        world.msix.writeTable(vector * 16L + 8, 4, message.data());
        if (wasOpen) {
            mask(vector, false);
        }
        opened();
    }

    private void mask(int vector, boolean masks) {
        random.note((masks ? "mask " : "unmask ") + vector);
        masked[vector] = masks;
        world.msix.writeTable(vector * 16L + 12, 4, masks ? 1 : 0);
        opened();
    }

    private void control(boolean enables, boolean masks) {
        random.note((enables ? "enable" : "disable") + (masks ? ", function masked" : ""));
        enabled = enables;
        functionMasked = masks;
        world.msix.writeMessageControl((enables ? ENABLE : 0) | (masks ? FUNCTION_MASK : 0));
        opened();
    }

    private void hold(boolean holds) {
        random.note(holds ? "hold" : "release");
        held = holds;
        if (holds) {
            world.msix.hold();
        } else {
            held = false;
            world.msix.release();
        }
        opened();
    }

    /** Saves and restores both kinds in place, in any order; or only resets. */
    private void restore(boolean forgets) {
        hold(true);
        boolean msiFirst = random.nextBoolean();
        random.note(forgets ? "reset" : "save, reset, restore" + (msiFirst ? ", MSI first" : ""));
        byte[] state = world.msix.state();
        byte[] other = world.msi.state();
        world.msix.reset();
        world.msi.reset();
        if (random.nextBoolean()) {
            held = false;
            world.msix.release();
        }
        if (forgets) {
            enabled = false;
            functionMasked = false;
            Arrays.fill(masked, true);
            pending.clear();
            for (int i = 0; i < VECTORS; i++) {
                entry(i);
            }
        } else {
            if (msiFirst) {
                world.msi.restore(other);
            }
            world.msix.restore(state);
            opened();
            if (!msiFirst) {
                world.msi.restore(other);
            }
        }
        hold(false);
    }
}
