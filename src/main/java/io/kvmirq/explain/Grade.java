/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.Locale;

/** How an {@link Answer} is known, the strongest evidence first. */
public enum Grade {
    /** The contract suite or the differential search checks the answer on the real kernel that runs the tests. */
    MEASURED,
    /** A stock kernel of that version, in a virtual machine, was seen to answer so. */
    LAB,
    /** The answer was read in the kernel's source or in the commit that introduced it. */
    SOURCE,
    /** The answer is derived from others or from hearsay. A test that depends on it proves less. */
    INFERRED,
    /** The row only explains: the fake kernel never answers by it, so that no test compares it with a real kernel. */
    UNTESTED;

    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
