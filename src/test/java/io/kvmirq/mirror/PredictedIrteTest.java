/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.Golden;
import io.kvmirq.mirror.PredictedIrte.AmdGuest;
import io.kvmirq.mirror.PredictedIrte.AmdRemapped;
import io.kvmirq.mirror.PredictedIrte.VtdPosted;
import io.kvmirq.mirror.PredictedIrte.VtdRemapped;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** Predicted forms beside entries that kernel code made. */
class PredictedIrteTest {
    private static final VcpuId ANY = new VcpuId(0);

    private static List<Golden> entries(String kind, String present) throws IOException {
        List<Golden> all = Golden.of(kind)
                .filter(entry -> entry.valid() && entry.field(present) == 1)
                .toList();
        assertThat(all).isNotEmpty();
        return all;
    }

    private static boolean agrees(PredictedIrte predicted, Golden entry) {
        List<Long> words = entry.words();
        return predicted.agrees(words.get(0), words.size() > 1 ? words.get(1) : 0);
    }

    private static InterruptVector vector(Golden entry) {
        return new InterruptVector((int) entry.field("vector"));
    }

    @Test
    void postedEntriesOfVtd() throws IOException {
        for (Golden entry : entries("irte.vtd.posted", "present")) {
            // KVM never sets URG.
            boolean urgent = entry.field("urgent") == 1;
            VtdPosted predicted = new VtdPosted(ANY, vector(entry));
            assertThat(agrees(predicted, entry)).as(entry.id()).isNotEqualTo(urgent);
            InterruptVector other = new InterruptVector(vector(entry).number() ^ 1);
            assertThat(agrees(new VtdPosted(ANY, other), entry)).isFalse();
            assertThat(agrees(new VtdRemapped(), entry)).isFalse();
        }
    }

    @Test
    void remappedEntriesOfVtd() throws IOException {
        for (Golden entry : entries("irte.vtd.remapped", "present")) {
            assertThat(agrees(new VtdRemapped(), entry)).as(entry.id()).isTrue();
            assertThat(agrees(new VtdPosted(ANY, vector(entry)), entry)).isFalse();
        }
    }

    @Test
    void guestEntriesOfAmd() throws IOException {
        for (Golden entry : entries("irte.amd.ga.vapic", "valid")) {
            boolean runs = entry.field("is_run") == 1;
            boolean logs = entry.field("ga_log_intr") == 1;
            int cpu = (int) (entry.field("destination_lo") | entry.field("destination_hi") << 24);
            OptionalInt destination = runs ? OptionalInt.of(cpu) : OptionalInt.empty();
            AmdGuest predicted = new AmdGuest(ANY, vector(entry), Optional.of(runs), Optional.of(logs), destination);
            assertThat(agrees(predicted, entry)).as(entry.id()).isTrue();
            AmdGuest vague = new AmdGuest(ANY, vector(entry), Optional.empty(), Optional.empty(), OptionalInt.empty());
            assertThat(agrees(vague, entry)).as(entry.id()).isTrue();

            AmdGuest still =
                    new AmdGuest(ANY, vector(entry), Optional.of(!runs), Optional.of(logs), OptionalInt.empty());
            assertThat(agrees(still, entry)).isFalse();
            AmdGuest silent = new AmdGuest(ANY, vector(entry), Optional.of(runs), Optional.of(!logs), destination);
            assertThat(agrees(silent, entry)).isFalse();
            for (int bit = 0; bit < Integer.SIZE; bit++) {
                OptionalInt elsewhere = OptionalInt.of(cpu ^ 1 << bit);
                assertThat(agrees(
                                new AmdGuest(ANY, vector(entry), Optional.of(true), Optional.of(logs), elsewhere),
                                entry))
                        .isFalse();
            }
            assertThat(agrees(new AmdRemapped(OptionalInt.empty()), entry)).isFalse();
        }
    }

    @Test
    void remappedEntriesOfAmd() throws IOException {
        for (String kind : List.of("irte.amd.ga.remap", "irte.amd.legacy32")) {
            for (Golden entry : entries(kind, "valid")) {
                assertThat(agrees(new AmdRemapped(OptionalInt.empty()), entry))
                        .as(entry.id())
                        .isTrue();
            }
        }
    }
}
