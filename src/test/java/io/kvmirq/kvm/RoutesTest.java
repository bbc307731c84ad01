/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The size of a table is its number of entries, whatever was put and removed. */
class RoutesTest {
    private static final int GSIS = 6;
    private static final int CHANGES = 400;

    private final Random random = new Random(8);
    private final Routes routes = new Routes();
    private final Map<Integer, Integer> entries = new HashMap<>();

    /** A message, or pins of up to three chips, as a PC's GSI 0 to 15 have. */
    private void put(int gsi) {
        if (random.nextBoolean()) {
            routes.put(gsi, MsiMessage.to(new VcpuId(0), new InterruptVector(0x41)));
            entries.put(gsi, 1);
        } else {
            List<Route.Chip> chips = List.of(Route.Chip.PIC_MASTER, Route.Chip.PIC_SLAVE, Route.Chip.IOAPIC);
            int count = 1 + random.nextInt(chips.size());
            chips.subList(0, count).forEach(chip -> routes.put(new Route.Pin(new Gsi(gsi), chip, gsi)));
            entries.put(gsi, count);
        }
    }

    @Test
    void sizeIsTheNumberOfEntries() {
        for (int i = 0; i < CHANGES; i++) {
            int gsi = random.nextInt(GSIS);
            assertThat(routes.remove(gsi)).isEqualTo(entries.remove(gsi) != null);
            if (random.nextInt(3) > 0) {
                put(gsi);
            }
            assertThat(routes.size())
                    .isEqualTo(entries.values().stream()
                            .mapToInt(Integer::intValue)
                            .sum());
            assertThat(routes.has(gsi)).isEqualTo(entries.containsKey(gsi));
            assertThat(routes.copy().size()).isEqualTo(routes.size());
        }
    }
}
