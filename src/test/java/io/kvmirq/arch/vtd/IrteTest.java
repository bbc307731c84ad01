/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import io.kvmirq.Vector;
import io.kvmirq.arch.Golden;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.apic.DeliveryMode;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class IrteTest {
    private static final int ROUND_TRIPS = 1_000_000;

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
        RemappedIrte irte = RemappedIrte.decode(low, high);
        assertThat(irte)
                .isEqualTo(new RemappedIrte(
                        golden.bit("present"),
                        golden.bit("fpd"),
                        golden.bit("dst_mode"),
                        golden.bit("redir_hint"),
                        golden.bit("trigger_mode"),
                        DeliveryMode.of((int) golden.field("dlvry_mode")),
                        (int) golden.field("avail"),
                        (int) golden.field("rsvd_12_15"),
                        new Vector((int) golden.field("vector")),
                        (int) golden.field("rsvd_24_31"),
                        golden.field("dest_id"),
                        source(golden),
                        golden.field("rsvd_84_127")));
        assertThat(irte.low()).isEqualTo(low);
        assertThat(irte.high()).isEqualTo(high);
        assertThat(irte.violations().isEmpty()).isEqualTo(golden.valid());
        assertThat(Irte.decode(low, high)).isEqualTo(irte);
        assertThat(Irte.isPresent(low)).isEqualTo(irte.present());
        assertThat(Irte.isPosted(low)).isFalse();
        assertThat(Irte.vector(low)).isEqualTo(irte.vector().number());
        assertThat(Irte.sourceId(high)).isEqualTo(irte.source().id());
        assertThat(Irte.destination(low)).isEqualTo(irte.destination());
    }

    @ParameterizedTest
    @MethodSource("posted")
    void postedEntryIsReadAsTheKernelReadsIt(Golden golden) {
        long low = golden.array()[0];
        long high = golden.array()[1];
        PostedIrte irte = PostedIrte.decode(low, high);
        assertThat(irte)
                .isEqualTo(new PostedIrte(
                        golden.bit("present"),
                        golden.bit("fpd"),
                        (int) golden.field("rsvd_2_7"),
                        (int) golden.field("avail"),
                        (int) golden.field("rsvd_12_13"),
                        golden.bit("urgent"),
                        golden.bit("pst"),
                        new Vector((int) golden.field("vector")),
                        (int) golden.field("rsvd_24_37"),
                        golden.field("derived_pda"),
                        source(golden),
                        (int) golden.field("rsvd_84_95")));
        assertThat(irte.low()).isEqualTo(low);
        assertThat(irte.high()).isEqualTo(high);
        assertThat(irte.violations().isEmpty()).isEqualTo(golden.valid());
        assertThat(Irte.decode(low, high)).isEqualTo(irte);
        assertThat(Irte.isPosted(low)).isTrue();
        assertThat(Irte.descriptorAddress(low, high)).isEqualTo(irte.descriptorAddress());
    }

    private static Source source(Golden golden) {
        return new Source((int) golden.field("sid"), (int) golden.field("sq"), (int) golden.field("svt"));
    }

    /** As kernel code made the posted entry of the remapped one. */
    @Test
    void postingKeepsWhatTheKernelKeeps() throws IOException {
        Golden before = Golden.named("vtd-rem-03");
        Golden after = Golden.named("vtd-pst-03");
        PostedIrte posted = RemappedIrte.decode(before.array()[0], before.array()[1])
                .posted(after.field("derived_pda"), new Vector((int) after.field("vector")));
        assertThat(new long[] {posted.low(), posted.high()}).isEqualTo(after.array());
    }

    /** Of an entry whose fault disable and software bits are set, besides what is not kept. */
    @Test
    void postingKeepsFaultDisableAndTheSoftwaresBits() throws IOException {
        Golden after = Golden.named("vtd-pst-04");
        PostedIrte posted = RemappedIrte.decode(0x0000_0300_0022_0a0fL, 0x0000_0000_0004_0100L)
                .posted(after.field("derived_pda"), new Vector((int) after.field("vector")));
        assertThat(new long[] {posted.low(), posted.high()}).isEqualTo(after.array());
    }

    @Test
    void postingKeepsNothingElse() {
        PostedIrte posted = RemappedIrte.decode(-1, -1).posted(0, new Vector(0));
        assertThat(posted.low()).isEqualTo(0x8f03);
        assertThat(posted.high()).isEqualTo(0xf_ffff);
    }

    @Test
    void anyBitsSurvive() {
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < ROUND_TRIPS; i++) {
            long low = random.nextLong();
            long high = random.nextLong();
            Irte irte = Irte.decode(low, high);
            RemappedIrte remapped = RemappedIrte.decode(low, high);
            PostedIrte posted = PostedIrte.decode(low, high);
            if (irte.low() != low
                    || irte.high() != high
                    || remapped.low() != low
                    || remapped.high() != high
                    || posted.low() != low
                    || posted.high() != high) {
                throw new AssertionError(String.format("0x%016x 0x%016x came back otherwise", low, high));
            }
        }
    }

    @Test
    void wordsWithoutAnEntryAreThoseOfTheEntry() {
        SplittableRandom random = new SplittableRandom(3);
        for (int i = 0; i < 10_000; i++) {
            long address = random.nextLong() & -64;
            Source source = new Source(random.nextInt(1 << 16), random.nextInt(4), random.nextInt(4));
            Vector vector = new Vector(random.nextInt(256));
            PostedIrte irte = new PostedIrte(true, false, 0, 0, 0, false, true, vector, 0, address, source, 0);
            assertThat(PostedIrte.lowWord(address, vector.number())).isEqualTo(irte.low());
            assertThat(PostedIrte.highWord(address, source.id(), source.qualifier(), source.validation()))
                    .isEqualTo(irte.high());
        }
    }

    /** By hand, from the manual's figures: bit 38 begins the address, byte 2 is the vector, byte 8 the requester. */
    @Test
    void fieldsAreWhereTheManualHasThem() {
        long low = 0x28ab_0000_0031_8001L;
        long high = 0x0000_0001_0004_3b01L;
        assertThat(Irte.descriptorAddress(low, high)).isEqualTo(0x1_28ab_0000L);
        assertThat(Irte.vector(low)).isEqualTo(0x31);
        assertThat(Irte.sourceId(high)).isEqualTo(0x3b01);
        assertThat(Irte.decode(low, high).source()).isEqualTo(new Source(0x3b01, 0, 1));
        assertThat(RemappedIrte.decode(0b0101_1111_1101L << 4 | 0xd, 0).mode()).isEqualTo(DeliveryMode.RESERVED_6);
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
        RemappedIrte irte = RemappedIrte.decode(Long.decode(low), Long.decode(high));
        assertThat(irte.violations()).extracting(Violation::toString).containsExactly(sentence);
        assertThat(RemappedIrte.decode(irte.low() & ~1, irte.high()).violations())
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
        assertThat(PostedIrte.decode(Long.decode(low), Long.decode(high)).violations())
                .extracting(Violation::toString)
                .containsExactly(sentence);
    }

    @Test
    void scanningAllocatesNothing() {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long[] table = new SplittableRandom(5).longs(1 << 16).toArray();
        scan(table);
        long before = threads.getCurrentThreadAllocatedBytes();
        long sum = scan(table);
        assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(1000);
        assertThat(sum).isNotZero();
    }

    private static long scan(long[] table) {
        long sum = 0;
        for (int i = 0; i < table.length; i += 2) {
            long low = table[i];
            long high = table[i + 1];
            if (Irte.isPresent(low)) {
                sum += Irte.isPosted(low) ? Irte.descriptorAddress(low, high) : Irte.destination(low);
                sum += Irte.vector(low) + Irte.sourceId(high);
                sum += PostedIrte.lowWord(high & -64, Irte.vector(low)) ^ PostedIrte.highWord(high & -64, 1, 2, 3);
            }
        }
        return sum;
    }

    @Test
    void anNmiNeedsNoVector() {
        assertThat(RemappedIrte.decode(0x81, 0).violations()).isEmpty();
    }

    @Test
    void componentsThatDoNotFitAreRefused() {
        RemappedIrte irte = RemappedIrte.decode(1, 0);
        assertThatThrownBy(() -> irte.posted(0x1020, new Vector(0x31)))
                .hasMessage("descriptor address 0x1020 is not at a 64-byte boundary: expected its low 6 bits to be 0");
        assertThatThrownBy(() -> new Source(0x10000, 0, 0))
                .hasMessage("sid 0x10000 does not fit: expected 0–0xffff, 16 bits");
        assertThatThrownBy(() -> PostedIrte.lowWord(0, 256))
                .hasMessage("vector 0x100 does not fit: expected 0–0xff, 8 bits");
    }
}
