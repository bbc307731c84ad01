/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import org.junit.jupiter.api.Test;

/** The lists of changes against the code of today; make mutation tries each. */
class MutantsTest {
    @Test
    void eachMutantChangesOnePlaceAndNamesItsTests() throws IOException {
        assertThat(Mutants.all()).hasSizeGreaterThan(200).doesNotHaveDuplicates();
        for (Mutants.Mutant mutant : Mutants.all()) {
            assertThat(mutant.source()).contains(mutant.changed());
            assertThat(mutant.isSearched()
                            || !mutant.what().isEmpty() && !mutant.by().isEmpty())
                    .as(mutant.toString())
                    .isTrue();
        }
    }
}
