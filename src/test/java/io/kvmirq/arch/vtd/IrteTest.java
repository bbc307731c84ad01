/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.Golden;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.testing.Allocations;
import java.io.IOException;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class IrteTest {
    private static Stream<Golden> remapped() throws IOException {
        return Golden.of("irte.vtd.remapped");
    }

    private static Stream<Golden> posted() throws IOException {
        return Golden.of("irte.vtd.posted");
    }

    @ParameterizedTest
    @MethodSource("remapped")
    void remappedEntryIsReadAsTheKernelReadsIt(Golden golden) {
        long low = golden.array()[0];
        long high = golden.array()[1];
        Irte irte = Irte.decode(low, high);
        assertThat(irte).isEqualTo(new RemappedIrte(low, high));
        RemappedIrte remapped = (RemappedIrte) irte;
        assertThat(irte.is(Irte.PRESENT)).isEqualTo(golden.bit("present"));
        assertThat(irte.is(Irte.FAULT_DISABLED)).isEqualTo(golden.bit("fpd"));
        assertThat(irte.is(RemappedIrte.LOGICAL)).isEqualTo(golden.bit("dst_mode"));
        assertThat(irte.is(RemappedIrte.HINT)).isEqualTo(golden.bit("redir_hint"));
        assertThat(irte.is(RemappedIrte.LEVEL)).isEqualTo(golden.bit("trigger_mode"));
        assertThat(remapped.mode()).isEqualTo(DeliveryMode.of((int) golden.field("dlvry_mode")));
        assertThat(irte.get(Irte.AVAILABLE)).isEqualTo(golden.field("avail"));
        assertThat(irte.vector()).isEqualTo(new InterruptVector((int) golden.field("vector")));
        assertThat(remapped.destination()).isEqualTo(golden.field("dest_id"));
        assertThat(irte.source()).isEqualTo(source(golden));
        assertThat(irte.violations().isEmpty()).isEqualTo(golden.valid());
        assertThat(irte).hasToString(String.format("irte.vtd.remapped 0x%x 0x%x", low, high));
    }

    @Test
    void destinationZeroIsNoShiftedXapicId() {
        assertThat(RemappedIrte.DESTINATION.description().meaning().of(0, new long[2]))
                .isEqualTo("destination, x2APIC id 0x0");
    }

    @ParameterizedTest
    @MethodSource("posted")
    void postedEntryIsReadAsTheKernelReadsIt(Golden golden) {
        long low = golden.array()[0];
        long high = golden.array()[1];
        Irte irte = Irte.decode(low, high);
        assertThat(irte).isEqualTo(new PostedIrte(low, high));
        assertThat(irte.is(Irte.POSTED)).isEqualTo(golden.bit("pst"));
        assertThat(irte.is(PostedIrte.URGENT)).isEqualTo(golden.bit("urgent"));
        assertThat(irte.vector()).isEqualTo(new InterruptVector((int) golden.field("vector")));
        assertThat(irte.source()).isEqualTo(source(golden));
        assertThat(((PostedIrte) irte).descriptorAddress()).isEqualTo(golden.field("derived_pda"));
        assertThat(irte.get(PostedIrte.ADDRESS)).isEqualTo(golden.field("derived_pda"));
        assertThat(PostedIrte.ADDRESS.of(low, high) << 6).isEqualTo(golden.field("derived_pda"));
        assertThat(irte.violations().isEmpty()).isEqualTo(golden.valid());
        assertThat(irte).hasToString(String.format("irte.vtd.posted 0x%x 0x%x", low, high));
    }

    private static Source source(Golden golden) {
        return new Source((int) golden.field("sid"), (int) golden.field("sq"), (int) golden.field("svt"));
    }

    /** As kernel code made the posted entry of the remapped one. */
    @Test
    void postingKeepsWhatTheKernelKeeps() throws IOException {
        Golden before = Golden.named("vtd-rem-03");
        Golden after = Golden.named("vtd-pst-03");
        PostedIrte posted = new RemappedIrte(before.array()[0], before.array()[1])
                .posted(after.field("derived_pda"), new InterruptVector((int) after.field("vector")));
        assertThat(new long[] {posted.low(), posted.high()}).isEqualTo(after.array());
    }

    /** The entry has fault disable and software bits set, besides fields that posting does not keep. */
    @Test
    void postingKeepsFaultDisableAndTheSoftwaresBits() throws IOException {
        Golden after = Golden.named("vtd-pst-04");
        PostedIrte posted = new RemappedIrte(0x0000_0300_0022_0a0fL, 0x0000_0000_0004_0100L)
                .posted(after.field("derived_pda"), new InterruptVector((int) after.field("vector")));
        assertThat(new long[] {posted.low(), posted.high()}).isEqualTo(after.array());
    }

    @Test
    void postingKeepsNothingElse() {
        PostedIrte posted = new RemappedIrte(-1, -1).posted(0, new InterruptVector(0));
        assertThat(posted.low()).isEqualTo(0x8f03);
        assertThat(posted.high()).isEqualTo(0xf_ffff);
    }

    @Test
    void wordsAreMadeOfVectorAddressAndSource() {
        SplittableRandom random = new SplittableRandom(3);
        for (int i = 0; i < 10_000; i++) {
            long address = random.nextLong() & -64;
            Source source = new Source(random.nextInt(1 << 16), random.nextInt(4), random.nextInt(4));
            InterruptVector vector = new InterruptVector(random.nextInt(256));
            PostedIrte irte = new PostedIrte(
                    PostedIrte.lowWord(address, vector.number()),
                    PostedIrte.highWord(address, source.id(), source.qualifier(), source.validation()));
            assertThat(irte.violations()).hasSize(source.validation() == 3 ? 1 : 0);
            assertThat(irte.is(Irte.PRESENT) && irte.is(Irte.POSTED)).isTrue();
            assertThat(irte.vector()).isEqualTo(vector);
            assertThat(irte.source()).isEqualTo(source);
            assertThat(irte.descriptorAddress()).isEqualTo(address);
        }
    }

    /** By hand, from the manual's figures: bit 38 begins the address, byte 2 is the vector, byte 8 the requester. */
    @Test
    void fieldsAreWhereTheManualHasThem() {
        long low = 0x28ab_0000_0031_8001L;
        long high = 0x0000_0001_0004_3b01L;
        assertThat(Irte.descriptorAddress(low, high)).isEqualTo(0x1_28ab_0000L);
        assertThat(Irte.VECTOR.of(low)).isEqualTo(0x31);
        assertThat(Irte.SOURCE_ID.of(high)).isEqualTo(0x3b01);
        assertThat(Irte.decode(low, high).source()).isEqualTo(new Source(0x3b01, 0, 1));
        assertThat(new RemappedIrte(0b0101_1111_1101L << 4 | 0xd, 0).mode()).isEqualTo(DeliveryMode.RESERVED_6);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0x0000000000200061 | 0x0                | dlvry_mode: delivery mode 3 is reserved",
                "0x00000000002000c1 | 0x0                | dlvry_mode: delivery mode 6 is reserved",
                "0x00000000000f0001 | 0x0                | vector: vector 0xf is below 0x10: a LAPIC raises an error instead",
                "0x0000000000201001 | 0x0                | rsvd_12_15: reserved bits 14:12 are 0x1 and not 0 (fault reason 0x24)",
                "0x0000000000208001 | 0x0                | rsvd_12_15: IM, bit 15, is 1: the entry is of posted form",
                "0x0000000001200001 | 0x0                | rsvd_24_31: reserved bits 31:24 are 0x1 and not 0 (fault reason 0x24)",
                "0x0000000000200001 | 0x00000000000c0000 | svt: SVT 3 is reserved",
                "0x0000000000200001 | 0x0000000000100000 | rsvd_84_127: reserved bits 127:84 are 0x1 and not 0 (fault reason 0x24)"
            })
    void violationsOfARemappedEntryAreNamed(String low, String high, String sentence) {
        RemappedIrte irte = new RemappedIrte(Long.decode(low), Long.decode(high));
        assertThat(irte.violations()).extracting(Violation::toString).containsExactly(sentence);
        assertThat(new RemappedIrte(irte.low() & ~1, irte.high()).violations())
                .as("nobody looks at an entry that is not present")
                .isEmpty();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0x0000000000008005 | 0x0                | rsvd_2_7: reserved bits 7:2 are 0x1 and not 0 (fault reason 0x24)",
                "0x0000000000009001 | 0x0                | rsvd_12_13: reserved bits 13:12 are 0x1 and not 0 (fault reason 0x24)",
                "0x0000000000000001 | 0x0                | pst: 0x0 and not 0x1: the entry is of remapped form",
                "0x0000002000008001 | 0x0                | rsvd_24_37: reserved bits 37:24 are 0x2000 and not 0 (fault reason 0x24)",
                "0x0000000000008001 | 0x00000000000c0000 | svt: SVT 3 is reserved",
                "0x0000000000008001 | 0x0000000000100000 | rsvd_84_95: reserved bits 95:84 are 0x1 and not 0 (fault reason 0x24)"
            })
    void violationsOfAPostedEntryAreNamed(String low, String high, String sentence) {
        assertThat(new PostedIrte(Long.decode(low), Long.decode(high)).violations())
                .extracting(Violation::toString)
                .containsExactly(sentence);
    }

    @Test
    void scanningAllocatesNothing() {
        long[] table = new SplittableRandom(5).longs(1 << 16).toArray();
        assertThat(scan(table)).isNotZero();
        assertThat(Allocations.leastOf(() -> scan(table))).isLessThan(1000);
    }

    private static long scan(long[] table) {
        long sum = 0;
        for (int i = 0; i < table.length; i += 2) {
            long low = table[i];
            long high = table[i + 1];
            if (Irte.PRESENT.isSet(low)) {
                sum += Irte.POSTED.isSet(low) ? Irte.descriptorAddress(low, high) : RemappedIrte.DESTINATION.of(low);
                sum += Irte.VECTOR.of(low) + Irte.SOURCE_ID.of(high);
                sum += PostedIrte.lowWord(high & -64, (int) Irte.VECTOR.of(low))
                        ^ PostedIrte.highWord(high & -64, 1, 2, 3);
            }
        }
        return sum;
    }

    @Test
    void anNmiNeedsNoVector() {
        assertThat(new RemappedIrte(0x81, 0).violations()).isEmpty();
    }

    @Test
    void componentsThatDoNotFitAreRefused() {
        RemappedIrte irte = new RemappedIrte(1, 0);
        assertThatThrownBy(() -> irte.posted(0x1020, new InterruptVector(0x31)))
                .hasMessage("descriptor address 0x1020 is not at a 64-byte boundary: expected its low 6 bits to be 0");
        assertThatThrownBy(() -> new Source(0x10000, 0, 0))
                .hasMessage("sid 0x10000 does not fit: expected 0-0xffff, 16 bits");
        assertThatThrownBy(() -> PostedIrte.lowWord(0, 256))
                .hasMessage("vector 0x100 does not fit: expected 0-0xff, 8 bits");
    }
}
