/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DistributorRegisterTest {
    @ParameterizedTest
    @CsvSource({
        "0,GICD_CTLR",
        "4,GICD_TYPER",
        "8,GICD_IIDR",
        "12,GICD_TYPER2",
        "16,GICD_STATUSR",
        "20,",
        "0x7c,",
        "0x80,GICD_IGROUPR",
        "0x8c,GICD_IGROUPR",
        "0x90,",
        "0x81,",
        "0x100,GICD_ISENABLER",
        "0x180,GICD_ICENABLER",
        "0x200,GICD_ISPENDR",
        "0x280,GICD_ICPENDR",
        "0x300,GICD_ISACTIVER",
        "0x380,GICD_ICACTIVER",
        "0x400,GICD_IPRIORITYR",
        "0x47c,GICD_IPRIORITYR",
        "0x480,",
        "0x800,GICD_ITARGETSR",
        "0xc00,GICD_ICFGR",
        "0xc1c,GICD_ICFGR",
        "0xc20,",
        "0xd00,GICD_IGRPMODR",
        "0x6000,GICD_IROUTER",
        "0x63fc,GICD_IROUTER",
        "0x6400,",
        "0xffd0,GICD_IDREGS",
        "0xfffc,GICD_IDREGS",
        "0x10000,",
        "-4,"
    })
    void registerStandsWhereTheManualHasIt(String offset, DistributorRegister register) {
        assertThat(DistributorRegister.at(Integer.decode(offset), 128).orElse(null))
                .isEqualTo(register);
    }

    @ParameterizedTest
    @CsvSource({
        "GICD_ISENABLER,0x104,32",
        "GICD_IPRIORITYR,0x424,36",
        "GICD_ICFGR,0xc08,32",
        "GICD_IROUTER,0x6100,32",
        "GICD_ITARGETSR,0x820,32"
    })
    void wordDescribesInterruptsFrom(DistributorRegister register, String offset, int interrupt) {
        assertThat(register.isPerInterrupt()).isTrue();
        assertThat(register.interrupt(Integer.decode(offset))).isEqualTo(interrupt);
        assertThat(register.interrupt(register.offset())).isZero();
    }

    @Test
    void controlIsOfNoInterrupt() {
        assertThat(DistributorRegister.GICD_CTLR.isPerInterrupt()).isFalse();
        assertThatThrownBy(() -> DistributorRegister.GICD_CTLR.interrupt(0))
                .hasMessage("GICD_CTLR has no bits of an interrupt: check isPerInterrupt first");
    }
}
