/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

/** A check of the interrupt path of a host. Its id is stable. */
public enum Check {
    KVM("kvm", false),
    IRQCHIP("irqchip", false),
    NESTED("nested", false),
    IOMMU("iommu", false),
    REMAPPING("remapping", false),
    POSTING("posting", false),
    AVIC_INHIBITS("avic-inhibits", true),
    VFIO("vfio", false),
    UNSAFE_INTERRUPTS("unsafe-interrupts", false),
    PATHS("paths", true),
    LIMITS("limits", true),
    IO_URING("io-uring", false),
    TRACING("tracing", true),
    /** A step of its own: it loads native code. */
    BACKENDS("backends", false);

    private final String id;
    private final boolean root;

    Check(String id, boolean root) {
        this.id = id;
        this.root = root;
    }

    /** Its name on the command line and in JSON. */
    public String id() {
        return id;
    }

    /** Whether root sees more in it than other users: processes of others, debugfs. */
    public boolean showsRootMore() {
        return root;
    }

    /** Whether it runs only if it is asked for by name. */
    public boolean isStepOfItsOwn() {
        return this == BACKENDS;
    }
}
