/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.InterruptState.ACTIVE;
import static io.kvmirq.arch.gic.model.InterruptState.ENABLED;
import static io.kvmirq.arch.gic.model.InterruptState.GROUP1;
import static io.kvmirq.arch.gic.model.InterruptState.LATCH;
import static io.kvmirq.arch.gic.model.InterruptState.LEVEL;
import static io.kvmirq.arch.gic.model.InterruptState.LINE;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class DistributorTest {
    private final List<Integer> kicks = new ArrayList<>();
    private final Distributor v2 = Distributor.gicv2(2, 64, kicks::add);
    private final Distributor v3 = Distributor.gicv3(512, 988, kicks::add);

    @Test
    void stateAtReset() {
        for (Distributor gic : List.of(v2, v3)) {
            for (int vcpu : new int[] {0, gic.vcpus() - 1}) {
                assertThat(gic.word(ENABLED, vcpu, 0)).isEqualTo(0xffff);
                assertThat(gic.word(LEVEL, vcpu, 0)).isEqualTo(0xffff_0000);
                assertThat(gic.word(LATCH, vcpu, 0)).isZero();
            }
            for (int first = 32; first < gic.interrupts(); first += 32) {
                assertThat(gic.word(ENABLED, 0, first)).isZero();
                assertThat(gic.word(LEVEL, 0, first)).isZero();
                assertThat(gic.word(GROUP1, 0, first)).isEqualTo(gic.hasSources() ? 0 : -1);
                assertThat(gic.target(first)).isZero();
                assertThat(gic.priority(0, first)).isZero();
            }
        }
        assertThat(v2.interrupts()).isEqualTo(96);
        assertThat(v3.interrupts()).isEqualTo(1020);
        assertThat(v2.hasSources()).isTrue();
        assertThat(v3.hasSources()).isFalse();
        assertThat(kicks).isEmpty();
    }

    /** Pending is the latch of an edge-triggered interrupt, and the latch or the line of a level-triggered one. */
    @ParameterizedTest
    @CsvSource({
        "false,false,false,false", "false,true,false,true", "false,false,true,false", "false,true,true,true",
        "true,false,false,false", "true,true,false,true", "true,false,true,true", "true,true,true,true"
    })
    void pendingIsOfLatchAndLine(boolean level, boolean latch, boolean line, boolean pending) {
        v2.set(LEVEL, 0, 32, level ? 4 : 0);
        v2.set(LATCH, 0, 32, latch ? 4 : 0);
        v2.set(LINE, 0, 32, line ? 4 : 0);
        assertThat(v2.pending(0, 32)).isEqualTo(pending ? 4 : 0);
        v2.set(ENABLED, 0, 32, 4);
        assertThat(v2.isFlagged(0)).isEqualTo(pending);
        assertThat(kicks).isEqualTo(pending ? List.of(0) : List.of());
    }

    @Test
    void edgeIsLatchedAtEachRise() {
        v2.raise(0, 33);
        v2.lower(0, 33);
        assertThat(v2.word(LATCH, 0, 32)).isEqualTo(2);
        assertThat(v2.word(LINE, 0, 32)).isZero();
        v2.clear(LATCH, 0, 32, 2);
        v2.raise(0, 33);
        assertThat(v2.pending(0, 32)).isEqualTo(2);
    }

    @Test
    void levelFollowsTheLine() {
        v2.raise(1, 20);
        assertThat(v2.pending(1, 0)).isEqualTo(1 << 20);
        assertThat(v2.word(LATCH, 1, 0)).isZero();
        assertThat(v2.pending(0, 0)).as("the PPI of another vCPU").isZero();
        v2.lower(1, 20);
        assertThat(v2.pending(1, 0)).isZero();
    }

    /** A line that was set while the interrupt was edge-triggered counts when it becomes level-triggered. */
    @Test
    void lineCountsWhenTheInterruptBecomesLevel() {
        v2.set(LINE, 0, 32, 1);
        v2.set(ENABLED, 0, 32, 1);
        assertThat(kicks).isEmpty();
        v2.set(LEVEL, 0, 32, 1);
        assertThat(kicks).containsExactly(0);
        v2.lower(0, 32);
        v2.clear(LEVEL, 0, 32, 1);
        assertThat(v2.word(LINE, 0, 32)).isZero();
    }

    @Test
    void onlyAnEnabledInterruptIsOffered() {
        v2.raise(0, 40);
        assertThat(v2.isFlagged(0)).isFalse();
        v2.setTarget(40, 1);
        v2.set(ENABLED, 0, 32, 1 << 8);
        assertThat(kicks).containsExactly(1);
        assertThat(v2.isFlagged(0)).isFalse();
        assertThat(v2.isFlagged(1)).isTrue();
        v2.setTarget(40, 0);
        assertThat(kicks).containsExactly(1, 0);
        assertThat(v2.target(40)).isZero();
    }

    @Test
    void sgiOfAGicv2KeepsItsSources() {
        v2.send(0, 1, 5);
        v2.send(1, 1, 5);
        v2.send(1, 1, 13);
        assertThat(v2.sources(1, 5)).isEqualTo(3);
        assertThat(v2.sources(1, 13)).isEqualTo(2);
        assertThat(v2.sources(0, 5)).isZero();
        assertThat(v2.pending(1, 0)).isEqualTo(1 << 5 | 1 << 13);
        assertThat(kicks).containsExactly(1, 1, 1);
        v2.queuedSource(1, 5, 0);
        assertThat(v2.pending(1, 0)).isEqualTo(1 << 5 | 1 << 13);
        v2.queuedSource(1, 5, 1);
        assertThat(v2.pending(1, 0)).isEqualTo(1 << 13);
    }

    @Test
    void sgiOfAGicv3IsOneInterrupt() {
        v3.send(300, 511, 15);
        v3.send(301, 511, 15);
        assertThat(v3.sources(511, 15)).isZero();
        assertThat(v3.pending(511, 0)).isEqualTo(1 << 15);
        assertThat(kicks).containsExactly(511, 511);
        v3.clear(LATCH, 511, 0, 1 << 15);
        assertThat(v3.pending(511, 0)).isZero();
        v3.set(LATCH, 511, 0, 1);
        assertThat(v3.pending(511, 0)).isEqualTo(1);
    }

    @Test
    void bitsThatCannotBeWrittenStay() {
        v2.set(LATCH, 0, 0, -1);
        assertThat(v2.word(LATCH, 0, 0)).isEqualTo(0xffff_0000);
        v2.set(LEVEL, 0, 0, -1);
        assertThat(v2.word(LEVEL, 0, 0)).isEqualTo(0xffff_0000);
        v2.clear(LEVEL, 0, 0, -1);
        assertThat(v2.word(LEVEL, 0, 0)).isZero();
        v3.set(LEVEL, 0, 0, -1);
        assertThat(v3.word(LEVEL, 0, 0)).isEqualTo(0xffff_0000);
        v3.set(ENABLED, 0, 992, -1);
        assertThat(v3.word(ENABLED, 0, 992)).as("1020 to 1023 do not exist").isEqualTo(0x0fff_ffff);
    }

    @ParameterizedTest
    @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "ACTIVE")
    void wordsAreReadAsWritten(InterruptState what) {
        SplittableRandom random = new SplittableRandom(3);
        for (int i = 0; i < 1_000; i++) {
            int vcpu = random.nextInt(512);
            int first = random.nextInt(31) * 32;
            int other = first == 0 ? (vcpu + 1) % 512 : vcpu;
            int otherFirst = first == 0 ? 0 : first + 32 < 992 ? first + 32 : 32;
            int bits = random.nextInt() & 0xffff_0000;
            int before = v3.word(what, other, otherFirst);
            v3.set(what, vcpu, first, bits);
            v3.clear(what, vcpu, first, ~bits);
            assertThat(v3.word(what, vcpu, first) & 0xffff_0000).isEqualTo(bits);
            assertThat(v3.word(what, other, otherFirst))
                    .isEqualTo(first == otherFirst && vcpu == other ? bits : before);
        }
    }

    @Test
    void fieldsOfNeighboursAreApart() {
        for (int id = 0; id < 96; id++) {
            v2.setPriority(1, id, id * 2 + 1);
        }
        for (int id = 32; id < 1020; id++) {
            v3.setTarget(id, id % 512);
        }
        for (int id = 0; id < 96; id++) {
            assertThat(v2.priority(1, id)).isEqualTo(id * 2 + 1);
        }
        for (int id = 32; id < 1020; id++) {
            assertThat(v3.target(id)).isEqualTo(id % 512);
        }
        assertThat(v2.priority(0, 31)).isZero();
        v2.setPriority(1, 40, 255);
        v2.setPriority(1, 40, 0);
        assertThat(v2.priority(1, 40)).isZero();
    }

    /** A level-triggered interrupt in a list register is not offered until its end. An edge is. */
    @Test
    void queuedLevelWaitsForItsEoi() {
        v2.set(LEVEL, 0, 32, 1);
        v2.set(ENABLED, 0, 32, 3);
        v2.raise(0, 32);
        v2.raise(0, 33);
        v2.queued(0, 32);
        v2.queued(0, 33);
        kicks.clear();
        v2.setFlag(0, false);
        v2.lower(0, 32);
        v2.raise(0, 32);
        assertThat(kicks).isEmpty();
        v2.raise(0, 33);
        assertThat(kicks).containsExactly(0);
        assertThat(v2.ended(0, 32)).isZero();
        v2.lower(0, 32);
        v2.setFlag(0, false);
        assertThat(v2.ended(0, 32)).isEqualTo(-1);
        assertThat(v2.isFlagged(0)).isFalse();
        v2.kick(-1);
        assertThat(kicks).containsExactly(0);
    }

    @Test
    void whatDoesNotExistIsRefusedInOneSentence() {
        assertIllegalArgument(() -> v2.raise(0, 96), "interrupt 96 does not exist: expected 0-95");
        assertIllegalArgument(() -> v2.lower(0, -1), "interrupt -1 does not exist: expected 0-95");
        assertIllegalArgument(() -> v2.raise(0, 15), "SGI 15 has no line: a vCPU sends it");
        assertIllegalArgument(() -> v2.lower(0, 3), "SGI 3 has no line: a vCPU sends it");
        assertIllegalArgument(() -> v2.raise(2, 16), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.raise(-1, 16), "vCPU -1 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.send(2, 0, 1), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.send(0, 2, 1), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.send(0, 1, 16), "id 16 is not an SGI: expected 0-15");
        assertIllegalArgument(() -> v2.sources(0, 16), "id 16 is not an SGI: expected 0-15");
        assertIllegalArgument(() -> v2.isFlagged(2), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.sources(2, 1), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.setTarget(31, 0), "PPI 31 has no target: expected an SPI, 32-95");
        assertIllegalArgument(() -> v2.setTarget(96, 0), "interrupt 96 does not exist: expected 0-95");
        assertIllegalArgument(() -> v2.setTarget(32, 2), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.target(0), "SGI 0 has no target: expected an SPI, 32-95");
        assertIllegalArgument(() -> v2.setPriority(0, 32, 256), "priority 256 is out of range: expected 0-255");
        assertIllegalArgument(() -> v2.setPriority(0, 32, -1), "priority -1 is out of range: expected 0-255");
        assertIllegalArgument(() -> v2.setPriority(0, 96, 0), "interrupt 96 does not exist: expected 0-95");
        assertIllegalArgument(() -> v2.priority(2, 0), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.word(ACTIVE, 0, 33), "first interrupt 33: expected a multiple of 32");
        assertIllegalArgument(() -> v2.pending(0, 1), "first interrupt 1: expected a multiple of 32");
        assertIllegalArgument(() -> v2.set(ACTIVE, 2, 0, 1), "vCPU 2 does not exist: expected 0-1");
        assertIllegalArgument(() -> v2.clear(ACTIVE, 0, 96, 1), "interrupt 96 does not exist: expected 0-95");
        assertIllegalArgument(
                () -> Distributor.gicv2(9, 0, kicks::add), "9 vCPUs are out of range for a GICv2: expected 1-8");
        assertIllegalArgument(
                () -> Distributor.gicv2(0, 0, kicks::add), "0 vCPUs are out of range for a GICv2: expected 1-8");
        assertIllegalArgument(
                () -> Distributor.gicv3(513, 0, kicks::add), "513 vCPUs are out of range for a GICv3: expected 1-512");
        assertIllegalArgument(() -> Distributor.gicv3(1, 989, kicks::add), "989 SPIs: expected 0-988, ids 32-1019");
        assertIllegalArgument(() -> Distributor.gicv3(1, -1, kicks::add), "-1 SPIs: expected 0-988, ids 32-1019");
        assertThat(Distributor.gicv3(1, 0, kicks::add).interrupts()).isEqualTo(32);
    }

    /** Nothing stays locked after a refusal. */
    @Test
    void refusalsGiveTheLockBack() {
        assertThatThrownBy(() -> v2.raise(0, 96)).isInstanceOf(IllegalArgumentException.class);
        v2.raise(0, 32);
        assertThat(v2.pending(0, 32)).isEqualTo(1);
    }
}
