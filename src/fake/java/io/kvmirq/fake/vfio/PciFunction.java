/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.PciAddress;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * The identity, the capabilities and the BARs of a PCI device.
 *
 * @param group the number of the device's IOMMU group
 * @param ids the device id in the upper 16 bits, the vendor id in the lower 16 bits
 * @param msi the number of MSI vectors; 0 if the device has no MSI
 * @param bars the BARs, keyed by number
 * @param others the bytes of the other capabilities: those for which no {@link Trait} stands
 * @param registers registers of the configuration space whose values or writable bits are not the default
 */
public record PciFunction(
        PciAddress address,
        int group,
        int ids,
        Set<Trait> traits,
        int msi,
        Optional<Msix> msix,
        Map<Integer, PciBar> bars,
        List<ByteBuffer> others,
        List<Register> registers) {

    public enum Trait {
        /** An interrupt pin. */
        INTX,
        /** The device has DisINTx, the bit that masks INTx since PCI 2.3. */
        DIS_INTX,
        /** A host driver uses the device's interrupt line too. */
        SHARES_LINE,
        /** MSI has a mask bit and a pending bit for each vector. */
        MSI_MASKS,
        EXPRESS,
        /** The device has the power management capability. */
        POWER,
        /** The device has a function-level reset, of PCI Express or of Advanced Features. */
        RESETS
    }

    /** MSI-X of a device, with the BARs and byte offsets of its table and pending bits. */
    public record Msix(int vectors, int tableBar, int tableAt, int pendingBar, int pendingAt) {
        /** The size of a table entry in bytes. */
        static final int ENTRY = 16;

        private static final int VECTOR_CONTROL = 12;

        /** The offset of an entry's Vector Control word in the table's BAR. */
        int controlAt(int vector) {
            return tableAt + vector * ENTRY + VECTOR_CONTROL;
        }

        int tableSize() {
            return vectors * ENTRY;
        }

        int pendingSize() {
            return (vectors + Long.SIZE - 1) / Long.SIZE * Long.BYTES;
        }
    }

    /**
     * A 16-bit register in configuration space: its capability's id (0 for the header), offset, value, writable bits.
     */
    public record Register(int capability, int at, int value, int writable) {}

    /** The number of BARs that a header has room for. */
    static final int BARS = 6;
    /** The most bytes of {@link #others}. */
    private static final int MOST_OTHER_BYTES = 0x40;

    public PciFunction {
        msix.ifPresent(has -> {
            checkPlace("the MSI-X table", has.tableBar, has.tableAt, has.tableSize(), bars);
            checkPlace("the pending bits of MSI-X", has.pendingBar, has.pendingAt, has.pendingSize(), bars);
        });
        int bytes = others.stream().mapToInt(PciFunction::aligned).sum();
        if (bytes > MOST_OTHER_BYTES) {
            throw new IllegalArgumentException("other capabilities of " + bytes + " bytes: expected at most "
                    + MOST_OTHER_BYTES + ", after each is rounded up to a multiple of 4");
        }
    }

    private static void checkPlace(String what, int number, int at, int bytes, Map<Integer, PciBar> bars) {
        PciBar bar = bars.get(number);
        if (bar == null || bar.kind() == PciBar.Kind.PORTS || at > bar.bytes() - bytes) {
            throw new IllegalArgumentException(what + " at " + at + " of BAR " + number + ", " + bytes
                    + " bytes: expected inside of a BAR of memory of the device");
        }
    }

    static int aligned(ByteBuffer capability) {
        return capability.limit() + Integer.BYTES - 1 & -Integer.BYTES;
    }

    boolean has(Trait trait) {
        return traits.contains(trait);
    }

    boolean intx() {
        return has(Trait.INTX);
    }

    boolean disIntx() {
        return has(Trait.DIS_INTX);
    }

    boolean express() {
        return has(Trait.EXPRESS);
    }

    boolean resets() {
        return has(Trait.RESETS);
    }

    /** The number of MSI-X vectors. */
    int msixVectors() {
        return msix.map(Msix::vectors).orElse(0);
    }

    /** Whether the device has BARs of I/O ports, or else of memory. */
    boolean hasBars(boolean ports) {
        return bars.values().stream().anyMatch(bar -> (bar.kind() == PciBar.Kind.PORTS) == ports);
    }

    PciFunction placed(HostAddresses addresses) {
        Map<Integer, PciBar> placed = new TreeMap<>();
        bars.forEach((number, bar) -> placed.put(number, bar.at(addresses.place(bar.kind(), bar.bytes()))));
        return new PciFunction(address, group, ids, traits, msi, msix, Map.copyOf(placed), others, registers);
    }
}
