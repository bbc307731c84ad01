/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import java.util.Locale;

/** How sure we are of a {@link KernelRule}, surest first. */
public enum Grade {
    /** The contract suite or the differential search sees a real kernel obey it on the machine that runs the tests. */
    MEASURED,
    /** Seen on a stock kernel of that version in a virtual machine. */
    LAB,
    /** Read in the kernel's source or in the change that brought it. */
    SOURCE,
    /** Follows from the others, or was only heard of: a run that leans on it proves less. */
    INFERRED;

    /** As people read it: lower case. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
