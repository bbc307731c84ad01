/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.Locale;
import java.util.Objects;

/**
 * A flaw that a rule found at a hop. Immutable. Its text can contain names from files, so escape it before output.
 *
 * @param rule the rule's name, which never changes, such as {@code device.bus-master-off}
 * @param subject the part that has the flaw. A verdict about an interrupt counts only flaws on the interrupt's path
 * @param text one sentence without a full stop
 */
public record Flaw(String rule, Subject subject, Weight weight, Span span, String text) {
    public Flaw {
        Objects.requireNonNull(rule, "rule is null");
        Objects.requireNonNull(subject, "subject is null");
        Objects.requireNonNull(weight, "weight is null");
        Objects.requireNonNull(span, "span is null");
        Objects.requireNonNull(text, "text is null");
    }

    /** The part of the system that has a flaw. */
    public enum Subject {
        /** One device interrupt. */
        VECTOR,
        /** A device, or a bridge above it. */
        DEVICE,
        /** The VMM, its vCPU threads and their control groups. */
        GUEST,
        /** A vhost worker, iothread, back end or mdev parent device that the guest's other devices need. */
        HELPER,
        /** The host, which is never a path's subject. */
        HOST;

        /** The name in lower case. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }

        /** The subject of a flaw at a hop. */
        public static Subject at(Hop<?> hop) {
            Objects.requireNonNull(hop, "hop is null");
            return hop == Hop.DEVICE ? DEVICE : hop == Hop.VMM || hop == Hop.VCPU ? GUEST : VECTOR;
        }
    }

    /** A flaw's effect on interrupts. */
    public enum Weight {
        /** Interrupts do not pass. */
        BROKEN,
        /** Some interrupts may not pass. */
        LOSSY,
        /** Interrupts pass late. */
        SLOW,
        /** Interrupts pass normally. */
        REMARK;

        /** The name in lower case. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** The time that a flaw's evidence covers. */
    public enum Span {
        /** The time at which the files were read. */
        NOW,
        /** Any time since the thread, control group or host started, as a cumulative counter shows. */
        EVER;

        /** The name in lower case. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Whether this is a past delay, which affects no exit code. */
    public boolean isPastDelay() {
        return weight == Weight.SLOW && span == Span.EVER;
    }
}
