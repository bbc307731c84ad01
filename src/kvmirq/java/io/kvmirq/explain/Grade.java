/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.Locale;

/** How an {@link Answer} is known, the strongest evidence first. */
public enum Grade {
    /** The contract suite checks the answer on 6.18 with kvm_pvm, and on x86-64. */
    MEASURED("6.18,pvm"),
    /** A stock kernel of that version, in a virtual machine, was seen to answer so. */
    LAB("Debian's kernels in QEMU"),
    /** The answer was read in the kernel's source or in the commit that introduced it. */
    SOURCE(""),
    /** The answer is derived from others or from hearsay. A test that depends on it proves less. */
    INFERRED(""),
    /** The row only explains: the fake kernel never answers by it, so that no test compares it with a real kernel. */
    UNTESTED("");

    private final String kernel;

    Grade(String kernel) {
        this.kernel = kernel;
    }

    /** The kernel whose answer was seen, unless the answer's text names another one; empty if none was asked. */
    public String kernel() {
        return kernel;
    }

    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
