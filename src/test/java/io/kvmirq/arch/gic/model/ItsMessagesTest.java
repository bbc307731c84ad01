/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.GuestTables.with;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.model.EmulatedIts.Outcome;
import org.junit.jupiter.api.Test;

/** Messages of events whose LPI is not at the vCPU of their collection. */
class ItsMessagesTest extends ItsSetUp {
    private static final int WITHOUT_VCPU = 9;

    @Test
    void lpiThatGotNoVcpuFromItsFirstEventIsPendingAndReachesNone() {
        mapDevice(DEVICE, 5);
        mapEvent(DEVICE, 1, LPI, WITHOUT_VCPU);
        mapCollection(COLLECTION, 1, true);
        mapEvent(DEVICE, 2, LPI, COLLECTION);
        assertThat(service.message(DEVICE, 1)).isEqualTo(Outcome.UNMAPPED);
        assertThat(service.lpi(DEVICE, 2)).hasValue(LPI);
        assertThat(service.message(DEVICE, 2)).isEqualTo(Outcome.PENDING);
        assertThat(lpis.vcpu(LPI)).isEmpty();
        assertThat(lpis.isPending(LPI)).isTrue();
    }

    @Test
    void pendingLpiGoesToItsNewVcpuWhenTheOldOneExits() {
        memory.put(GuestTables.PROPERTIES + LPI - 8192, (byte) 1);
        map();
        mapCollection(COLLECTION + 1, 0, true);
        service.message(DEVICE, 1);
        command(
                ItsCommand.MOVI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 1),
                with(ItsCommand.COLLECTION, COLLECTION + 1));
        assertThat(lpis.take(0, priority -> true)).as("on the list of vcpu 1").isEmpty();
        lpis.prune(1);
        assertThat(lpis.take(0, priority -> true)).hasValue(LPI);
    }

    /** MOVALL moves the LPIs and not the collections: {@code vgic_its_resolve_lpi()} asks the collection's vCPU. */
    @Test
    void collectionsVcpuDecidesWhetherMessagesAreTaken() {
        map();
        command(ItsCommand.MOVALL, with(ItsCommand.TARGET, 1), with(ItsCommand.SECOND_TARGET, 0));
        lpis.enable(0, false);
        assertThat(service.message(DEVICE, 1)).isEqualTo(Outcome.PENDING);
        lpis.enable(0, true);
        lpis.enable(1, false);
        assertThat(service.message(DEVICE, 1)).isEqualTo(Outcome.DISABLED);
    }
}
