/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.VECTORS;

import io.kvmirq.testing.Choices;

/** A search of MSI-X: the guest writes a table of messages, and the host may hold all vectors. */
abstract class TableSearch extends MessageSearch {
    /** The guest's vectors of a vector of the device: none is shared, so that none hides another. */
    private static final int VECTORS_EACH = 8;

    private static final int FIRST = 0x40;

    boolean functionMasked;
    boolean held;
    final boolean[] masked = new boolean[VECTORS];
    final int[] vcpus = new int[VECTORS];
    final int[] data = new int[VECTORS];

    TableSearch(Device device, boolean lazy, Choices random) {
        super(device, VECTORS, lazy, random);
    }

    @Override
    final boolean isOpen(int vector) {
        return enabled && !functionMasked && !held && !masked[vector];
    }

    @Override
    final String target(int vector) {
        return vcpus[vector] + ":0x" + Integer.toHexString(data[vector]);
    }

    static int vectorOf(String target) {
        return (Integer.decode(target.substring(target.indexOf(':') + 1)) - FIRST) / VECTORS_EACH;
    }

    /** Chooses the next message of a vector. */
    final void draw(int vector) {
        vcpus[vector] = random.nextInt(2);
        data[vector] = FIRST + vector * VECTORS_EACH + random.nextInt(VECTORS_EACH);
        random.note("entry " + vector + " " + target(vector));
    }
}
