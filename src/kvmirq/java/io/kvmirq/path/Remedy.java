/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * Advice to the administrator: a change to make or a fact to check. Immutable.
 *
 * @param text exactly what to do, without a full stop
 * @param takes the time at which the change takes effect
 * @param risk the risk of the change, empty if none is known
 */
public record Remedy(Change change, String text, Takes takes, Optional<String> risk) {
    public Remedy {
        Objects.requireNonNull(change, "change is null");
        Objects.requireNonNull(text, "text is null");
        Objects.requireNonNull(takes, "takes is null");
        Objects.requireNonNull(risk, "risk is null");
    }

    /** The kinds of changes. */
    public enum Change {
        KERNEL_PARAMETER("kernel parameter", Takes.REBOOT),
        KERNEL("kernel", Takes.REBOOT),
        MODULE_OPTION("module option", Takes.LIVE),
        FIRMWARE("firmware", Takes.REBOOT),
        VMM_FLAG("VMM flag", Takes.VMM_RESTART),
        COMMAND("command", Takes.LIVE),
        /** Follow the advice of the host check that the remedy's text names. */
        SEE("see", Takes.NOTHING),
        /** A change of the hardware itself. */
        HARDWARE("hardware", Takes.NOTHING),
        /** The remedy changes nothing. Its text names a tool that shows more facts. */
        LOOK("to see it", Takes.NOTHING),
        /** The remedy changes nothing. Its text is a kvmirq command that watches the host. */
        WATCH("to see it", Takes.NOTHING);

        private final String label;
        private final Takes usual;

        Change(String label, Takes usual) {
            this.label = label;
            this.usual = usual;
        }

        /** The kind in words. */
        public String label() {
            return label;
        }

        /** Whether the remedy only shows more facts and changes nothing. */
        public boolean shows() {
            return this == LOOK || this == WATCH;
        }
    }

    /** The time at which a change takes effect. */
    public enum Takes {
        LIVE("live"),
        MODULE_RELOAD("needs a module reload"),
        VMM_RESTART("needs a VMM restart"),
        REBOOT("needs a reboot"),
        /** Nothing takes effect, because the remedy changes nothing. */
        NOTHING("");

        private final String label;

        Takes(String label) {
            this.label = label;
        }

        /** The time at which the change takes effect, in words. */
        public String label() {
            return label;
        }
    }

    /** Joins the texts with "; ", or with ", or " after a {@link Change#WATCH}. Empty if there are no remedies. */
    public static Optional<String> text(List<Remedy> remedies) {
        return Objects.requireNonNull(remedies, "remedies is null").stream()
                .reduce((all, remedy) -> new Remedy(
                        remedy.change(),
                        all.text() + (all.change() == Change.WATCH ? ", or " : "; ") + remedy.text(),
                        remedy.takes(),
                        remedy.risk()))
                .map(Remedy::text);
    }

    /** The change's time and risk, such as {@code (live; risk: none known)}. Empty if nothing takes effect. */
    public String cost() {
        return takes == Takes.NOTHING ? "" : " (" + takes.label() + "; risk: " + risk.orElse("none known") + ")";
    }

    /** A change that takes effect at the time {@code takes}. {@code risk} is empty if no risk is known. */
    public static Remedy of(Change change, String text, Takes takes, String risk) {
        return new Remedy(
                change,
                text,
                takes,
                Objects.requireNonNull(risk, "risk is null").isEmpty() ? Optional.empty() : Optional.of(risk));
    }

    /** A change that takes effect when changes of its kind do. Its risk is unknown, except for a new kernel. */
    public static Remedy of(Change change, String text) {
        return of(
                Objects.requireNonNull(change, "change is null"),
                text,
                change == Change.KERNEL ? "a new kernel may change other behavior" : "");
    }

    /** A change that takes effect when changes of its kind do, such as after a reboot, with its risk. */
    public static Remedy of(Change change, String text, String risk) {
        return of(change, text, Objects.requireNonNull(change, "change is null").usual, risk);
    }

    /** A command that takes effect at once and has no known risk. */
    public static Remedy command(String text) {
        return of(Change.COMMAND, text);
    }

    /** A remedy that changes nothing. {@code text} names a tool that shows more facts. */
    public static Remedy look(String text) {
        return of(Change.LOOK, text);
    }
}
