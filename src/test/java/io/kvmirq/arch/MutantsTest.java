/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The list of mutants against the code of today; scripts/races mutants searches each. */
class MutantsTest {
    @Test
    void eachMutantChangesOnePlace() throws IOException {
        List<Mutants.Mutant> all = Mutants.all();
        assertThat(all).hasSizeGreaterThan(30).doesNotHaveDuplicates();
        for (Mutants.Mutant mutant : all) {
            assertThat(mutant.source()).contains(mutant.changed());
            assertThat(mutant.expected()).matches("found|harmless: .+");
        }
    }
}
