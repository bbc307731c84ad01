/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.Lpis;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.Ledger;
import io.kvmirq.fake.file.MessagePlace;
import java.util.OptionalInt;

/** Messages from devices and eventfds that wait as pending LPIs, in KVM or as vLPIs of a vPE. */
final class LpiMessages implements Lpis.Listener {
    private final FakeArmVm vm;
    private final Ledger ledger;
    private final MessagePlace place;

    LpiMessages(FakeArmVm vm) {
        this.vm = vm;
        this.ledger = vm.host().ledger();
        this.place = new MessagePlace(
                slot -> vm.lpis().isPending(lpi(slot)), slot -> vm.vlpis().isSleptOn(lpi(slot)), this::name);
    }

    private static int slot(int lpi) {
        return lpi - InterruptId.FIRST_LPI;
    }

    private static int lpi(int slot) {
        return slot + InterruptId.FIRST_LPI;
    }

    private String name(int slot) {
        OptionalInt vcpu = vm.lpis().vcpu(lpi(slot));
        String target =
                vcpu.isPresent() ? " of vcpu " + vm.vcpus().get(vcpu.getAsInt()).id() : "";
        return "the pending bit of LPI " + lpi(slot) + target;
    }

    @Override
    public void arrived(int lpi) {
        ledger.put(place, slot(lpi));
    }

    @Override
    public void ended(int lpi, String how) {
        ledger.end(place, slot(lpi), how);
    }

    /** The guest of a vCPU acknowledges an LPI. */
    void take(int lpi) {
        ledger.take(place, slot(lpi));
    }

    /** Checks LPIs that are no longer vLPIs: their pending bit may be lost. No program can read that of a vLPI. */
    void vlpiEnded(EventFile event) {
        for (int slot = place.next(0); slot >= 0; slot = place.next(slot + 1)) {
            if (!vm.lpis().isPending(lpi(slot))) {
                ledger.discardUnlessSignalled(place, slot, "its vLPI ended with its pending bit", event);
            }
        }
    }

    void close() {
        ledger.endAll(place, "its VM was closed");
    }
}
