/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.gic.VlpiKernel;
import java.util.Objects;
import java.util.Optional;

/** Facts about a VM's host from which a {@link Mirror} predicts. Immutable. */
@NotPromised
public sealed interface MirrorHost {
    /** An x86 host. */
    static MirrorHost x86(PostingHost host) {
        Objects.requireNonNull(host, "host is null");
        return new X86(host, Optional.empty(), Optional.empty(), Optional.empty());
    }

    /** The facts about an AMD host, with the AVIC rules of the host's kernel. */
    static MirrorHost x86(PostingHost host, AvicKernel kernel) {
        Objects.requireNonNull(host, "host is null");
        Objects.requireNonNull(kernel, "kernel is null");
        return new X86(host, Optional.of(kernel), Optional.empty(), Optional.empty());
    }

    /** An arm64 host. */
    static MirrorHost arm64(boolean gicv4, VlpiKernel kernel) {
        Objects.requireNonNull(kernel, "kernel is null");
        return new Arm64(Optional.of(gicv4), kernel);
    }

    /** The facts about an arm64 host for which it is unknown whether KVM uses GICv4. */
    static MirrorHost arm64(VlpiKernel kernel) {
        Objects.requireNonNull(kernel, "kernel is null");
        return new Arm64(Optional.empty(), kernel);
    }

    /** A host whose facts are not known. {@code reason} is the reason as a sentence. */
    static MirrorHost unknown(String reason) {
        Objects.requireNonNull(reason, "reason is null");
        return new Unknown(reason);
    }

    /**
     * An x86 host.
     *
     * @param host the facts that decide whether the host posts interrupts
     * @param avic on AMD, the kernel's rules for AVIC. If empty, GALogIntr is predicted only while a vCPU blocks
     * @param x2apic whether the host's CPUs are in x2APIC mode, which determines the form of PID.NDST, empty if unknown
     * @param ipiv whether KVM uses Intel's IPI virtualization, with which it updates all VMs' descriptors, empty if
     *     unknown
     */
    record X86(PostingHost host, Optional<AvicKernel> avic, Optional<Boolean> x2apic, Optional<Boolean> ipiv)
            implements MirrorHost {
        public X86 {
            Objects.requireNonNull(host, "host is null");
            Objects.requireNonNull(avic, "avic is null");
            Objects.requireNonNull(x2apic, "x2apic is null");
            Objects.requireNonNull(ipiv, "ipiv is null");
        }
    }

    /**
     * An arm64 host. {@code gicv4} is whether KVM uses GICv4, if known; {@code kernel} is how KVM finds a host irq's
     * LPI.
     */
    record Arm64(Optional<Boolean> gicv4, VlpiKernel kernel) implements MirrorHost {
        public Arm64 {
            Objects.requireNonNull(gicv4, "gicv4 is null");
            Objects.requireNonNull(kernel, "kernel is null");
        }
    }

    /** A host whose facts are not known. {@code reason} is the reason as a sentence. */
    record Unknown(String reason) implements MirrorHost {
        public Unknown {
            Objects.requireNonNull(reason, "reason is null");
        }
    }
}
