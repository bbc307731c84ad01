/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.VECTORS;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.function.BiFunction;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Random programs of guests, on kernels that add vectors and on one that does not. */
class MessageSearchTest {
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.msix.programs", 100);

    @ParameterizedTest
    @CsvSource({
        "vtd-posting, true",
        "amd-avic, false",
        "'6.1,amd-avic', true",
        "avic-inhibited, true",
        "gicv3, true",
        "gicv4, true"
    })
    void eachMessageOfMsixArrivesOnce(String profile, boolean lazy) {
        run(profile + (lazy ? " MSI-X, lazy" : " MSI-X"), profile, (world, seed) -> new MsixSearch(world, lazy, seed));
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic", "6.1,amd-avic"})
    void eachMessageOfMsiArrivesOnce(String profile) {
        run(
                profile + " MSI",
                profile,
                (world, seed) -> new MsiSearch(world.searched(() -> world.msi.read(20, 4)), world.msi, VECTORS, seed));
    }

    private static void run(String name, String profile, BiFunction<MessagesWorld, Long, MessageSearch> of) {
        int sent = 0;
        int arrived = 0;
        for (long seed = 0; seed < PROGRAMS; seed++) {
            try (MessagesWorld world = new MessagesWorld(profile)) {
                MessageSearch search = of.apply(world, seed);
                search.run();
                sent += search.sent();
                arrived += search.arrived();
            } catch (AssertionError e) {
                throw new AssertionError(name + ", program " + seed + ": " + e.getMessage(), e);
            }
        }
        System.out.println(name + ": " + PROGRAMS + " programs, " + sent + " messages sent, " + arrived + " arrived");
        assertThat(arrived).isPositive();
    }
}
