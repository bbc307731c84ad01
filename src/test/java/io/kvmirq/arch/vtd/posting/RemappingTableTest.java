/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.Golden;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.Source;
import io.kvmirq.arch.vtd.UnitCapabilities;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RemappingTableTest {
    private static final int ENTRIES = 16;
    private static final int INDEX = 5;
    private static final int REQUESTER = 0x3b00;
    private static final long DESCRIPTOR = 0x1_2345_6fc0L;
    private static final InterruptVector GUEST = new InterruptVector(0x41);
    /** Present, RH, vector 0x22, x2APIC id 4, SID 3b:00.0 with SVT 1: golden vtd-rem-01. */
    private static final long LOW = 0x0000000400220009L;

    private static final long HIGH = 0x43b00L;

    /** PI, EIM and IR. */
    private static final UnitCapabilities UNIT = new UnitCapabilities(1L << 59, 0x1a);

    private final List<String> seen = new ArrayList<>();
    private final long[] memory = new long[2 * ENTRIES];
    private final RemappingTable table = table(UNIT, true);
    private final long[] words = new long[PiDescriptor.WORDS];
    private final PiDescriptor descriptor = PiDescriptor.over(SharedWords.of(words), 0);

    private RemappingTable table(UnitCapabilities unit, boolean extended) {
        return new RemappingTable(memory, unit, extended, new RemappingTable.Observer() {
            @Override
            public void written(int index, long low, long high, boolean atOnce) {
                seen.add(String.format("%d: %016x %016x%s", index, high, low, atOnce ? " at once" : ""));
            }

            @Override
            public void invalidated(int index) {
                seen.add(index + ": invalidated");
            }
        });
    }

    private Optional<PiDescriptor> memory(long address) {
        return address == DESCRIPTOR ? Optional.of(descriptor) : Optional.empty();
    }

    private RemappingOutcome request(RemappingTable of) {
        return of.request(RemappableMsi.to(INDEX, 0), REQUESTER, this::memory);
    }

    private static RemappingOutcome blocked(FaultReason reason) {
        return new RemappingOutcome.Blocked(reason, true);
    }

    @Test
    void entryInUseSendsTheRequestToTheHost() {
        RemappedIrte entry = new RemappedIrte(LOW, HIGH);
        table.set(INDEX, entry);
        assertThat(request(table)).isEqualTo(new RemappingOutcome.Remapped(entry));
        assertThat(table.isPostedToVcpu(INDEX)).isFalse();
        assertThat(seen).containsExactly("5: 0000000000043b00 0000000400220009", "5: invalidated");
    }

    @Test
    void postedEntryKeepsWhatTheKernelKeepsAndRequestsTheVector() {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        descriptor.load(7);
        seen.clear();
        table.post(INDEX, DESCRIPTOR, GUEST);
        assertThat(seen).containsExactly("5: 0000000100043b00 23456fc000418001 at once", "5: invalidated");
        assertThat(table.isPostedToVcpu(INDEX)).isTrue();
        RemappingOutcome.Posted posted = (RemappingOutcome.Posted) request(table);
        assertThat(posted.notification()).contains(new RemappingOutcome.Notification(new InterruptVector(0xf2), 7));
        assertThat(posted.entry()).isEqualTo(table.entry(INDEX));
        assertThat(descriptor.snapshot().isRequested(GUEST)).isTrue();
        assertThat(((RemappingOutcome.Posted) request(table)).notification())
                .as("ON is set")
                .isEmpty();
    }

    @Test
    void goldenEntriesArePostedAsTheKernelDid() throws IOException {
        Golden posted = Golden.named("vtd-pst-03");
        Golden remapped = Golden.named("vtd-rem-03");
        table.set(INDEX, new RemappedIrte(remapped.array()[0], remapped.array()[1]));
        table.post(INDEX, posted.field("derived_pda"), new InterruptVector((int) posted.field("vector")));
        Irte entry = table.entry(INDEX);
        assertThat(new long[] {entry.low(), entry.high()}).isEqualTo(posted.array());
    }

    @Test
    void unpostedEntryIsWhereTheHostLastWantedIt() {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        table.post(INDEX, DESCRIPTOR, GUEST);
        Irte posted = table.entry(INDEX);
        seen.clear();
        table.move(INDEX, new InterruptVector(0x33), 9);
        assertThat(seen).as("affinity leaves a posted entry alone").isEmpty();
        assertThat(table.entry(INDEX)).isEqualTo(posted);
        table.unpost(INDEX);
        assertThat(seen).containsExactly("5: 0000000000043b00 0000000900330009 at once", "5: invalidated");
        assertThat(table.isPostedToVcpu(INDEX)).isFalse();
        table.move(INDEX, new InterruptVector(0x34), 2);
        assertThat(table.entry(INDEX).low()).isEqualTo(0x0000000200340009L);
        table.post(INDEX, DESCRIPTOR, GUEST);
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        assertThat(table.isPostedToVcpu(INDEX)).as("used again").isFalse();
    }

    @Test
    void postedEntryMovesToAnotherVcpuInOneWrite() {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        table.post(INDEX, DESCRIPTOR, GUEST);
        table.post(INDEX, DESCRIPTOR + 64, new InterruptVector(0x42));
        assertThat(table.entry(INDEX))
                .isEqualTo(new RemappedIrte(LOW, HIGH).posted(DESCRIPTOR + 64, new InterruptVector(0x42)));
        assertThat(request(table)).isEqualTo(blocked(FaultReason.DESCRIPTOR_UNREADABLE));
    }

    @Test
    void clearedEntryBlocks() {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        table.post(INDEX, DESCRIPTOR, GUEST);
        seen.clear();
        table.clear(INDEX);
        assertThat(seen).as("low word first").containsExactly("5: 0000000000000000 0000000000000000", "5: invalidated");
        assertThat(table.isPostedToVcpu(INDEX)).isFalse();
        assertThat(request(table)).isEqualTo(blocked(FaultReason.NOT_PRESENT));
        assertIllegalState(() -> table.post(INDEX, DESCRIPTOR, GUEST), "entry 5 is not in use: set it first");
    }

    @ParameterizedTest
    @CsvSource({
        "0xfee00008, 0x00000000, COMPATIBILITY_BLOCKED",
        "0xfee00018, 0x00010005, RESERVED_IN_REQUEST",
        "0xfee00018, 0x00000010, BEYOND_TABLE",
        "0xfeeffffc, 0x0000ffff, BEYOND_TABLE",
        "0xfee00018, 0x0000000f, NOT_PRESENT"
    })
    void requestIsCheckedBeforeTheEntry(String address, String data, FaultReason reason) {
        RemappableMsi message = new RemappableMsi(
                (int) Long.decode(address).longValue(), (int) Long.decode(data).longValue());
        assertThat(table.request(message, REQUESTER, this::memory)).isEqualTo(blocked(reason));
    }

    @Test
    void dataOfARequestIsIgnoredWithoutSubhandle() {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        RemappableMsi message = new RemappableMsi(0xfee0_0010 | INDEX << 5, 0xdead_0041);
        assertThat(table.request(message, REQUESTER, this::memory)).isInstanceOf(RemappingOutcome.Remapped.class);
    }

    @ParameterizedTest
    @CsvSource({
        "0x0000000400221009, 0x43b00, RESERVED_IN_ENTRY", // bit 12
        "0x0000000401220009, 0x43b00, RESERVED_IN_ENTRY", // bit 24
        "0x0000000400220009, 0x143b00, RESERVED_IN_ENTRY", // bit 84
        "0x0000000400220069, 0x43b00, RESERVED_IN_ENTRY", // DLM 3
        "0x0000000400220009, 0xc3b00, RESERVED_IN_ENTRY", // SVT 3
        "0x0000000400220008, 0x43b01, NOT_PRESENT",
        "0x0000000400220009, 0x43b01, WRONG_SOURCE"
    })
    void entryIsCheckedForPresenceThenReservedBitsThenSource(String low, String high, FaultReason reason) {
        table.set(INDEX, new RemappedIrte(Long.decode(low), Long.decode(high)));
        assertThat(request(table)).isEqualTo(blocked(reason));
        table.set(INDEX, new RemappedIrte(Long.decode(low) | 2, Long.decode(high)));
        assertThat(request(table)).as("FPD").isEqualTo(new RemappingOutcome.Blocked(reason, false));
    }

    @ParameterizedTest
    @CsvSource({"4, 0", "1000, 0", "24, 0", "0, 100000"})
    void reservedBitsOfAPostedEntryBlock(String low, String high) {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        table.post(INDEX, DESCRIPTOR, GUEST);
        Irte posted = table.entry(INDEX);
        long lowBits = low.equals("24") ? 1L << 24 : Long.parseLong(low, 16);
        memory[2 * INDEX] = posted.low() | lowBits;
        memory[2 * INDEX + 1] = posted.high() | Long.parseLong(high, 16);
        assertThat(request(table)).isEqualTo(blocked(FaultReason.RESERVED_IN_ENTRY));
    }

    @Test
    void unitThatCannotPostIsNotAskedTo() {
        RemappingTable old = table(new UnitCapabilities(0, 0x1a), true);
        old.set(INDEX, new RemappedIrte(LOW, HIGH));
        seen.clear();
        assertIllegalState(
                () -> old.post(INDEX, DESCRIPTOR, GUEST),
                "entry 5 cannot post: the unit has no PI, CAP bit 59; leave it remapped");
        assertThat(seen).isEmpty();
        assertThat(old.isPostedToVcpu(INDEX)).isFalse();
        assertThat(request(old)).isInstanceOf(RemappingOutcome.Remapped.class);
        memory[2 * INDEX] |= 0x8000;
        old.invalidate(INDEX);
        assertThat(request(old)).as("IM is reserved there").isEqualTo(blocked(FaultReason.RESERVED_IN_ENTRY));
    }

    @Test
    void badDescriptorAddressLeavesTheEntryRemapped() {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        assertThatThrownBy(() -> table.post(INDEX, DESCRIPTOR + 1, GUEST)).isInstanceOf(IllegalArgumentException.class);
        assertThat(table.isPostedToVcpu(INDEX)).isFalse();
        assertThat(request(table)).isInstanceOf(RemappingOutcome.Remapped.class);
    }

    @ParameterizedTest
    @CsvSource({"0x00000500, true", "0x00000501, false", "0x00010500, false", "0x80000000, false"})
    void notificationDestinationIsAnXapicIdWhereTheTableIsNotExtended(String ndst, boolean accepted) {
        RemappingTable xapic = table(UNIT, false);
        xapic.set(INDEX, new RemappedIrte(1, HIGH));
        xapic.post(INDEX, DESCRIPTOR, GUEST);
        descriptor.load(Long.decode(ndst));
        RemappingOutcome outcome = request(xapic);
        if (accepted) {
            assertThat(outcome).isInstanceOf(RemappingOutcome.Posted.class);
        } else {
            assertThat(outcome).isEqualTo(blocked(FaultReason.RESERVED_IN_DESCRIPTOR));
            assertThat(descriptor.hasRequests()).isFalse();
        }
    }

    @Test
    void entryOfPostedFormIsNotSetAsARemappedOne() {
        RemappedIrte posted = new RemappedIrte(LOW | 0x8000, HIGH);
        assertThatThrownBy(() -> table.set(INDEX, posted)).hasMessageStartingWith("entry 5 is of posted form");
        assertThat(memory).containsOnly(0);
    }

    @Test
    void destinationIsAnXapicIdWhereTheTableIsNotExtended() {
        RemappingTable xapic = table(UNIT, false);
        xapic.set(INDEX, new RemappedIrte(LOW, HIGH));
        assertThat(request(xapic)).isEqualTo(blocked(FaultReason.RESERVED_IN_ENTRY));
        RemappedIrte shifted = new RemappedIrte(0x0000040000220009L, HIGH);
        xapic.set(INDEX, shifted);
        assertThat(request(xapic)).isEqualTo(new RemappingOutcome.Remapped(shifted));
    }

    @Test
    void descriptorWithReservedBitsIsLeftAlone() {
        table.set(INDEX, new RemappedIrte(LOW, HIGH));
        table.post(INDEX, DESCRIPTOR, GUEST);
        words[7] = 1;
        assertThat(request(table)).isEqualTo(blocked(FaultReason.RESERVED_IN_DESCRIPTOR));
        assertThat(words).containsExactly(0, 0, 0, 0, 0, 0, 0, 1);
    }

    @ParameterizedTest
    @CsvSource({
        // SVT, SQ, SID, requester, accepted
        "0, 0, 0x0000, 0xffff, true",
        "1, 0, 0x3b00, 0x3b00, true",
        "1, 0, 0x3b00, 0x3b04, false",
        "1, 1, 0x3b00, 0x3b04, true",
        "1, 1, 0x3b00, 0x3b02, false",
        "1, 2, 0x3b00, 0x3b06, true",
        "1, 2, 0x3b00, 0x3b01, false",
        "1, 3, 0x3b00, 0x3b07, true",
        "1, 3, 0x3b00, 0x3b08, false",
        "1, 3, 0x3b00, 0x3c00, false",
        "2, 0, 0x3b3d, 0x3aff, false",
        "2, 0, 0x3b3d, 0x3b00, true",
        "2, 0, 0x3b3d, 0x3dff, true",
        "2, 0, 0x3b3d, 0x3e00, false",
        "3, 0, 0x3b00, 0x3b00, false"
    })
    void sourceAcceptsByIdOrBus(int validation, int qualifier, String id, String requester, boolean accepted) {
        assertThat(new Source(Integer.decode(id), qualifier, validation).accepts(Integer.decode(requester)))
                .isEqualTo(accepted);
    }

    @Test
    void impossibleTablesAndEntriesAreRefused() {
        RemappingTable.Observer deaf = new RemappingTable.Observer() {
            @Override
            public void written(int index, long low, long high, boolean atOnce) {}

            @Override
            public void invalidated(int index) {}
        };
        for (int words : new int[] {0, 2, 6, 2 << 17}) {
            assertThatThrownBy(() -> new RemappingTable(new long[words], UNIT, true, deaf))
                    .hasMessage("a table of " + words + " words is invalid: expected two for each entry, and a power of"
                            + " two from 2 to 65536 entries");
        }
        assertThatThrownBy(() -> new RemappingTable(memory, new UnitCapabilities(0, 0), true, deaf))
                .hasMessageStartingWith("the table cannot be extended: the unit has no EIM");
        assertThatThrownBy(() -> table.entry(ENTRIES))
                .hasMessage("entry 16 does not exist: expected 0-15, as the table was created");
        assertThatThrownBy(() -> table.post(-1, DESCRIPTOR, GUEST)).hasMessageStartingWith("entry -1 does not exist");
    }

    @Test
    void faultsSayTheirNumber() {
        assertThat(FaultReason.WRONG_SOURCE).hasToString("fault 0x26: the entry is not for this requester");
    }
}
