/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.GuestTables.COLLECTIONS;
import static io.kvmirq.arch.gic.model.GuestTables.DEVICES;
import static io.kvmirq.arch.gic.model.GuestTables.PROPERTIES;
import static io.kvmirq.arch.gic.model.GuestTables.RING;
import static io.kvmirq.arch.gic.model.GuestTables.SIZE;
import static io.kvmirq.arch.gic.model.GuestTables.with;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.gic.ItsCommand;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** An ITS with its ring and its tables in a memory of 1 MiB. */
class ItsTest extends ItsSetUp {
    /** Writes a register while the ITS is disabled, and enables the ITS again. */
    private void writeDisabled(int register, long... values) {
        service.write(EmulatedIts.CTLR, 0);
        for (long value : values) {
            service.write(register, value);
        }
        service.write(EmulatedIts.CTLR, EmulatedIts.ENABLED);
    }

    @Test
    void messageMakesTheLpiPending() {
        map();
        assertThat(lpis.vcpu(LPI)).hasValue(1);
        assertThat(lpis.isPending(LPI)).isFalse();
        assertThat(service.lpi(DEVICE, 1)).hasValue(LPI);
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.PENDING);
        assertThat(lpis.isPending(LPI)).isTrue();
    }

    @Test
    void unknownMessagesAreDropped() {
        map();
        assertThat(service.message(DEVICE + 1, 1)).isEqualTo(EmulatedIts.Outcome.UNMAPPED);
        assertThat(service.message(DEVICE, 2)).isEqualTo(EmulatedIts.Outcome.UNMAPPED);
        assertThat(service.lpi(DEVICE, 2)).isEmpty();
    }

    @Test
    void disabledItsOrRedistributorIsBusy() {
        map();
        lpis.enable(1, false);
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.DISABLED);
        lpis.enable(1, true);
        service.write(EmulatedIts.CTLR, 0);
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.DISABLED);
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void itsWithoutTablesIsNotEnabled() {
        EmulatedIts other = new EmulatedIts(lpis);
        other.write(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        assertThat(other.read(EmulatedIts.CTLR) & EmulatedIts.ENABLED).isZero();
    }

    @ParameterizedTest
    @ValueSource(ints = {EmulatedIts.CBASER, EmulatedIts.BASER_DEVICES, EmulatedIts.BASER_COLLECTIONS})
    void itsIsNotEnabledWithoutOneOfItsTables(int register) {
        writeDisabled(register, 0);
        assertThat(service.read(EmulatedIts.CTLR) & EmulatedIts.ENABLED).isZero();
    }

    @Test
    void commandsWaitWhileTheItsIsDisabled() {
        service.write(EmulatedIts.CTLR, 0);
        mapDevice(DEVICE, 5);
        assertThat(service.read(EmulatedIts.CTLR)).isZero();
        assertThat(service.read(EmulatedIts.CREADR)).isZero();
        service.write(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        assertThat(service.read(EmulatedIts.CREADR)).isEqualTo(ItsCommand.SIZE);
        assertThat(service.read(EmulatedIts.CTLR)).isEqualTo(1L << 31 | EmulatedIts.ENABLED);
    }

    @Test
    void ringGoesRound() {
        for (int i = 0; i < 0x1000 / ItsCommand.SIZE; i++) {
            command(ItsCommand.SYNC);
        }
        assertThat(service.read(EmulatedIts.CREADR)).isZero();
        map();
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.PENDING);
        service.write(EmulatedIts.CWRITER, 0x1000);
        assertThat(service.read(EmulatedIts.CWRITER)).isEqualTo(ram.end());
    }

    @Test
    void eventMovesToAnotherCollection() {
        map();
        mapCollection(4, 0, true);
        command(
                ItsCommand.MOVI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 1),
                with(ItsCommand.COLLECTION, 4));
        assertThat(lpis.vcpu(LPI)).hasValue(0);
        command(
                ItsCommand.MOVI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 1),
                with(ItsCommand.COLLECTION, 5));
        assertThat(lpis.vcpu(LPI)).hasValue(0);
    }

    @Test
    void collectionMovesAllItsLpis() {
        map();
        mapCollection(COLLECTION, 0, true);
        mapCollection(COLLECTION + 1, 2, true);
        mapEvent(DEVICE, 2, LPI + 1, COLLECTION + 1);
        assertThat(lpis.vcpu(LPI)).hasValue(0);
        command(ItsCommand.MOVALL, with(ItsCommand.TARGET, 0), with(ItsCommand.SECOND_TARGET, 1));
        assertThat(lpis.vcpu(LPI)).hasValue(1);
        assertThat(lpis.vcpu(LPI + 1)).hasValue(2);
        mapCollection(COLLECTION, VCPUS, true);
        assertThat(lpis.vcpu(LPI)).hasValue(1);
    }

    @Test
    void unmappedCollectionTakesNoMessages() {
        map();
        mapCollection(COLLECTION, 1, false);
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.UNMAPPED);
        mapCollection(COLLECTION, 1, true);
        assertThat(service.message(DEVICE, 1))
                .as("the event has forgotten its collection")
                .isEqualTo(EmulatedIts.Outcome.UNMAPPED);
    }

    @Test
    void eventMayNameACollectionThatIsMappedLater() {
        mapDevice(DEVICE, 5);
        mapEvent(DEVICE, 1, LPI, COLLECTION);
        assertThat(lpis.vcpu(LPI)).isEmpty();
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.UNMAPPED);
        mapCollection(COLLECTION, 0, true);
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.PENDING);
        assertThat(lpis.vcpu(LPI)).hasValue(0);
    }

    @Test
    void discardForgetsTheEventAndTheLpi() {
        map();
        service.message(DEVICE, 1);
        onEvent(ItsCommand.DISCARD, 1);
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.UNMAPPED);
        assertThat(lpis.isPending(LPI)).isFalse();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void mappedTwiceKeepsTheFirstLpi() {
        map();
        mapEvent(DEVICE, 1, LPI + 1, COLLECTION);
        assertThat(service.lpi(DEVICE, 1)).hasValue(LPI);
        mapDevice(DEVICE, 5);
        assertThat(service.lpi(DEVICE, 1)).as("MAPD forgets the events").isEmpty();
        assertThat(lpis.vcpu(LPI)).as("and their LPIs").isEmpty();
    }

    @Test
    void unmappedDeviceHasNoEvents() {
        map();
        command(ItsCommand.MAPD, with(ItsCommand.DEVICE, DEVICE));
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    /** 64 KiB have 8192 collections. One that is mapped needs no place any more. */
    @Test
    void collectionBeyondItsTableIsNotMapped() {
        mapDevice(DEVICE, 5);
        mapCollection(0x2000, 1, true);
        mapEvent(DEVICE, 1, LPI, 0x2000);
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
        mapCollection(0x1fff, 1, true);
        writeDisabled(EmulatedIts.BASER_COLLECTIONS, EmulatedIts.VALID | SIZE);
        mapEvent(DEVICE, 1, LPI, 0x1fff);
        assertThat(service.lpi(DEVICE, 1)).hasValue(LPI);
    }

    @Test
    void intAndClearSetAndClearPending() {
        map();
        onEvent(ItsCommand.INT, 1);
        assertThat(lpis.isPending(LPI)).isTrue();
        onEvent(ItsCommand.CLEAR, 1);
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void ownNumberOfTheEventIsTheLpi() {
        mapDevice(DEVICE, 16);
        mapCollection(COLLECTION, 1, true);
        command(
                ItsCommand.MAPI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 9000),
                with(ItsCommand.COLLECTION, COLLECTION));
        assertThat(service.lpi(DEVICE, 9000)).hasValue(9000);
    }

    @Test
    void rangesOfDeviceAndEventAreChecked() {
        mapDevice(0x1_0000, 5);
        mapDevice(0x2000, 5); // beyond the one page of the table
        mapDevice(DEVICE, 17);
        mapCollection(COLLECTION, 1, true);
        for (int device : new int[] {0x1_0000, 0x2000, DEVICE}) {
            mapEvent(device, 1, LPI, COLLECTION);
            assertThat(service.lpi(device, 1)).isEmpty();
        }
        mapDevice(DEVICE, 5);
        mapEvent(DEVICE, 32, LPI, COLLECTION);
        assertThat(service.lpi(DEVICE, 32)).isEmpty();
        mapEvent(DEVICE, 31, LPI, COLLECTION);
        assertThat(service.lpi(DEVICE, 31)).hasValue(LPI);
    }

    @Test
    void tableOfTwoLevelsHasToBeValid() {
        writeDisabled(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | 1L << 62 | DEVICES);
        map();
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
        memory.putLong(DEVICES, EmulatedIts.VALID | 0x8_0000);
        map();
        assertThat(service.lpi(DEVICE, 1)).hasValue(LPI);
        assertThat(service.read(EmulatedIts.BASER_COLLECTIONS) & 1L << 62).isZero();
    }

    @Test
    void registersReadAsKvmSanitizesThem() {
        assertThat(service.read(EmulatedIts.TYPER)).isEqualTo(0x1ef71);
        assertThat(service.read(EmulatedIts.IIDR)).isEqualTo(0x4b00043bL);
        assertThat(service.read(EmulatedIts.CBASER)).isEqualTo(EmulatedIts.VALID | 3L << 59 | RING);
        service.write(EmulatedIts.CBASER, 0);
        assertThat(service.read(EmulatedIts.CBASER))
                .as("read-only while enabled")
                .isEqualTo(EmulatedIts.VALID | 3L << 59 | RING);
        assertThat(service.read(EmulatedIts.BASER_DEVICES))
                .isEqualTo(EmulatedIts.VALID | 3L << 59 | 1L << 56 | 7L << 48 | DEVICES | 2 << 8);
        assertThat(service.read(EmulatedIts.BASER_COLLECTIONS))
                .isEqualTo(EmulatedIts.VALID | 3L << 59 | 4L << 56 | 7L << 48 | COLLECTIONS | 2 << 8);
        assertThat(service.read(0x110)).isZero();
        assertThat(lpis.propertyBase()).isEqualTo(PROPERTIES | 15 | 3 << 7);
    }

    @Test
    void newRingBeginsAtItsStart() {
        map();
        assertThat(service.read(EmulatedIts.CREADR)).isPositive();
        service.write(EmulatedIts.CTLR, 0);
        service.write(EmulatedIts.CBASER, service.read(EmulatedIts.CBASER));
        assertThat(service.read(EmulatedIts.CREADR)).isZero();
    }

    @Test
    void eventWhoseEntryIsNotMemoryIsNotMapped() {
        mapCollection(COLLECTION, 1, true);
        ram.command(service, ItsCommand.mapDevice(DEVICE, 5, SIZE - 0x100));
        mapEvent(DEVICE, 31, LPI, COLLECTION);
        assertThat(service.lpi(DEVICE, 31)).hasValue(LPI);
        ram.command(service, ItsCommand.mapDevice(DEVICE, 5, SIZE));
        mapEvent(DEVICE, 0, LPI, COLLECTION);
        assertThat(service.lpi(DEVICE, 0)).isEmpty();
    }

    @Test
    void newItsForgetsThePropertyTable() {
        assertThat(new Lpis(target -> OptionalInt.empty(), ram, () -> true, DEAF).propertyBase())
                .isZero();
        lpis.enable(0, false);
        lpis.setPropertyBase(0, PROPERTIES);
        EmulatedIts second = new EmulatedIts(lpis);
        assertThat(second.read(EmulatedIts.CTLR)).isEqualTo(1L << 31);
        assertThat(lpis.propertyBase()).isEqualTo(1 << 10 | 3 << 7);
    }

    @ParameterizedTest
    @CsvSource({
        "0x30000, 0x8000000000030003, CONTRADICTION", // a collection of vCPU 2
        "0x90800, 0x0000000000010003, CONTRADICTION", // an id that is no LPI
        "0x90800, 0x0000000020080004, CONTRADICTION", // collection 4
        "0x90800, 0x0020000020080003, CONTRADICTION", // the next event is event 32
        "0x20040, 0x80000000fffffe04, NO_MEMORY"
    })
    void tablesThatContradictThemselvesAreRefused(String at, String value, EmulatedIts.TableFault fault) {
        map();
        service.save();
        service.reset();
        memory.putLong(Integer.decode(at), Long.parseUnsignedLong(value.substring(2), 16));
        ram.enable(lpis, VCPUS, service);
        assertThat(service.restore()).contains(fault);
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
    }

    @Test
    void tablesOfTwoLevelsAreSavedAndRestored() {
        writeDisabled(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | 1L << 62 | DEVICES);
        memory.putLong(DEVICES + 8, EmulatedIts.VALID | 0x8_0000);
        mapDevice(0x2003, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(0x2003, 1, LPI, COLLECTION);
        assertThat(service.save()).isEmpty();
        assertThat(memory.getLong(0x8_0000 + 3 * 8)).isEqualTo(1L << 63 | GuestTables.events(0x2003) >> 3 | 4);
        long devices = service.read(EmulatedIts.BASER_DEVICES);
        service.reset();
        ram.enable(lpis, VCPUS, service);
        writeDisabled(EmulatedIts.BASER_DEVICES, devices);
        assertThat(service.restore()).isEmpty();
        assertThat(service.lpi(0x2003, 1)).hasValue(LPI);
    }

    @Test
    void resetItsIsEmpty() {
        map();
        service.reset();
        assertThat(service.read(EmulatedIts.CTLR)).isEqualTo(1L << 31);
        assertThat(service.read(EmulatedIts.CBASER)).isZero();
        assertThat(service.read(EmulatedIts.BASER_DEVICES) & EmulatedIts.VALID).isZero();
        assertThat(service.read(EmulatedIts.BASER_COLLECTIONS) & EmulatedIts.VALID)
                .isZero();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void vmmIsRefusedWhereAGuestWouldBeIgnored() {
        assertThat(service.write(EmulatedIts.CREADR, 0)).contains(EmulatedIts.Refusal.ENABLED);
        service.write(EmulatedIts.CTLR, 0);
        assertThat(service.write(EmulatedIts.CREADR, 0x1000)).contains(EmulatedIts.Refusal.BEYOND_RING);
        assertThat(service.write(EmulatedIts.CREADR, 0x20)).isEmpty();
        assertThat(service.write(EmulatedIts.IIDR, 1 << 12)).contains(EmulatedIts.Refusal.VERSION);
        assertThat(service.write(EmulatedIts.IIDR, 0)).isEmpty();
    }

    @Test
    void invalidTableForgetsEverything() {
        map();
        writeDisabled(EmulatedIts.BASER_DEVICES, 0, EmulatedIts.VALID | DEVICES);
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void tableThatStaysValidForgetsNothing() {
        map();
        service.write(EmulatedIts.CTLR, 0);
        service.write(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | DEVICES);
        service.write(EmulatedIts.BASER_COLLECTIONS, EmulatedIts.VALID | COLLECTIONS);
        service.write(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        assertThat(service.lpi(DEVICE, 1)).hasValue(LPI);
    }

    @Test
    void invalidTableOfCollectionsForgetsThem() {
        map();
        writeDisabled(EmulatedIts.BASER_COLLECTIONS, 0, EmulatedIts.VALID | COLLECTIONS);
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
        assertThat(service.lpiOfEvent(DEVICE, 1)).as("the event stays").hasValue(LPI);
        assertThat(service.save()).contains(EmulatedIts.TableFault.LOST_COLLECTION);
    }

    @Test
    void registersOfANewItsAreThoseOfKvm() {
        EmulatedIts other = new EmulatedIts(lpis);
        assertThat(other.read(EmulatedIts.BASER_DEVICES)).isEqualTo(3L << 59 | 1L << 56 | 7L << 48 | 1 << 10 | 2 << 8);
    }
}
