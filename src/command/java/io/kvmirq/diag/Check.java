/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import java.util.stream.Stream;

/** A check of a host's interrupt path. Its id is stable. */
public enum Check {
    KVM("kvm"),
    IRQCHIP("irqchip"),
    NESTED("nested"),
    IOMMU("iommu"),
    REMAPPING("remapping"),
    POSTING("posting"),
    AVIC_INHIBITS("avic-inhibits"),
    VFIO("vfio"),
    UNSAFE_INTERRUPTS("unsafe-interrupts"),
    PARAMETERS("parameters"),
    LOG("log"),
    PATHS("paths"),
    LIMITS("limits"),
    /** Files and control groups that QEMU and libvirt use beside KVM. */
    SUPPORT("support"),
    TRACING("tracing"),
    /** A separate step, because it reads the kernel's memory. */
    KERNEL_MEMORY("kernel-memory"),
    /** A separate step, because it loads native code. */
    BACKENDS("backends");

    private final String id;

    Check(String id) {
        this.id = id;
    }

    /** The check's name on the command line and in JSON. */
    public String id() {
        return id;
    }

    /** The check with an id. */
    public static Check parse(String id) {
        return Stream.of(values())
                .filter(check -> check.id.equals(id))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("\"" + id + "\" is not a check"));
    }

    /** Whether it runs only if the command line names it. */
    public boolean isStepOfItsOwn() {
        return this == BACKENDS || this == KERNEL_MEMORY;
    }
}
