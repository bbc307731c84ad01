/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.Locale;

/** The evidence for an {@link Answer}, strongest first. */
public enum Grade {
    /** The contract suite checks the answer on an x86-64 host with Linux 6.18 and the KVM module kvm_pvm. */
    MEASURED("6.18,pvm"),
    /** The answer was observed on a Debian kernel in QEMU, of a version to which the answer applies. */
    LAB("Debian's kernels in QEMU"),
    /** The answer was read in the kernel's source or in the commit that introduced the behaviour. */
    SOURCE(""),
    /** The answer is derived from other answers or hearsay, so a test that depends on it may fail on a real kernel. */
    INFERRED(""),
    /** The answer is only text. The fake kernel does not implement it, and no test compares it with a real kernel. */
    UNTESTED("");

    private final String kernel;

    Grade(String kernel) {
        this.kernel = kernel;
    }

    /**
     * The kernel on which the answer was observed, unless the answer's text names another kernel. Empty if the answer
     * was not observed on a kernel.
     */
    public String kernel() {
        return kernel;
    }

    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
