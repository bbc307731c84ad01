/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.PostedRaces;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Race;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class RacesTest {
    static Stream<Race> races() {
        return Stream.of(PostedRaces.REPAIRS, PostedRaces.ORDERINGS, PostedRaces.OURS)
                .flatMap(races -> races.stream());
    }

    @ParameterizedTest
    @MethodSource("races")
    void losesWhereItIsSaidTo(Race race) {
        for (Memory memory : Memory.values()) {
            Exploration found = race.explore(memory);
            assertThat(found.loses()).as(memory + ": " + found.why()).isEqualTo(race.loses(memory));
        }
    }
}
