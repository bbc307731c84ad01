/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.Golden;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class PiDescriptorTest {
    private static final long RUNNING = 0x500f20000L;

    private static PiDescriptor filled(SharedWords words, long... values) {
        for (int i = 0; i < values.length; i++) {
            words.set(i, values[i]);
        }
        return PiDescriptor.over(words, 0);
    }

    static Stream<Transition> posts() throws IOException {
        return Transition.of("vtd.post").stream();
    }

    @ParameterizedTest
    @MethodSource("posts")
    void unitPostsAsTheManualSays(Transition post) {
        PiDescriptor pid = filled(SharedWords.of(new long[PiDescriptor.WORDS]), post.words());
        long notification = pid.post(post.number("vector"), post.isTrue("urgent"));
        assertThat(pid.snapshot().bits()).isEqualTo(longs(post.after()));
        assertThat(notification != 0).isEqualTo(post.isTrue("notify"));
        if (notification != 0) {
            assertThat(PostedInterruptDescriptor.NV.of(notification)).isEqualTo(post.number("notifyVector"));
            assertThat(PostedInterruptDescriptor.NDST.of(notification)).isEqualTo(post.number("notifyApicId"));
        }
    }

    private static long[] longs(List<Long> values) {
        return values.stream().mapToLong(Long::longValue).toArray();
    }

    static Stream<Transition> syncs() throws IOException {
        return Transition.of("vmx.sync_pir_to_irr").stream();
    }

    @ParameterizedTest
    @MethodSource("syncs")
    void syncTakesAsTheKernelDoes(Transition sync) {
        PiDescriptor pid = filled(SharedWords.of(new long[PiDescriptor.WORDS]), sync.words());
        long[] irr = new long[4];
        assertThat(pid.sync(SharedWords.of(irr), 0)).isFalse();
        assertThat(irr).containsExactly(0, 0, 0, 0);
        assertThat(pid.snapshot().bits()).isEqualTo(longs(sync.after()));
    }

    @Test
    void transitionsAreThoseOfTheSharedVectors() throws IOException {
        assumeTrue(Files.exists(Golden.SHARED), "the vectors this copy was made from are not here");
        List<Transition> copied = new ArrayList<>();
        for (String op : List.of("vtd.post", "vmx.pi_load", "vmx.pi_put", "vmx.sync_pir_to_irr")) {
            copied.addAll(Transition.of(op));
        }
        assertThat(copied).containsExactlyInAnyOrderElementsOf(Transition.shared(Golden.SHARED));
    }

    /** All eight cases of ON, SN and URG. The manual's rule: notify if ON is 0 and (URG is 1 or SN is 0). */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4, 5, 6, 7})
    void notificationIsDueUnlessOutstandingOrSuppressed(int flags) {
        boolean on = (flags & 1) != 0;
        boolean sn = (flags & 2) != 0;
        boolean urgent = (flags & 4) != 0;
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 0, 0, 0, RUNNING | flags & 3);
        boolean due = pid.post(0xff, urgent) != 0;
        assertThat(due).isEqualTo(!on && (urgent || !sn));
        assertThat(pid.isOn()).isEqualTo(on || due);
        assertThat(pid.isSuppressed()).isEqualTo(sn);
        assertThat(pid.snapshot().pir3()).isEqualTo(1L << 63);
    }

    @Test
    void everyVectorIsItsBitAndArrives() {
        SharedWords words = SharedWords.of(new long[12]);
        PiDescriptor pid = filled(words, 0, 0, 0, 0, RUNNING);
        for (int vector = 0; vector < 256; vector++) {
            assertThat(pid.deliver(vector)).as("first to set ON").isTrue();
            assertThat(pid.deliver(vector)).as("requested already").isFalse();
            assertThat(pid.deliver(vector ^ 0x80)).as("ON already").isFalse();
            PostedInterruptDescriptor now = pid.snapshot();
            assertThat(now.isRequested(new InterruptVector(vector))).isTrue();
            assertThat(Long.bitCount(now.pir0())
                            + Long.bitCount(now.pir1())
                            + Long.bitCount(now.pir2())
                            + Long.bitCount(now.pir3()))
                    .isEqualTo(2);
            assertThat(pid.hasPending()).isTrue();
            assertThat(pid.sync(words, 8)).isTrue();
            assertThat(pid.isOn() || pid.hasRequests()).isFalse();
            assertThat(words.get(8 + vector / 64) >>> vector & 1).isEqualTo(1);
        }
        for (int i = 8; i < 12; i++) {
            assertThat(words.get(i)).isEqualTo(-1);
        }
    }

    @Test
    void syncWithoutAnythingTakenSaysSo() {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 0, 0, 0, RUNNING | 1);
        assertThat(pid.sync(SharedWords.of(new long[4]), 0)).isFalse();
        assertThat(pid.isOn()).isFalse();
    }

    @Test
    void syncAddsToWhatTheIrrHas() {
        long[] irr = {0, 0x10, 0, 0};
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 0x22, 0, 0, RUNNING | 1);
        assertThat(pid.sync(SharedWords.of(irr), 0)).isTrue();
        assertThat(irr).containsExactly(0, 0x32, 0, 0);
    }

    @Test
    void putSuppressesAndLoadMakesUpForWhatCame() {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 0, 0, 0, RUNNING);
        pid.put();
        assertThat(pid.isSuppressed()).isTrue();
        assertThat(pid.hasPending()).isFalse();
        assertThat(pid.post(0x31, false)).isZero();
        assertThat(pid.isOn()).isFalse();
        assertThat(pid.hasPending()).as("SN and a request").isTrue();
        pid.resume();
        assertThat(pid.isOn()).isTrue();
        assertThat(pid.isSuppressed()).isFalse();
        assertThat(pid.ndst()).isEqualTo(5);
    }

    @Test
    void loadWithoutRequestsLeavesOnClear() {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 0, 0, 0, RUNNING | 2);
        pid.resume();
        assertThat(pid.isOn() || pid.isSuppressed()).isFalse();
    }

    @Test
    void requestWithoutOnOrSnIsNotPending() {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 2, 0, 0, RUNNING);
        assertThat(pid.hasPending()).isFalse();
        assertThat(pid.hasRequests()).isTrue();
    }

    @Test
    void blockTakesTheWakeUpVectorAndTellsWhatCameBefore() {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 0, 0, 0, RUNNING);
        assertThat(pid.block()).isFalse();
        assertThat(pid.nv()).isEqualTo(0xf1);
        assertThat(pid.ndst()).isEqualTo(5);
        PiDescriptor notified = filled(SharedWords.of(new long[8]), 0, 0, 0, 2, RUNNING | 1);
        assertThat(notified.block()).isTrue();
        assertThat(notified.isOn()).isTrue();
    }

    @Test
    void restoredStateVoidsRequests() {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 1, 2, 3, 4, RUNNING | 3);
        pid.discard();
        assertThat(pid.snapshot().bits()).containsExactly(0, 0, 0, 0, RUNNING | 2, 0, 0, 0);
    }

    @Test
    void newDescriptorIsThatOfANewVcpu() throws IOException {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 1, 2, 3, 4, -1, 6, 7, 8);
        pid.reset();
        assertThat(pid.snapshot().bits()).isEqualTo(Golden.named("pid-01").array());
    }

    @Test
    void memoryThatCannotBeSharedIsRefused() {
        assertThatThrownBy(() -> PiDescriptor.over(new long[7]))
                .hasMessage(
                        "a descriptor at word 0 of 7 does not fit: expected a multiple of 8 with 8 words from there");
        for (int base : new int[] {-8, 4, 16}) {
            assertThatThrownBy(() -> PiDescriptor.over(SharedWords.of(new long[16]), base))
                    .hasMessageStartingWith("a descriptor at word " + base + " of 16 does not fit");
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 256, Integer.MIN_VALUE})
    void vectorOutOfRangeIsRefusedAndNothingDone(int vector) {
        long[] words = new long[8];
        PiDescriptor pid = PiDescriptor.over(words);
        assertThatThrownBy(() -> pid.deliver(vector))
                .hasMessage("vector " + vector + " is out of range: expected 0-255");
        assertThatThrownBy(() -> pid.post(vector, true)).isInstanceOf(IllegalArgumentException.class);
        assertThat(words).containsOnly(0);
    }

    @Test
    void irrThatDoesNotFitIsRefusedAndTheRequestKept() {
        PiDescriptor pid = filled(SharedWords.of(new long[8]), 0, 0, 0, 1, RUNNING | 1);
        for (int at : new int[] {-1, 1, Integer.MAX_VALUE}) {
            assertThatThrownBy(() -> pid.sync(SharedWords.of(new long[4]), at))
                    .hasMessage("an IRR at word " + at + " of 4 does not fit: expected 4 words from there");
        }
        assertThatThrownBy(() -> pid.acknowledge(SharedWords.of(new long[3]), 0))
                .hasMessage("an IRR at word 0 of 3 does not fit: expected 4 words from there");
        assertThat(pid).hasToString("pid 0x0 0x0 0x0 0x1 0x500f20001 0x0 0x0 0x0");
    }

    /** Each operation against plain arithmetic. */
    @Test
    void wordsDoWhatTheyAreNamedFor() {
        SharedWords words = SharedWords.of(new long[8]);
        SplittableRandom random = new SplittableRandom(6);
        long model = 0;
        for (int i = 0; i < 10_000; i++) {
            long operand = random.nextLong();
            long old = model;
            switch (random.nextInt(6)) {
                case 0 -> {
                    words.set(3, operand);
                    model = operand;
                }
                case 1 -> {
                    assertThat(words.or(3, operand)).isEqualTo(old);
                    model |= operand;
                }
                case 2 -> {
                    assertThat(words.and(3, operand)).isEqualTo(old);
                    model &= operand;
                }
                case 3 -> {
                    assertThat(words.swap(3, operand)).isEqualTo(old);
                    model = operand;
                }
                case 4 -> {
                    assertThat(words.replace(3, old, operand)).isTrue();
                    model = operand;
                }
                default -> assertThat(words.replace(3, ~old, operand)).isFalse();
            }
            assertThat(words.get(3)).isEqualTo(model);
        }
        assertThat(words.get(2) | words.get(4)).isZero();
        for (int missing : new int[] {-1, 8, 1 << 28, 1 << 29, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
            assertThatThrownBy(() -> words.get(missing)).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }
}
