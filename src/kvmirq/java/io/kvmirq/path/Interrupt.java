/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import io.kvmirq.DeviceName;
import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A host device interrupt's identity. Immutable.
 *
 * @param kind the kind, empty if this record represents all of the device's interrupts
 * @param vector the number of a vector or platform interrupt, empty for INTx, for all interrupts, and for a message
 *     whose vector is not known
 * @param hostIrq the host irq of a message whose vector is not known, otherwise empty
 */
public record Interrupt(DeviceName device, Optional<IrqKind> kind, OptionalInt vector, Optional<HostIrq> hostIrq) {
    /**
     * @throws IllegalArgumentException if INTx or all interrupts have a vector or host irq, or another interrupt has
     *     neither or both
     */
    public Interrupt {
        Objects.requireNonNull(device, "device is null");
        Objects.requireNonNull(kind, "kind is null");
        Objects.requireNonNull(vector, "vector is null");
        Objects.requireNonNull(hostIrq, "hostIrq is null");
        boolean single = kind.filter(known -> known != IrqKind.INTX).isPresent();
        if (single ? vector.isPresent() == hostIrq.isPresent() : vector.isPresent() || hostIrq.isPresent()) {
            throw new IllegalArgumentException("a line and all interrupts have neither vector nor host irq, and a"
                    + " message has one of them: " + kind + ", " + vector + ", " + hostIrq);
        }
    }

    /** One interrupt. {@code vector} is ignored for {@link IrqKind#INTX}. */
    public static Interrupt of(DeviceName device, IrqKind kind, int vector) {
        OptionalInt number = kind == IrqKind.INTX ? OptionalInt.empty() : OptionalInt.of(vector);
        return new Interrupt(device, Optional.of(kind), number, Optional.empty());
    }

    /** A message whose vector is not known. */
    public static Interrupt of(DeviceName device, IrqKind kind, HostIrq irq) {
        return new Interrupt(device, Optional.of(kind), OptionalInt.empty(), Optional.of(irq));
    }

    /** All of a device's interrupts, for example if VFIO has armed none. */
    public static Interrupt all(DeviceName device) {
        return new Interrupt(device, Optional.empty(), OptionalInt.empty(), Optional.empty());
    }

    /** Whether this record represents all of the device's interrupts. */
    public boolean isAll() {
        return kind.isEmpty();
    }

    /** The interrupt without its device, such as {@code MSI-X 3}, {@code INTx} or {@code all interrupts}. */
    public String name() {
        return kind.map(known -> known.label()
                        + hostIrq.map(irq -> " of host irq " + irq.number()).orElse("")
                        + (vector.isPresent() ? " " + vector.getAsInt() : ""))
                .orElse("all interrupts");
    }

    /** The device and the name, such as {@code 0000:3b:00.0 MSI-X 3}. */
    @Override
    public String toString() {
        return device + " " + name();
    }
}
