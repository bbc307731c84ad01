/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The bits of each field, as ARM IHI 0048 and IHI 0069 place them: first bit, then the width where it is not 1. */
class GicFieldPositionsTest {
    @ParameterizedTest
    @CsvSource({
        "gic.lr, virtualid=0:10 cpuid=10:3 eoi=19 physicalid=10:10 priority=23:5 state=28:2 grp1=30 hw=31",
        "gic.ich_lr, vintid=0:32 eoi=41 pintid=32:13 priority=48:8 nmi=59 group=60 hw=61 state=62:2",
        "gic.hcr, en=0 uie=1 lrenpie=2 npie=3 vgrp0eie=4 vgrp0die=5 vgrp1eie=6 vgrp1die=7 eoicount=27:5",
        "gic.ich_hcr, en=0 uie=1 lrenpie=2 npie=3 vgrp0eie=4 vgrp0die=5 vgrp1eie=6 vgrp1die=7 vsgieoicount=8 tc=10"
                + " tall0=11 tall1=12 tsei=13 tdir=14 dvim=15 eoicount=27:5",
        "gic.vmcr, vmgrp0en=0 vmgrp1en=1 vmackctl=2 vmfiqen=3 vmcbpr=4 vem=9 vmabp=18:3 vmbp=21:3 vmprimask=27:5",
        "gic.ich_vmcr, veng0=0 veng1=1 vackctl=2 vfiqen=3 vcbpr=4 veoim=9 vbpr1=18:3 vbpr0=21:3 vpmr=24:8",
        "gic.misr, eoi=0 u=1 lrenp=2 np=3 vgrp0e=4 vgrp0d=5 vgrp1e=6 vgrp1d=7",
        "gic.ich_misr, eoi=0 u=1 lrenp=2 np=3 vgrp0e=4 vgrp0d=5 vgrp1e=6 vgrp1d=7",
        "gic.vtr, listregs=0:6 prebits=26:3 pribits=29:3",
        "gic.ich_vtr, listregs=0:5 dvim=18 tds=19 nv4=20 a3v=21 seis=22 idbits=23:3 prebits=26:3 pribits=29:3"
    })
    void fieldsAreWhereTheManualHasThem(String kind, String positions) {
        Format format = GicFormats.of(kind);
        List<String> names = new ArrayList<>();
        for (String position : positions.split(" ")) {
            String[] parts = position.split("[=:]");
            names.add(parts[0]);
            int width = parts.length == 2 ? 1 : Integer.parseInt(parts[2]);
            long ones = (1L << width) - 1;
            long word = ones << Integer.parseInt(parts[1]);
            Field field = format.field(parts[0]).orElseThrow();
            assertThat(field.width()).as(position).isEqualTo(width);
            assertThat(field.value(new long[] {word})).as(position).isEqualTo(ones);
            assertThat(field.value(new long[] {~word})).as(position).isZero();
        }
        assertThat(format.fields().stream().map(Field::name).filter(name -> !name.startsWith("rsvd_")))
                .containsExactlyInAnyOrderElementsOf(names);
    }

    /** All of ItsCommand's constants, each by its first bit in the four words and its width. */
    @Test
    void commandFieldsAreWhereTheManualHasThem() throws IllegalAccessException {
        List<String> positions = new ArrayList<>();
        for (java.lang.reflect.Field constant : ItsCommand.class.getFields()) {
            if (constant.getType() == BitField.class) {
                BitField field = (BitField) constant.get(null);
                positions.add(constant.getName() + "=" + field.low() + ":" + field.width());
            }
        }
        assertThat(positions)
                .containsExactlyInAnyOrder(
                        "NUMBER=0:8",
                        "DEVICE=32:32",
                        "EVENT_BITS=64:5",
                        "EVENT=64:32",
                        "LPI=96:32",
                        "COLLECTION=128:16",
                        "EVENT_TABLE=136:44",
                        "TARGET=144:32",
                        "VALID=191:1",
                        "SECOND_TARGET=208:32");
    }

    @Test
    void commandsHoldTheLargestOperands() {
        int most = 0xffff_ffff;
        long low = 0xffff_ffffL;
        long device = low << 32;
        long valid = 1L << 63;
        assertThat(ItsCommand.mapDevice(most, 32, 0xf_ffff_ffff_ff00L))
                .containsExactly(device | 0x08, 0x1f, valid | 0xf_ffff_ffff_ff00L, 0);
        assertThat(ItsCommand.mapCollection(0xffff, Integer.MAX_VALUE))
                .containsExactly(0x09, 0, valid | low >> 1 << 16 | 0xffff, 0);
        assertThat(ItsCommand.mapEvent(most, most, most, 0xffff)).containsExactly(device | 0x0a, -1, 0xffff, 0);
        assertThat(ItsCommand.DISCARD.ofEvent(most, most)).containsExactly(device | 0x0f, low, 0, 0);
    }
}
