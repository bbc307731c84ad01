/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class KnownTest {
    @Test
    void computedValueKeepsTheSourceOfItsFact() {
        List<Known<Integer>> facts = List.of(
                new Known.SetUp<>(1),
                new Known.Observed<>(1),
                new Known.Inferred<>(1),
                new Known.Predicted<>(1),
                new Known.Unknown<>("no file", "run as root"));

        List<Known<Integer>> computed =
                facts.stream().map(fact -> fact.map(value -> value + 1)).toList();

        assertThat(computed)
                .containsExactly(
                        new Known.SetUp<>(2),
                        new Known.Observed<>(2),
                        new Known.Inferred<>(2),
                        new Known.Predicted<>(2),
                        new Known.Unknown<>("no file", "run as root"));
    }
}
