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
    TRACING("tracing", true),
    /** A separate step, because it loads native code. */
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

    /** Whether root gets more from it than other users, from other processes or debugfs. */
    public boolean showsRootMore() {
        return root;
    }

    /** Whether it runs only if the command line names it. */
    public boolean isStepOfItsOwn() {
        return this == BACKENDS;
    }
}
