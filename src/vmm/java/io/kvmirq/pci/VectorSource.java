/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.HeldMessage;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;

/**
 * A device's vectors behind a guest's MSI or MSI-X. A newly connected vector is masked. Calls other than {@link
 * #connect}, {@link #isPending} and {@link #forget} require connected vectors. Not thread-safe.
 */
interface VectorSource {
    int count();

    /** Whether another kind of the device's interrupts is in use, so that no vector can be connected. */
    boolean isBusy();

    /** Whether a vector that is not connected keeps its interrupts pending. */
    boolean keepsPending();

    /** Connects consecutive vectors, masked. Connects all or none. */
    void connect(int from, int count, IntFunction<MsiMessage> messages);

    void mask(BitSet which);

    void unmask(BitSet which);

    /** Changes the messages of vectors, in their order, in one commit. */
    void reroute(BitSet which, List<MsiMessage> messages);

    /** Disconnects vectors. Returns those whose interrupts the caller must keep pending. Does not throw. */
    BitSet disconnect(BitSet which);

    Optional<MsiMessage> message(int vector);

    Optional<Gsi> gsi(int vector);

    boolean isPending(int vector);

    /** Raises a vector once. */
    void signal(int vector);

    /** Forgets all interrupts that are pending here, at a reset of the device. */
    void forget();

    Vm vm();

    /** The eventfds in which interrupts wait, by vector. Empty if a host device signals them. */
    default List<EventFd> events() {
        return List.of();
    }

    /** Called when the guest's pending bit holds a message of this vector. */
    default void held(int vector, HeldMessage message) {}

    /** Called when the held message is on its way, or forgotten. */
    default void released(int vector) {}
}
