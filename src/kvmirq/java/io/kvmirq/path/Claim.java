/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * The answer to one question about posting an interrupt. Immutable. Escape its texts before output.
 *
 * @param holds whether the claim is true, empty if no file shows it
 * @param evidence the evidence that the claim is true or false, empty if {@code holds} is
 * @param text the claim as one sentence without a full stop
 * @param remedies changes that make the claim true, or tools that check it, empty if there is nothing to do
 * @param never whether the claim cannot become true for any VM on this host, because of the host or the kind of
 *     interrupt, or because no VM has the device
 */
public record Claim(
        Question question,
        Optional<Boolean> holds,
        Optional<Evidence> evidence,
        String text,
        List<Remedy> remedies,
        boolean never) {
    public Claim {
        Objects.requireNonNull(question, "question is null");
        Objects.requireNonNull(holds, "holds is null");
        Objects.requireNonNull(evidence, "evidence is null");
        Objects.requireNonNull(text, "text is null");
        remedies = List.copyOf(Objects.requireNonNull(remedies, "remedies is null"));
    }

    /** A question about posting an interrupt. */
    public enum Question {
        /** The host and the VM can post the interrupt. */
        ELIGIBLE("can be posted"),
        /** KVM requested posting from the IOMMU or the ITS. */
        REQUESTED("requested"),
        /** The IOMMU's entry posts to a vCPU now, or the LPI is mapped to a vLPI. */
        FORM("entry posts"),
        /** Hardware delivered interrupts to the guest. A constant count in /proc/interrupts does not prove this. */
        DELIVERED("by hardware");

        private final String label;

        Question(String label) {
            this.label = label;
        }

        /** The question in a few words, such as {@code can be posted}. */
        public String label() {
            return label;
        }
    }

    /** A claim that is known to hold, or known not to hold. */
    public static Claim of(Question question, boolean holds, Evidence evidence, String text) {
        return new Claim(
                question,
                Optional.of(holds),
                Optional.of(Objects.requireNonNull(evidence, "evidence is null")),
                text,
                List.of(),
                false);
    }

    /** Returns a copy whose {@code never} is true, because no VM can make the claim true on this host. */
    public Claim byHost() {
        return new Claim(question, holds, evidence, text, remedies, true);
    }

    /** A claim that no file proves or disproves. {@code tool} names a tool that can. */
    public static Claim unknown(Question question, String text, String tool) {
        return unknown(question, text, List.of(Remedy.look(Objects.requireNonNull(tool, "tool is null"))));
    }

    /** A claim that no file proves or disproves. {@code remedies} name tools that can. */
    public static Claim unknown(Question question, String text, List<Remedy> remedies) {
        return new Claim(question, Optional.empty(), Optional.empty(), text, remedies, false);
    }

    /** Returns a copy of the claim with other remedies. */
    public Claim with(List<Remedy> remedies) {
        return new Claim(question, holds, evidence, text, remedies, never);
    }

    /** The question, answer, sentence and evidence in one line. */
    @Override
    public String toString() {
        String answer = holds.map(yes -> yes ? "yes" : "no").orElse("not shown");
        return String.format("%-14s %-10s ", question.label(), answer)
                + text
                + evidence.map(known -> " [" + known + "]").orElse("");
    }
}
