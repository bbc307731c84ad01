/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.Vendor;
import java.util.Optional;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelBugTest {
    /** A release and a host, and the words of the bugs that it may have, in the order of the table. */
    @ParameterizedTest
    @CsvSource({
        "6.18.5, AMD, without x2AVIC.*boot 6.18.10|CVE-2026-23198.*boot 6.18.10 or newer",
        "6.18.5, INTEL, CVE-2026-23198",
        "6.18.10, AMD, ''",
        "6.18.44-pvm, AMD, ''",
        "6.12, INTEL, boot 6.12.70|boot 6.12.26",
        "6.12.26, INTEL, boot 6.12.70",
        "6.12.69, '', from 6.7 on and before 6.12.70",
        "6.12.70, AMD, ''",
        "6.12.95+deb12-amd64, AMD, ''",
        "6.1.0-28-amd64, INTEL, of this vendor kernel shows|of this vendor kernel shows",
        "6.1.20, AMD, boot 6.1.163|boot 6.1.136|from 256 on",
        "6.1.21, AMD, boot 6.1.163|boot 6.1.136",
        "5.4.290, INTEL, boot 5.10.250|boot 5.10.237",
        "4.3.6, AMD, ''",
        "6.19, AMD, ''",
        "7.1.8, AMD, ''",
        "none, AMD, ''",
        "'', AMD, ''"
    })
    void releaseHasTheBugsOfItsRanges(String release, String vendor, String words) {
        var bugs =
                KernelBug.affecting(release, vendor.isEmpty() ? Optional.empty() : Optional.of(Vendor.valueOf(vendor)));

        String[] all = words.isEmpty() ? new String[0] : words.split("\\|");
        assertThat(bugs).hasSize(all.length);
        for (int i = 0; i < all.length; i++) {
            assertThat(bugs.get(i)).containsPattern(all[i]);
        }
    }

    @ParameterizedTest
    @CsvSource({"6.18, true", "6.18.9, true", "6.18.10, false", "6.18.5-200.fc43.x86_64, false", "6.17.9, false"})
    void onlyAReleaseWithoutSuffixIsSureToHaveABug(String release, boolean sure) {
        assertThat(KernelBug.AVIC_IDS.isIn(release)).isEqualTo(sure);
    }
}
