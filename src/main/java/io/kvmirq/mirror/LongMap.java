/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * An immutable map from longs to values: a big-endian Patricia tree. A change copies the path to one leaf and shares
 * the rest. The shape depends on the keys alone, not on the order in which they came.
 */
final class LongMap<V> {
    private static final LongMap<?> EMPTY = new LongMap<>(0, 0, null, null, null);

    /** The key of a leaf; the common high bits of a branch. */
    private final long key;
    /** The highest bit in which the keys below differ; 0 for a leaf. */
    private final long bit;

    private final @Nullable V value;
    private final @Nullable LongMap<V> clear;
    private final @Nullable LongMap<V> set;

    private LongMap(long key, long bit, @Nullable V value, @Nullable LongMap<V> clear, @Nullable LongMap<V> set) {
        this.key = key;
        this.bit = bit;
        this.value = value;
        this.clear = clear;
        this.set = set;
    }

    @SuppressWarnings("unchecked") // It holds no value.
    static <V> LongMap<V> empty() {
        return (LongMap<V>) EMPTY;
    }

    boolean isEmpty() {
        return this == EMPTY;
    }

    /** The value of a key; null if there is none. Does not allocate. */
    @Nullable
    V get(long wanted) {
        LongMap<V> node = this;
        while (node.clear != null && node.set != null) {
            node = (wanted & node.bit) == 0 ? node.clear : node.set;
        }
        return node.key == wanted ? node.value : null;
    }

    /** The same map with another value of a key. */
    LongMap<V> with(long added, V other) {
        if (isEmpty() || bit == 0 && key == added) {
            return value == other ? this : new LongMap<>(added, 0, other, null, null);
        }
        if (clear == null || set == null || !covers(added)) {
            return joined(added, new LongMap<>(added, 0, other, null, null));
        }
        return (added & bit) == 0
                ? branch(key, bit, clear.with(added, other), set)
                : branch(key, bit, clear, set.with(added, other));
    }

    /** The same map without a key. */
    LongMap<V> without(long removed) {
        if (clear == null || set == null) {
            return key == removed ? empty() : this;
        }
        if (!covers(removed)) {
            return this;
        }
        LongMap<V> low = (removed & bit) == 0 ? clear.without(removed) : clear;
        LongMap<V> high = (removed & bit) == 0 ? set : set.without(removed);
        return low.isEmpty() ? high : high.isEmpty() ? low : branch(key, bit, low, high);
    }

    /** Visits the values in the order of their keys, as unsigned numbers. */
    void forEach(Consumer<? super V> visitor) {
        if (clear != null && set != null) {
            clear.forEach(visitor);
            set.forEach(visitor);
        } else if (value != null) {
            visitor.accept(value);
        }
    }

    /** The values in the order of their keys, as unsigned numbers. */
    List<V> values() {
        List<V> all = new ArrayList<>();
        forEach(all::add);
        return all;
    }

    private boolean covers(long other) {
        return (other & -(bit << 1)) == key;
    }

    private LongMap<V> joined(long otherKey, LongMap<V> other) {
        long differs = Long.highestOneBit(key ^ otherKey);
        long common = key & -(differs << 1);
        return (otherKey & differs) == 0 ? branch(common, differs, other, this) : branch(common, differs, this, other);
    }

    private static <V> LongMap<V> branch(long key, long bit, LongMap<V> clear, LongMap<V> set) {
        return new LongMap<>(key, bit, null, clear, set);
    }
}
