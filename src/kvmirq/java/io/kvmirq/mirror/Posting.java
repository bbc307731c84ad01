/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.gic.VlpiObstacle;
import java.util.Objects;
import java.util.Optional;

/**
 * Whether hardware delivers an interrupt to the guest without host software. Immutable.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="forwarding"}
 */
public sealed interface Posting {
    /** The prediction as a sentence for users, without a full stop. */
    String text();

    /** Hardware delivers the interrupt to {@code what}. {@code note} is a sentence about a limit of this delivery. */
    record Posted(Target what, Optional<String> note) implements Posting {
        public Posted {
            Objects.requireNonNull(what, "what is null");
            Objects.requireNonNull(note, "note is null");
        }

        @Override
        public String text() {
            return "posted to " + what + note.map(more -> "; " + more).orElse("");
        }
    }

    /**
     * Software delivers the interrupt.
     *
     * @param reason the first obstacle that applies, such as a {@link PostingObstacle} or {@link VlpiObstacle}, and its
     *     cause for this interrupt
     * @param remedy how to get the interrupt posted
     */
    record NotPosted(String reason, String remedy) implements Posting {
        public NotPosted {
            Objects.requireNonNull(reason, "reason is null");
            Objects.requireNonNull(remedy, "remedy is null");
        }

        @Override
        public String text() {
            return "not posted because " + reason + "; remedy: " + remedy;
        }
    }

    /** It is unknown whether hardware delivers the message. {@code reason} names the missing fact. */
    record Unknown(String reason) implements Posting {
        public Unknown {
            Objects.requireNonNull(reason, "reason is null");
        }

        @Override
        public String text() {
            return "posting is unknown because " + reason;
        }
    }

    /** The target to which hardware delivers an interrupt. */
    sealed interface Target {}

    /** The target on an x86 host, which is a vCPU's vector. */
    record ToVcpu(VcpuId vcpu, InterruptVector vector) implements Target {
        public ToVcpu {
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(vector, "vector is null");
        }

        @Override
        public String toString() {
            return vcpu + ", " + vector;
        }
    }

    /** The target on arm64 with GICv4, a vLPI with the guest's LPI, 8192 or more, and its vCPU. */
    record ToLpi(int lpi, VcpuId vcpu) implements Target {
        public ToLpi {
            Objects.requireNonNull(vcpu, "vcpu is null");
        }

        @Override
        public String toString() {
            return vcpu + ", LPI " + lpi;
        }
    }
}
