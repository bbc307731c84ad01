/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.Arrays;

/** Memory, and where each actor is: its operation, what the accesses made in it returned, and its store buffer. */
final class State {
    private static final long[] NONE = {};

    final long[] memory;
    final int[] operation;
    final long[][] results;
    /** Word, mask and value of each store on its way. */
    final long[][] buffers;

    State(long[] memory, int actors) {
        this.memory = memory.clone();
        operation = new int[actors];
        results = new long[actors][];
        buffers = new long[actors][];
        Arrays.fill(results, NONE);
        Arrays.fill(buffers, NONE);
    }

    private State(State from) {
        memory = from.memory.clone();
        operation = from.operation.clone();
        results = from.results.clone();
        buffers = from.buffers.clone();
    }

    State copy() {
        return new State(this);
    }

    boolean isQuiet() {
        for (int actor = 0; actor < operation.length; actor++) {
            if (results[actor].length > 0 || buffers[actor].length > 0) {
                return false;
            }
        }
        return true;
    }

    void remember(int actor, long result) {
        results[actor] = append(results[actor], result);
    }

    void complete(int actor, int next) {
        results[actor] = NONE;
        operation[actor] = next;
    }

    long load(int actor, int word) {
        long value = memory[word];
        long[] buffer = buffers[actor];
        for (int i = 0; i < buffer.length; i += 3) {
            if (buffer[i] == word) {
                value = value & ~buffer[i + 1] | buffer[i + 2] & buffer[i + 1];
            }
        }
        return value;
    }

    /** Memory as an actor sees it. */
    long[] view(int actor) {
        if (buffers[actor].length == 0) {
            return memory;
        }
        long[] view = memory.clone();
        for (int i = 0; i < buffers[actor].length; i += 3) {
            int word = (int) buffers[actor][i];
            view[word] = load(actor, word);
        }
        return view;
    }

    void store(int word, long mask, long value) {
        memory[word] = memory[word] & ~mask | value & mask;
    }

    void buffer(int actor, int word, long mask, long value) {
        buffers[actor] = append(append(append(buffers[actor], word), mask), value);
    }

    /** The oldest buffered store reaches memory. */
    void drain(int actor) {
        long[] buffer = buffers[actor];
        store((int) buffer[0], buffer[1], buffer[2]);
        buffers[actor] = Arrays.copyOfRange(buffer, 3, buffer.length);
    }

    private static long[] append(long[] values, long value) {
        long[] longer = Arrays.copyOf(values, values.length + 1);
        longer[values.length] = value;
        return longer;
    }

    /** All that can change, as short as numbers of seven bits a byte make it. */
    Key key(Words words) {
        Packer packer = new Packer();
        for (int word = 0; word < memory.length; word++) {
            if (!words.constant[word]) {
                packer.put(memory[word]);
            }
        }
        for (int actor = 0; actor < operation.length; actor++) {
            packer.put(operation[actor]);
            packer.put(results[actor].length);
            packer.putAll(results[actor]);
            packer.put(buffers[actor].length);
            packer.putAll(buffers[actor]);
        }
        return new Key(packer.packed());
    }

    private static final class Packer {
        private byte[] bytes = new byte[128];
        private int length;

        void putAll(long[] values) {
            for (long value : values) {
                put(value);
            }
        }

        void put(long value) {
            if (length + 10 > bytes.length) {
                bytes = Arrays.copyOf(bytes, 2 * bytes.length);
            }
            long rest = value;
            while ((rest & ~0x7fL) != 0) {
                bytes[length++] = (byte) (rest | 0x80);
                rest >>>= 7;
            }
            bytes[length++] = (byte) rest;
        }

        byte[] packed() {
            return Arrays.copyOf(bytes, length);
        }
    }

    /** A state to look up. */
    static final class Key {
        private final byte[] packed;
        private final int hash;

        private Key(byte[] packed) {
            this.packed = packed;
            this.hash = Arrays.hashCode(packed);
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Key key && Arrays.equals(packed, key.packed);
        }

        @Override
        public int hashCode() {
            return hash;
        }
    }
}
