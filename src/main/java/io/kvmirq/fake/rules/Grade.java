/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import java.util.Locale;

/** How a {@link KernelRule} is known, the strongest evidence first. */
public enum Grade {
    /** The contract suite or the differential search checks the rule on the real kernel that runs the tests. */
    MEASURED,
    /** A stock kernel of that version, in a virtual machine, was seen to follow the rule. */
    LAB,
    /** The rule was read in the kernel's source or in the commit that introduced it. */
    SOURCE,
    /** The rule is derived from other rules or from hearsay. A test that depends on it proves less. */
    INFERRED;

    /** The name in lower case. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
