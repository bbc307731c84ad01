/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Random programs of guests, on kernels that add vectors and on one that does not. */
class MsixSearchTest {
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.msix.programs", 100);

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic", "6.1,amd-avic"})
    void eachMessageArrivesOnce(String profile) {
        int sent = 0;
        int arrived = 0;
        for (int seed = 0; seed < PROGRAMS; seed++) {
            try (MsixSearch search = new MsixSearch(profile, seed)) {
                search.run();
                sent += search.sent;
                arrived += search.arrived;
            } catch (AssertionError e) {
                throw new AssertionError(profile + ", program " + seed + ": " + e.getMessage(), e);
            }
        }
        System.out.println(
                profile + ": " + PROGRAMS + " programs, " + sent + " messages sent, " + arrived + " arrived");
        assertThat(arrived).isPositive();
    }
}
