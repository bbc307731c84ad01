/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.OutputStream;
import java.io.PrintStream;
import org.junit.jupiter.api.Test;

class TerminalTest {
    private static final PrintStream NOWHERE = new PrintStream(OutputStream.nullOutputStream());

    private static Terminal of(int wrap, boolean colour) {
        return new Terminal(NOWHERE, NOWHERE, colour, 80, 0, wrap, 0, "");
    }

    @Test
    void lineIsBrokenAtSpacesAndWhatFollowsIsIndented() {
        assertThat(of(40, false).wrapped("  irqfd      broken     the VM has no LAPICs in the kernel", 14))
                .isEqualTo("  irqfd      broken     the VM has no\n              LAPICs in the kernel");
    }

    @Test
    void lineThatFitsIsLeftAlone() {
        assertThat(of(40, false).wrapped("a".repeat(20) + " " + "b".repeat(19), 4))
                .doesNotContain("\n");
        assertThat(of(40, false).wrapped("", 4)).isEmpty();
    }

    /** To a file or a pipe a line is a line. */
    @Test
    void nothingIsBrokenWithoutATerminal() {
        assertThat(of(0, false).wrapped("a ".repeat(200), 4)).isEqualTo("a ".repeat(200));
    }

    @Test
    void wordThatIsLongerStaysWhole() {
        String path = "/sys/kernel/debug/iommu/intel/ir_translation_struct";
        assertThat(of(40, false).wrapped("the file " + path + " is denied", 4))
                .isEqualTo("the file\n    " + path + "\n    is denied");
    }

    /** Escape sequences take no columns. */
    @Test
    void styleIsNotCounted() {
        Terminal terminal = of(40, true);
        String line = terminal.bad("broken") + " " + "b".repeat(33);
        assertThat(terminal.wrapped(line, 4)).isEqualTo(line);
    }

    /** There is room for text on the narrowest terminal. */
    @Test
    void indentLeavesHalfOfANarrowTerminal() {
        assertThat(of(20, false).wrapped("one two three four five six seven", 28))
                .isEqualTo("one two three four\n          five six\n          seven");
    }
}
