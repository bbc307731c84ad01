/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Memory;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Rules R3 and R4, and how ours differs from the historic variants, by the accesses made. */
class OrderOfAccessesTest {
    private static final int IRR = PiDescriptor.WORDS;
    private static final int SIZE = IRR + PiDescriptor.PIR_WORDS;
    private static final long REQUEST = 1L << 49;
    private static final long LOADED = 0x500f20000L;

    /** Words in which each access is noted. */
    private static final class Noted extends ExploredWords {
        private final List<String> notes = new ArrayList<>();
        private boolean quiet = true;

        private Noted(long[] memory) {
            super(SIZE);
            at(memory);
            quiet = false;
        }

        private void note(String what, int word) {
            if (!quiet) {
                notes.add(what + " " + (word < PiDescriptor.PIR_WORDS ? "PIR" : word < IRR ? "control" : "IRR"));
            }
        }

        @Override
        public long get(int word) {
            note("read", word);
            return super.get(word);
        }

        @Override
        public long or(int word, long bits) {
            note("set in", word);
            return super.or(word, bits);
        }

        @Override
        public long and(int word, long bits) {
            note("clear in", word);
            return super.and(word, bits);
        }

        @Override
        public boolean replace(int word, long expected, long value) {
            note("replace", word);
            return super.replace(word, expected, value);
        }

        @Override
        public long swap(int word, long value) {
            note("swap", word);
            return super.swap(word, value);
        }
    }

    private static long[] preempted() {
        long[] memory = new long[SIZE];
        memory[0] = REQUEST;
        memory[PostedInterruptDescriptor.CONTROL] = LOADED | PostedInterruptDescriptor.SN.mask();
        return memory;
    }

    private static List<String> loading(PostedVariant variant) {
        Noted words = new Noted(preempted());
        variant.over(words, 0).resume();
        return words.notes;
    }

    @Test
    void suppressionIsClearedBeforePirIsRead() {
        assertThat(loading(PostedVariant.TODAY)).containsExactly("clear in control", "read PIR", "set in control");
    }

    @Test
    void onIsClearedBeforePirIsTaken() {
        long[] memory = preempted();
        memory[PostedInterruptDescriptor.CONTROL] = LOADED | PostedInterruptDescriptor.ON.mask();
        Noted words = new Noted(memory);
        assertThat(PiDescriptor.over(words, 0).sync(words, IRR)).isTrue();
        assertThat(words.notes)
                .containsExactly(
                        "read control",
                        "replace control",
                        "read PIR",
                        "swap PIR",
                        "set in IRR",
                        "read PIR",
                        "read PIR",
                        "read PIR");
    }

    @Test
    void oursIsTheBugOf2019AndTheRepair() {
        assertThat(loading(PostedVariant.ON_ONLY)).containsExactly("clear in control");
        assertThat(loading(PostedVariant.TODAY)).startsWith("clear in control").endsWith("read PIR", "set in control");
        assertThat(PostedScenario.DEVICE
                        .explore(PostedVariant.ON_ONLY, Memory.SEQUENTIAL)
                        .loses())
                .isTrue();
        Exploration ours = PostedScenario.DEVICE.explore(PostedVariant.TODAY, Memory.SEQUENTIAL);
        assertThat(ours.loses()).as(ours.why()).isFalse();
    }
}
