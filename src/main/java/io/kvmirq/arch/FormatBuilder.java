/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/** What makes a {@link Format}. For one thread. */
public final class FormatBuilder {
    final String kind;
    final String title;
    final int wordBits;
    final int wordCount;
    final List<Field> fields = new ArrayList<>();
    final List<Rule> rules = new ArrayList<>();
    final List<Rule> remarks = new ArrayList<>();
    String[] wordNames = {};
    String fault = "";
    Predicate<long[]> looked = bits -> true;

    FormatBuilder(String kind, String title, int wordBits, int wordCount) {
        this.kind = kind;
        this.title = title;
        this.wordBits = wordBits;
        this.wordCount = wordCount;
    }

    /** The words as the manual calls them, where it numbers the bits of each from 0. */
    public FormatBuilder wordNames(String... names) {
        wordNames = names;
        return this;
    }

    /** In the order of printing. */
    public FormatBuilder fields(Field... more) {
        fields.addAll(List.of(more));
        return this;
    }

    /** Besides that reserved fields are 0. */
    public FormatBuilder rules(Rule... more) {
        rules.addAll(List.of(more));
        return this;
    }

    /** What is allowed and still worth a word. */
    public FormatBuilder remarks(Rule... more) {
        remarks.addAll(List.of(more));
        return this;
    }

    /** What the hardware reports for reserved bits that are not 0. */
    public FormatBuilder reservedFault(String reason) {
        fault = " (" + reason + ")";
        return this;
    }

    /** When the hardware looks at the structure at all: else nothing in it is a violation. */
    public FormatBuilder looked(Predicate<long[]> when) {
        looked = when;
        return this;
    }

    public Format build() {
        return new Format(this);
    }
}
