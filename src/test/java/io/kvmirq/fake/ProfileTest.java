/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.fake.file.Hardware;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ProfileTest {
    @Test
    void unknownAndContradictoryProfilesAreOneSentence() {
        assertThatThrownBy(() -> Profile.parse("5.4"))
                .hasMessage(
                        "profile '5.4' is unknown: expected one of 6.1, 6.12, 6.18, 7.1; options after a version and a"
                                + " comma: split, irqfd-host, irqfd-vm, pvm, arm64, cdev; options that need no version: vtd, vtd-posting,"
                                + " amd-vi, amd-avic, avic-inhibited, gicv2, gicv3, gicv4, historic");
        assertThatThrownBy(() -> Profile.parse("split")).hasMessageStartingWith("profile 'split' is unknown: expected");
        assertThatThrownBy(() -> Profile.parse("6.18,full"))
                .hasMessage("profile '6.18,full': switch 'full' is unknown, expected split, irqfd-host, irqfd-vm,"
                        + " pvm, arm64, cdev, vtd, vtd-posting, amd-vi, amd-avic, avic-inhibited, gicv2, gicv3,"
                        + " gicv4, historic");
        for (String elsewhere : new String[] {"6.12,pvm", "6.18,arm64,pvm", "6.18,pvm,vtd"}) {
            assertThatThrownBy(() -> Profile.parse(elsewhere)).hasMessageContaining("contradicts itself: kvm_pvm is");
        }
        assertThatThrownBy(() -> Profile.parse("6.12,split")).hasMessageContaining("contradicts itself: before 6.17");
        assertThatThrownBy(() -> Profile.parse("6.18,irqfd-vm,irqfd-host"))
                .hasMessageContaining("contradicts itself: an eventfd is exclusive on the host");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
                    vtd            | 6.18,vtd               | VTD
                    vtd-posting    | 6.18,vtd-posting       | VTD_POSTING
                    6.1,amd-vi     | 6.1,amd-vi             | AMD_VI
                    cdev,amd-avic  | 6.18,cdev,amd-avic     | AMD_AVIC
                    avic-inhibited | 6.18,avic-inhibited    | AVIC_INHIBITED
                    gicv2          | 6.18,arm64,gicv2       | GICV2
                    gicv3          | 6.18,arm64,gicv3       | GICV3
                    6.12,gicv4     | 6.12,arm64,gicv4       | GICV4
                    historic       | 6.1,arm64,historic     | GICV3
                    6.1,historic   | 6.1,historic           | REMAPPING
                    historic,gicv4 | 6.1,arm64,gicv4,historic | GICV4
                    historic,vtd   | 6.1,vtd,historic       | VTD
                    6.12,arm64     | 6.12,arm64             | GICV3
                    7.1            | 7.1                    | REMAPPING
                    """)
    void hardwareStandsAloneAndItsFullNameMeansTheSame(String text, String label, Hardware hardware) {
        Profile profile = Profile.parse(text);
        assertThat(profile.label()).isEqualTo(label);
        assertThat(Profile.parse(label)).isEqualTo(profile);
        assertThat(profile.build().hardware()).isEqualTo(hardware);
        assertThat(profile.isArm64()).isEqualTo(!hardware.isX86());
        assertThat(profile.build().historic()).isEqualTo(text.contains("historic"));
    }

    @Test
    void everyNameOfAProfileIsOne() {
        assertThat(Profile.names()).contains("6.18", "vtd", "gicv4", "historic").doesNotContain("split", "arm64");
        assertThat(Profile.names())
                .allSatisfy(name -> assertThat(Profile.parse(name).label()).contains(name));
    }

    @Test
    void oneHostHasOneIommu() {
        assertThatThrownBy(() -> Profile.parse("vtd,amd-avic"))
                .hasMessage("profile 'vtd,amd-avic' contradicts itself: a host has one of vtd, vtd-posting, amd-vi,"
                        + " amd-avic, avic-inhibited, gicv2, gicv3, gicv4, choose one");
        assertThatThrownBy(() -> Profile.parse("6.12,arm64,amd-avic"))
                .hasMessage("profile '6.12,arm64,amd-avic' contradicts itself: only x86 has vtd, vtd-posting, amd-vi,"
                        + " amd-avic, avic-inhibited, choose arm64 or one of these");
        assertThatThrownBy(() -> Profile.parse("gicv4,split"))
                .hasMessageEndingWith("only x86 has an irqchip to split, choose arm64 or split");
    }
}
