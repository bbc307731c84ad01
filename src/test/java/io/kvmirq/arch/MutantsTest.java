/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The list of mutants against the code of today; scripts/search arch.Mutants searches each. */
class MutantsTest {
    @Test
    void searchThatDoesNotEndHasFoundNothing() {
        assertThat(Mutants.Verdict.of(null)).isEqualTo(Mutants.Verdict.ENDLESS);
        assertThat(Mutants.Verdict.of("")).isEqualTo(Mutants.Verdict.SURVIVES);
        assertThat(Mutants.Verdict.of("lost")).isEqualTo(Mutants.Verdict.FOUND);
        assertThat(new Mutants.Mutant("f", "found", "a", "b").expects()).isEqualTo(Mutants.Verdict.FOUND);
        assertThat(new Mutants.Mutant("f", "endless", "a", "b").expects()).isEqualTo(Mutants.Verdict.ENDLESS);
        assertThat(new Mutants.Mutant("f", "harmless: so", "a", "b").expects()).isEqualTo(Mutants.Verdict.SURVIVES);
    }

    @Test
    void eachMutantChangesOnePlace() throws IOException {
        List<Mutants.Mutant> all = Mutants.all();
        assertThat(all).hasSizeGreaterThan(30).doesNotHaveDuplicates();
        for (Mutants.Mutant mutant : all) {
            assertThat(mutant.source()).contains(mutant.changed());
            assertThat(mutant.expected()).matches("found|endless|harmless: .+");
        }
    }
}
