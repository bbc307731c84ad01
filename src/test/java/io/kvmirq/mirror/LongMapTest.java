/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class LongMapTest {
    private static final long[] KEYS = {0, 1, -1, Long.MIN_VALUE, Long.MAX_VALUE, 1L << 62, 3L << 62, 4096, 4097};

    private static long key(Random random) {
        return random.nextBoolean() ? KEYS[random.nextInt(KEYS.length)] : random.nextInt(64);
    }

    @Test
    void behavesAsASortedMap() {
        Random random = new Random(5);
        TreeMap<Long, Integer> model = new TreeMap<>(Long::compareUnsigned);
        LongMap<Integer> map = LongMap.empty();
        for (int step = 0; step < 20_000; step++) {
            long key = key(random);
            LongMap<Integer> before = map;
            List<Integer> values = before.values();
            if (random.nextInt(3) == 0) {
                map = map.without(key);
                model.remove(key);
            } else {
                map = map.with(key, step);
                model.put(key, step);
            }
            assertThat(before.values()).isEqualTo(values);
            assertThat(map.values()).containsExactlyElementsOf(model.values());
            assertThat(map.isEmpty()).isEqualTo(model.isEmpty());
            long asked = key(random);
            assertThat(map.get(asked)).isEqualTo(model.get(asked));
        }
    }
}
