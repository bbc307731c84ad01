/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Rule;

/** What both formats of a message have in common. */
public final class MessageRules {
    private MessageRules() {}

    /** The address is in the window that is an interrupt. */
    public static Rule base(BitField field) {
        return Rule.is(field, CompatibilityMsi.BASE, "a write there is no interrupt");
    }

    /**
     * The message is of the format it is taken for.
     *
     * @param expected 0 for compatibility format, 1 for remappable format
     */
    public static Rule format(BitField field, int expected) {
        return Rule.is(field, expected, expected == 0 ? "it is of remappable format" : "it is of compatibility format");
    }
}
