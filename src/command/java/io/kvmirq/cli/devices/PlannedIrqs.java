/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.vfio.IrqKind;
import java.util.OptionalInt;

/**
 * The interrupts that a self-test would forward; {@code inDevice} is empty if this user may not read the number, {@code
 * count} for all of an unknown number.
 */
record PlannedIrqs(IrqKind kind, OptionalInt inDevice, int first, OptionalInt count) {
    @Override
    public String toString() {
        if (kind == IrqKind.INTX) {
            return kind.label();
        }
        if (count.isEmpty()) {
            return kind.label() + ", every vector";
        }
        int last = first + count.getAsInt() - 1;
        return kind.label() + " " + first + (last == first ? "" : "-" + last);
    }
}
