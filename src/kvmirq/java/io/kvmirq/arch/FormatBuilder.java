/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;

/** Builds a {@link Format}. Not thread-safe. */
public final class FormatBuilder {
    final String kind;
    final String title;
    final int wordBits;
    final int wordCount;
    final List<Field> fields = new ArrayList<>();
    final List<Format.Remark> remarks = new ArrayList<>();
    final Map<String, Format.Selection> selections = new HashMap<>();
    String[] wordNames = {};
    String fault = "";
    Predicate<long[]> looked = bits -> true;

    FormatBuilder(String kind, String title, int wordBits, int wordCount) {
        this.kind = kind;
        this.title = title;
        this.wordBits = wordBits;
        this.wordCount = wordCount;
    }

    /** Names the words. {@link Format#position} then returns a word's name and the bits within that word. */
    public FormatBuilder wordNames(String... names) {
        Objects.requireNonNull(names, "names is null");
        wordNames = names;
        return this;
    }

    /** Adds fields, in printing order. */
    public FormatBuilder fields(Field... more) {
        Objects.requireNonNull(more, "more is null");
        fields.addAll(List.of(more));
        return this;
    }

    /**
     * Adds fields that exist only while the one-bit {@code selector} has this value, 0 or 1. While it has the other
     * value, other fields occupy the same bits.
     */
    public FormatBuilder fieldsIf(BitField selector, int value, Field... more) {
        Objects.requireNonNull(selector, "selector is null");
        Objects.requireNonNull(more, "more is null");
        for (Field field : more) {
            selections.put(field.name(), new Format.Selection(selector, value));
        }
        return fields(more);
    }

    /** Adds a sentence that is printed for each structure whose bits match {@code when}. */
    public FormatBuilder remark(Predicate<long[]> when, String text) {
        Objects.requireNonNull(when, "when is null");
        Objects.requireNonNull(text, "text is null");
        remarks.add(new Format.Remark(when, text));
        return this;
    }

    /** Sets the fault that hardware reports for nonzero reserved bits. */
    public FormatBuilder reservedFault(String reason) {
        Objects.requireNonNull(reason, "reason is null");
        fault = " (" + reason + ")";
        return this;
    }

    /**
     * Declares that hardware ignores the structure unless {@code when} matches. An ignored structure has no violations.
     */
    public FormatBuilder looked(Predicate<long[]> when) {
        Objects.requireNonNull(when, "when is null");
        looked = when;
        return this;
    }

    /** Builds the format. */
    public Format build() {
        return new Format(this);
    }
}
