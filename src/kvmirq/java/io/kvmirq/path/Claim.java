/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * The answer to one question about posting. Immutable. Texts may hold names from files.
 *
 * @param holds empty if nothing that was read answers the question
 * @param evidence how it is known; empty if it is not
 * @param text one sentence without a full stop
 * @param remedies what to change, or what would show it; empty if there is nothing to do
 * @param never whether no VM can make the claim hold on this host, because the host or the kind of the interrupt
 *     decides, or because no VM has the device
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

    /** The questions, which have independent answers. */
    public enum Question {
        /** Host and VM may post: no obstacle is known. */
        ELIGIBLE("can be posted"),
        /** KVM requested posting from the IOMMU or the ITS. */
        REQUESTED("asked by KVM"),
        /** The entry of the IOMMU names a vCPU now (it posts), or the LPI is mapped to a vLPI. */
        FORM("entry posts"),
        /** Hardware delivered interrupts that way. A host irq that stays silent does not show this. */
        DELIVERED("by hardware");

        private final String label;

        Question(String label) {
            this.label = label;
        }

        /** The name in words. */
        public String label() {
            return label;
        }
    }

    /** The claim holds, or not. */
    public static Claim of(Question question, boolean holds, Evidence evidence, String text) {
        return new Claim(
                question,
                Optional.of(holds),
                Optional.of(Objects.requireNonNull(evidence, "evidence is null")),
                text,
                List.of(),
                false);
    }

    /** The same claim, which no VM on this host is known to be able to make hold. */
    public Claim byHost() {
        return new Claim(question, holds, evidence, text, remedies, true);
    }

    /** Nothing shows whether the claim holds; the tool would show it. */
    public static Claim unknown(Question question, String text, String tool) {
        return unknown(question, text, List.of(Remedy.look(Objects.requireNonNull(tool, "tool is null"))));
    }

    /** No file shows whether the claim holds; the named tools would show it. */
    public static Claim unknown(Question question, String text, List<Remedy> remedies) {
        return new Claim(question, Optional.empty(), Optional.empty(), text, remedies, false);
    }

    /** The same claim with other remedies. */
    public Claim with(List<Remedy> remedies) {
        return new Claim(question, holds, evidence, text, remedies, never);
    }

    /** Question, answer, sentence and evidence, in one line. */
    @Override
    public String toString() {
        String answer = holds.map(yes -> yes ? "yes" : "no").orElse("not shown");
        return String.format("%-14s %-10s ", question.label(), answer)
                + text
                + evidence.map(one -> " [" + one + "]").orElse("");
    }
}
