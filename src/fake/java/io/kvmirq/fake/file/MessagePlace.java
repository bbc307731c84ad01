/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Arrays;
import java.util.BitSet;
import java.util.function.IntFunction;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/**
 * A part of the fake in which messages wait, such as the IRR of a LAPIC. A place has slots, such as a vector in an IRR.
 * A slot stores the sources of its waiting messages. {@link Ledger} compares the slots with the state of this part.
 */
public final class MessagePlace {
    private static final @Nullable SourceSet[] NONE = {};

    private final IntPredicate holds;
    private final IntPredicate open;
    private final IntFunction<String> name;
    private final BitSet filled = new BitSet(0);
    private @Nullable SourceSet[] slots = NONE;
    /** The index of this place in the ledger's list of occupied places; -1 while it is empty. */
    private int index = -1;

    /** @param holds whether a message waits in a slot by the part's own state */
    public MessagePlace(IntPredicate holds, IntFunction<String> name) {
        this(holds, slot -> false, name);
    }

    /** {@code holds}: whether the part has a message in a slot. {@code open}: whether KVM should have delivered it. */
    public MessagePlace(IntPredicate holds, IntPredicate open, IntFunction<String> name) {
        this.holds = holds;
        this.open = open;
        this.name = name;
    }

    boolean holds(int slot) {
        return holds.test(slot);
    }

    boolean isOpen(int slot) {
        return open.test(slot);
    }

    String name(int slot) {
        return name.apply(slot);
    }

    int index() {
        return index;
    }

    void setIndex(int to) {
        index = to;
    }

    boolean isEmpty() {
        return filled.isEmpty();
    }

    /** Returns the first slot with messages that is at least {@code from}; -1 for none. */
    public int next(int from) {
        return filled.nextSetBit(from);
    }

    SourceSet at(int slot) {
        if (slot >= slots.length) {
            slots = Arrays.copyOf(slots, Math.max(slot + 1, 2 * slots.length));
        }
        SourceSet there = slots[slot];
        if (there == null) {
            there = new SourceSet();
            slots[slot] = there;
        }
        return there;
    }

    /** The sources of the messages in a slot; null if there are none. */
    @Nullable
    SourceSet filledAt(int slot) {
        SourceSet there = slot < slots.length ? slots[slot] : null;
        return there == null || there.isEmpty() ? null : there;
    }

    /** The source of the only message in a slot; {@link SourceSet#NONE} if the slot has none or several. */
    int onlyAt(int slot) {
        SourceSet there = slot < slots.length ? slots[slot] : null;
        return there == null ? SourceSet.NONE : there.only();
    }

    public boolean has(int slot) {
        return filledAt(slot) != null;
    }

    void setFilled(int slot, boolean on) {
        filled.set(slot, on);
    }
}
