/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * The answer to one question about posting. Immutable. Texts may hold names from files.
 *
 * @param holds empty if nothing that was read answers the question
 * @param evidence how it is known; empty if it is not
 * @param text one sentence without a full stop
 * @param remedies what to change, or what would show it; empty if there is nothing to do
 * @param never whether no VM on this host is known to be able to make it hold: the host, or the kind of the interrupt,
 *     decides, or no VM has the device
 */
public record Claim(
        Question question,
        Optional<Boolean> holds,
        Optional<Evidence> evidence,
        String text,
        List<Remedy> remedies,
        boolean never) {
    /** The texts of the remedies, in one. */
    public Optional<String> remedy() {
        return Remedy.text(remedies);
    }

    /** The questions, which have independent answers. */
    public enum Question {
        /** Host and VM may post: no obstacle is known. */
        ELIGIBLE,
        /** KVM requested posting from the IOMMU or the ITS. */
        REQUESTED,
        /** The entry of the IOMMU, or of the guest's ITS, has the posted form now. */
        FORM,
        /** Hardware delivered interrupts that way. A host irq that stays silent does not show this. */
        DELIVERED;

        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** The claim holds, or not. */
    public static Claim of(Question question, boolean holds, Evidence evidence, String text) {
        return new Claim(question, Optional.of(holds), Optional.of(evidence), text, List.of(), false);
    }

    /** The claim does not hold, and a remedy exists. */
    public static Claim not(Question question, Evidence evidence, String text, String remedy) {
        return not(question, evidence, text, List.of(Remedy.look(remedy)));
    }

    /** The claim does not hold, and a remedy exists, with its effect and risk. */
    public static Claim not(Question question, Evidence evidence, String text, List<Remedy> remedies) {
        return new Claim(question, Optional.of(false), Optional.of(evidence), text, remedies, false);
    }

    /** The same claim, which no VM on this host is known to be able to make hold. */
    public Claim byHost() {
        return new Claim(question, holds, evidence, text, remedies, true);
    }

    /** No file shows whether the claim holds; {@code remedy} would show it. */
    public static Claim unknown(Question question, String text, String remedy) {
        return unknown(question, text, List.of(Remedy.look(remedy)));
    }

    /** No file shows whether the claim holds; the tools would show it. */
    public static Claim unknown(Question question, String text, List<Remedy> remedies) {
        return new Claim(question, Optional.empty(), Optional.empty(), text, remedies, false);
    }

    /** The same claim without the advice to watch. */
    public Claim afterWatch() {
        return new Claim(question, holds, evidence, text, Remedy.afterWatch(remedies), never);
    }
}
