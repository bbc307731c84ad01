/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import io.kvmirq.arch.SharedWords;
import java.util.function.Consumer;
import java.util.function.LongUnaryOperator;

/** Words for a model in any package: each access is a step of the actor that runs. */
public class ExploredWords extends SharedWords {
    private final int size;
    private Cpu cpu;

    public ExploredWords(int size) {
        this.size = size;
        this.cpu = new Direct(new long[size]);
    }

    /** The next accesses are those of {@code running}. */
    public ExploredWords on(Cpu running) {
        cpu = running;
        return this;
    }

    /** Code of an actor that accesses these words. */
    public Consumer<Cpu> running(Runnable code) {
        return cpu -> {
            on(cpu);
            code.run();
        };
    }

    /** An operation that accesses these words. */
    public Operation operation(String name, Runnable code) {
        return Operation.of(name, running(code));
    }

    /** The next accesses read and write {@code memory} and are no steps. */
    public ExploredWords at(long[] memory) {
        return on(new Direct(memory));
    }

    /** The actor that runs. */
    public Cpu cpu() {
        return cpu;
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public long get(int word) {
        return cpu.load(word);
    }

    @Override
    public void set(int word, long value) {
        cpu.store(word, value, -1);
    }

    @Override
    public long or(int word, long bits) {
        return cpu.update(word, old -> old | bits);
    }

    @Override
    public long and(int word, long bits) {
        return cpu.update(word, old -> old & bits);
    }

    @Override
    public long swap(int word, long value) {
        return cpu.update(word, old -> value);
    }

    @Override
    public boolean replace(int word, long expected, long value) {
        return cpu.update(word, old -> old == expected ? value : old) == expected;
    }

    @Override
    public void setPair(int word, long low, long high) {
        cpu.storePair(word, low, high);
    }

    @Override
    public void fence() {
        cpu.fence();
    }

    @Override
    public void lock(int word) {
        cpu.lock(word);
    }

    private static final class Direct implements Cpu {
        private final long[] memory;

        private Direct(long[] memory) {
            this.memory = memory;
        }

        @Override
        public long load(int word) {
            return memory[word];
        }

        @Override
        public void store(int word, long value, long mask) {
            memory[word] = memory[word] & ~mask | value & mask;
        }

        @Override
        public long update(int word, LongUnaryOperator change) {
            long old = memory[word];
            memory[word] = change.applyAsLong(old);
            return old;
        }

        @Override
        public void storePair(int word, long low, long high) {
            memory[word] = low;
            memory[word + 1] = high;
        }

        @Override
        public void lock(int word) {
            memory[word] = 1;
        }

        @Override
        public void fence() {}

        @Override
        public void does(String what) {}

        @Override
        public int choose(int n) {
            throw new UnsupportedOperationException("nobody to choose");
        }
    }
}
