/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.testing.Search;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Random programs of guests, on kernels that add vectors and on one that does not. */
class MessageSearchTest {
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.msix.programs", 200);
    private static final int STORM_ROUNDS = 20;

    @ParameterizedTest
    @MethodSource("io.kvmirq.pci.MessageReport#profiles")
    void eachMessageOfMsixArrivesOnce(String profile) {
        MessageReport.ofMsix(profile, 0, PROGRAMS);
    }

    @ParameterizedTest
    @FieldSource("io.kvmirq.pci.MessageReport#EMULATED")
    void eachSignalOfAnEmulatedFunctionArrivesOnce(String profile) {
        MessageReport.ofEmulated(profile, 0, PROGRAMS);
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic", "6.1,amd-avic"})
    void eachMessageOfMsiArrivesOnce(String profile) {
        MessageReport.ofMsi(profile, 0, PROGRAMS);
    }

    @ParameterizedTest
    @MethodSource("io.kvmirq.pci.MessageReport#profiles")
    void fourThreadsLoseNoMessage(String profile) {
        System.out.println(MsixStorm.run(profile, 0, STORM_ROUNDS));
    }

    /** A device that forgets the message of a vector that is masked twice: the search finds it, in few steps. */
    @Test
    void plantedLossIsFoundInFewSteps() {
        Search.assumeAllRun();
        assertThatThrownBy(() -> MessageReport.run("planted", 0, PROGRAMS, random -> {
                    EmulatedWorld world = new EmulatedWorld("6.18");
                    return new EmulatedSearch(world, false, random) {
                        private int sent;

                        @Override
                        boolean isRequestedAtOnce(int vector) {
                            return ++sent % 3 != 0;
                        }
                    };
                }))
                .isInstanceOf(AssertionError.class)
                .hasMessageFindingMatch("planted, seed \\d+, \\d of \\d+ steps: ");
    }
}
