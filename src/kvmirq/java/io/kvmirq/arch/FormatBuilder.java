/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;

/** Makes a {@link Format}. Use a builder in one thread only. */
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

    /** Names the words, so that {@link Format#position} returns a word's name and the bits in this word. */
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
     * Adds fields that exist only while the one-bit {@code selector} has this value, 0 or 1. While the selector has the
     * other value, other fields of the format have the same bits.
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

    /** Sets the fault that hardware reports for reserved bits that are not 0. */
    public FormatBuilder reservedFault(String reason) {
        Objects.requireNonNull(reason, "reason is null");
        fault = " (" + reason + ")";
        return this;
    }

    /** Declares that hardware ignores a structure, which then has no violations, unless {@code when} is true. */
    public FormatBuilder looked(Predicate<long[]> when) {
        Objects.requireNonNull(when, "when is null");
        looked = when;
        return this;
    }

    /** Makes the format. */
    public Format build() {
        return new Format(this);
    }
}
