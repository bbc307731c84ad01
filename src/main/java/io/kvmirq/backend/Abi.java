/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

/**
 * The version of {@code libkvmirq.so}'s ABI and the sizes of the records shared with it.
 *
 * @param major must be equal on both sides
 * @param minor the library's must be at least ours; a higher minor only adds functions
 * @param routeSize bytes of {@code struct kvmirq_route}
 * @param irqchipSize bytes of an interrupt chip's state
 */
public record Abi(int major, int minor, int routeSize, int irqchipSize) {
    /** The ABI that this code needs. */
    public static final Abi OURS = new Abi(1, 0, KernelBackend.ROUTE_SIZE, KernelBackend.IRQCHIP_STATE_SIZE);

    /** Number of the route record for {@code kvmirq_abi_record_size()}. */
    public static final int RECORD_ROUTE = 0;

    /** Number of the record that holds the state of an interrupt chip. */
    public static final int RECORD_IRQCHIP = 1;

    /** @param version {@code kvmirq_abi_version()} */
    public static Abi of(int version, int routeSize, int irqchipSize) {
        return new Abi(version >>> 16, version & 0xffff, routeSize, irqchipSize);
    }

    /** @throws BackendUnavailableException if the library does not fit this code; the message names both ABIs */
    public void requireFits(String library) {
        if (major != OURS.major || minor < OURS.minor) {
            throw new BackendUnavailableException(library + " speaks " + this + ", this kvmirq speaks " + OURS
                    + ": use the library and the jar of one release");
        }
        if (routeSize != OURS.routeSize || irqchipSize != OURS.irqchipSize) {
            throw new BackendUnavailableException(library + " has records of " + routeSize + " and " + irqchipSize
                    + " bytes (route, irqchip), this kvmirq of " + OURS.routeSize + " and " + OURS.irqchipSize
                    + ": use the library and the jar of one release");
        }
    }

    @Override
    public String toString() {
        return "ABI " + major + "." + minor;
    }
}
