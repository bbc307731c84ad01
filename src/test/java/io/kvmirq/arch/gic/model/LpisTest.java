/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.GuestTables.PENDING;
import static io.kvmirq.arch.gic.model.GuestTables.PROPERTIES;
import static io.kvmirq.arch.gic.model.GuestTables.SIZE;
import static io.kvmirq.arch.gic.model.GuestTables.with;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.gic.ItsCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The LPIs of the redistributors, and their tables in the guest's memory. */
class LpisTest extends ItsSetUp {
    @Test
    void pendingBitsComeFromTheTableAndGoBack() {
        int at = PENDING + 0x1_0000 + LPI / 8;
        memory.put(at, (byte) (1 << LPI % 8 | 0x80));
        map();
        assertThat(lpis.isPending(LPI)).isTrue();
        assertThat(memory.get(at)).as("the bit is taken").isEqualTo((byte) 0x80);
        assertThat(lpis.savePending()).isTrue();
        assertThat(memory.get(at)).isEqualTo((byte) (1 << LPI % 8 | 0x80));
        onEvent(ItsCommand.CLEAR, 1);
        assertThat(lpis.savePending()).isTrue();
        assertThat(memory.get(at)).isEqualTo((byte) 0x80);
    }

    /** Two events may be mapped to one LPI: it lives until both are discarded. */
    @Test
    void lpiOfTwoEventsLivesUntilBothAreDiscarded() {
        map();
        mapEvent(DEVICE, 2, LPI, COLLECTION);
        service.message(DEVICE, 2);
        onEvent(ItsCommand.DISCARD, 1);
        assertThat(lpis.isPending(LPI)).isTrue();
        onEvent(ItsCommand.DISCARD, 2);
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void enablingLpisReadsTheTable() {
        map();
        lpis.enable(1, false);
        memory.put(PENDING + 0x1_0000 + LPI / 8, (byte) (1 << LPI % 8));
        lpis.enable(1, true);
        assertThat(lpis.isPending(LPI)).isTrue();
        lpis.enable(1, false);
        assertThat(lpis.isPending(LPI)).as("stays pending").isTrue();
        lpis.setPendingBase(1, 1L << 62 | PENDING);
        memory.put(PENDING + LPI / 8, (byte) 0);
        lpis.enable(1, true);
        assertThat(lpis.isPending(LPI)).as("PTZ: the table is not read").isTrue();
        assertThat(lpis.pendingBase(1) & 1L << 62).as("PTZ reads as 0").isZero();
    }

    @Test
    void tablesOutsideMemoryAreNotRead() {
        lpis.enable(1, false);
        lpis.setPendingBase(1, SIZE);
        lpis.enable(1, true);
        map();
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void enablingReadsTheTableOfItsOwnVcpuOnly() {
        map();
        lpis.enable(0, false);
        memory.put(PENDING + LPI / 8, (byte) (1 << LPI % 8));
        lpis.enable(0, true);
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void pendingBaseIsReadWithoutTheBitThatSaysItIsZero() {
        long zero = 1L << 62;
        lpis.enable(1, false);
        lpis.setPendingBase(1, zero | PENDING);
        assertThat(lpis.writtenPendingBase(1)).isEqualTo(lpis.pendingBase(1) | zero);
        assertThat(lpis.pendingBase(1) & 0xffff_ffff_0000L).isEqualTo(PENDING);
    }

    /** A new LPI takes its bit, so that the table must be memory that can be written. */
    @Test
    void pendingTableThatCannotBeWrittenKeepsItsLpi() {
        int at = PENDING + 0x1_0000 + LPI / 8;
        memory.put(at, (byte) (1 << LPI % 8));
        ram.readOnly = at;
        map();
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
        memory.put(at, (byte) 0);
        map();
        service.message(DEVICE, 1);
        assertThat(lpis.savePending()).isFalse();
        ram.readOnly = -1;
        assertThat(lpis.savePending()).isTrue();
        lpis.enable(1, false);
        lpis.setPendingBase(1, SIZE);
        assertThat(lpis.savePending()).isFalse();
    }

    @Test
    void hostIrqWithoutAForwardedLpiIsTheHosts() {
        map();
        assertThat(lpis.receive(45)).isFalse();
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void tableOfPropertiesOutsideMemoryMakesNoLpi() {
        for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
            lpis.enable(vcpu, false);
            lpis.setPropertyBase(vcpu, SIZE | 15);
        }
        map();
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
    }

    /** GICR_PROPBASER.IDbits is one less than the bits. */
    @ParameterizedTest
    @CsvSource({"13, 16383, true", "13, 16384, false", "12, 8192, false", "13, 8192, true", "16, 65535, true"})
    void idBitsLimitTheLpis(int bits, int lpi, boolean isMapped) {
        for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
            lpis.enable(vcpu, false);
            lpis.setPropertyBase(vcpu, PROPERTIES | bits);
            lpis.enable(vcpu, true);
        }
        mapDevice(DEVICE, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(DEVICE, 1, lpi, COLLECTION);
        assertThat(service.lpi(DEVICE, 1).isPresent()).isEqualTo(isMapped);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 8191, 65536})
    void idOutOfRangeIsNotMapped(int lpi) {
        mapDevice(DEVICE, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(DEVICE, 1, lpi, COLLECTION);
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
    }

    @Test
    void pendingLpiOfTheHighestPriorityIsTakenFirst() {
        memory.put(PROPERTIES + LPI - 8192, (byte) 0xa1);
        memory.put(PROPERTIES + LPI + 1 - 8192, (byte) 0x51);
        map();
        mapEvent(DEVICE, 2, LPI + 1, COLLECTION);
        service.message(DEVICE, 1);
        service.message(DEVICE, 2);
        assertThat(lpis.take(1, priority -> true)).hasValue(LPI + 1);
    }

    /** On no list and without an event, it is gone. */
    @Test
    void disabledLpiLeavesTheListOfItsVcpu() {
        memory.put(PROPERTIES + LPI - 8192, (byte) 1);
        map();
        service.message(DEVICE, 1);
        memory.put(PROPERTIES + LPI - 8192, (byte) 0);
        onEvent(ItsCommand.INV, 1);
        lpis.prune(1);
        onEvent(ItsCommand.DISCARD, 1);
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void invalidationReadsThePropertiesAgain() {
        memory.put(PROPERTIES + LPI - 8192, (byte) 0xa1);
        map();
        assertThat(lpis.priority(LPI)).isEqualTo(0xa0);
        assertThat(lpis.isEnabledByGuest(LPI)).isTrue();
        memory.put(PROPERTIES + LPI - 8192, (byte) 0x52);
        assertThat(lpis.isEnabledByGuest(LPI)).isTrue();
        onEvent(ItsCommand.INV, 1);
        assertThat(lpis.isEnabledByGuest(LPI)).isFalse();
        assertThat(lpis.priority(LPI)).isEqualTo(0x50);
        memory.put(PROPERTIES + LPI - 8192, (byte) 0x01);
        command(ItsCommand.INVALL, with(ItsCommand.COLLECTION, COLLECTION));
        assertThat(lpis.isEnabledByGuest(LPI)).isTrue();
    }
}
