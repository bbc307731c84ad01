/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.InterruptVector;
import io.kvmirq.fake.file.Ledger;
import io.kvmirq.fake.file.MessagePlace;
import java.util.Arrays;
import java.util.function.IntPredicate;

/** Messages from devices and eventfds that wait as requests in a LAPIC's IRR. */
final class LapicMessages {
    private static final int WORDS = 8;

    private final Ledger ledger;
    private final VectorSet requested;
    private final MessagePlace place;
    /** The requests that the program has read by KVM_GET_LAPIC or set by KVM_SET_LAPIC. */
    private final int[] shown = new int[WORDS];

    /** @param wakes whether a request must wake the sleeping vCPU */
    LapicMessages(Ledger ledger, VectorSet requested, int vcpuId, IntPredicate wakes) {
        this.ledger = ledger;
        this.requested = requested;
        this.place = new MessagePlace(
                requested::has, wakes, vector -> "IRR of vcpu " + vcpuId + ", " + new InterruptVector(vector));
    }

    /** The message in the ledger's hand becomes a request. */
    void request(int vector) {
        if (!ledger.putToAnother(place, vector)) {
            if (!place.has(vector)) {
                forgetShown(vector);
            }
            ledger.put(place, vector);
        }
    }

    /** The message in the ledger's hand arrives as an NMI, INIT, start-up or SMI. */
    void arrive() {
        ledger.arrive();
    }

    void take(int vector) {
        forgetShown(vector);
        ledger.take(place, vector);
    }

    private void forgetShown(int vector) {
        shown[vector / Integer.SIZE] &= ~(1 << vector % Integer.SIZE);
    }

    /** Notes that the program has read the requests. */
    void show() {
        requested.copyTo(shown);
    }

    /** KVM_SET_LAPIC: requests that KVM_GET_LAPIC had returned count as taken, later ones as lost. */
    void replaced() {
        for (int vector = place.next(0); vector >= 0; vector = place.next(vector + 1)) {
            boolean known = (shown[vector / Integer.SIZE] >>> vector % Integer.SIZE & 1) != 0;
            if (!requested.has(vector) && known) {
                ledger.take(place, vector);
            } else if (!requested.has(vector)) {
                ledger.lose(place, vector, "KVM_SET_LAPIC cleared a request that came after KVM_GET_LAPIC");
            }
        }
        show();
    }

    /** INIT clears the requests. */
    void reset() {
        ledger.endAll(place, "INIT reset its LAPIC");
        Arrays.fill(shown, 0);
    }

    /** Ends the messages after the VM and all its vCPUs are closed. */
    void close() {
        ledger.endAll(place, "its VM was closed");
    }
}
