/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.path.Flaw.Span;
import io.kvmirq.path.Flaw.Subject;
import io.kvmirq.path.Flaw.Weight;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.path.Remedy.Takes;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;

/** The rows of {@code rules.txt}, which says what their columns are. Immutable. */
final class Rows {
    /**
     * A row.
     *
     * @param place the label of its hop, or the id of its check
     * @param files that its facts are from, with names of the subject in braces
     * @param says the sentence, a format without a full stop
     * @param remedies their texts are formats if the rule fills them
     * @param byCase whether Java chooses the remedies, if one of {@code remedies} where they are known
     */
    record Row(
            String id,
            String place,
            Subject subject,
            Weight weight,
            Span span,
            List<String> files,
            String says,
            List<Remedy> remedies,
            boolean byCase) {}

    /** The rules of kvmirq. */
    static final Rows SHIPPED = shipped();

    private static final int COLUMNS = 9;
    private static final int COLUMNS_OF_REMEDY = 4;
    static final String NOTHING = "-";
    private static final String BY_CASE = "by case";
    private static final String EVER = " ever";

    private final Map<String, Row> rows = new LinkedHashMap<>();
    private final Map<String, Remedy> remedies = new LinkedHashMap<>();

    /**
     * Reads rows.
     *
     * @throws IllegalArgumentException if one is wrong; the message begins with {@code name} and the number of the line
     */
    Rows(String name, String text) {
        each(name, text, this::read);
    }

    /** Reads the columns of each line that is no comment. */
    static void each(String name, String text, Consumer<List<String>> read) {
        int number = 0;
        for (String line : text.lines().toList()) {
            number++;
            if (line.isBlank() || line.startsWith("#")) {
                continue;
            }
            List<String> columns = Stream.of(line.split("(?<!\\\\)\\|", -1))
                    .map(column -> column.strip().replace("\\|", "|"))
                    .toList();
            try {
                read.accept(columns);
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(name + ":" + number + ": " + e.getMessage(), e);
            }
        }
    }

    private static Rows shipped() {
        return new Rows("rules.txt", shipped("rules.txt"));
    }

    /** The text of a table of kvmirq. */
    static String shipped(String name) {
        try (InputStream in = Objects.requireNonNull(Rows.class.getResourceAsStream(name))) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Whether a row has its columns, none of them empty, and an id of its own. */
    static void check(List<String> columns, int expected, Map<String, ?> others) {
        String id = columns.get(0);
        if (columns.size() != expected) {
            throw new IllegalArgumentException(
                    "\"" + id + "\" has " + columns.size() + " columns, expected " + expected);
        }
        if (columns.stream().anyMatch(String::isEmpty)) {
            throw new IllegalArgumentException("\"" + id + "\" has an empty column: write " + NOTHING);
        }
        if (others.containsKey(id)) {
            throw new IllegalArgumentException("\"" + id + "\" has a row already");
        }
    }

    private void read(List<String> columns) {
        String id = columns.get(0);
        boolean named = id.startsWith("@");
        check(columns, named ? COLUMNS_OF_REMEDY : COLUMNS, named ? remedies : rows);
        if (named) {
            remedies.put(id, remedy(columns.subList(1, COLUMNS_OF_REMEDY)));
            return;
        }
        String weight = columns.get(3);
        boolean ever = weight.endsWith(EVER);
        rows.put(
                id,
                new Row(
                        id,
                        columns.get(1),
                        value(Subject.values(), columns.get(2), Subject::label),
                        value(Weight.values(), ever ? weight.replace(EVER, "") : weight, Weight::label),
                        ever ? Span.EVER : Span.NOW,
                        List.of(columns.get(4).split(", ")),
                        columns.get(5),
                        remedies(columns.subList(6, COLUMNS)),
                        columns.get(6).startsWith(BY_CASE)));
    }

    private List<Remedy> remedies(List<String> columns) {
        String text = columns.get(0).replaceFirst("^" + BY_CASE + "(: |$)", "");
        if (text.isEmpty() || text.equals(NOTHING)) {
            return List.of();
        }
        return text.startsWith("@")
                ? Stream.of(text.split(", ")).map(name -> get(remedies, name)).toList()
                : List.of(remedy(columns));
    }

    private static Remedy remedy(List<String> columns) {
        String[] kind = columns.get(0).split(": ", 2);
        String risk = columns.get(2);
        Takes takes =
                columns.get(1).equals(NOTHING) ? Takes.NOTHING : value(Takes.values(), columns.get(1), Takes::label);
        if (kind.length < 2 || (takes == Takes.NOTHING) != risk.equals(NOTHING)) {
            throw new IllegalArgumentException(
                    "a remedy is \"kind: what to do | effect | risk\", or \"kind: what to do |"
                            + " - | -\" if it changes nothing, not \"" + String.join(" | ", columns) + "\"");
        }
        Change change = value(Change.values(), kind[0], Rows::word);
        return Remedy.of(change, kind[1], takes, risk.equals("none") || risk.equals(NOTHING) ? "" : risk);
    }

    /** The kind of a remedy as the file has it. */
    private static String word(Change change) {
        return change.shows() ? change.name().toLowerCase(Locale.ROOT) : change.label();
    }

    static <T> T value(T[] all, String word, Function<T, String> label) {
        return Stream.of(all)
                .filter(constant -> label.apply(constant).equals(word))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("\"" + word + "\" is not one of "
                        + Stream.of(all)
                                .map(label)
                                .filter(known -> !known.isEmpty())
                                .toList()));
    }

    /** The row of a rule. */
    Row row(String id) {
        return get(rows, id);
    }

    /** A remedy with a name of its own, and with its values. */
    static Remedy remedy(String name, Object... values) {
        Remedy remedy = get(SHIPPED.remedies, name);
        return values.length == 0
                ? remedy
                : new Remedy(remedy.change(), String.format(remedy.text(), values), remedy.takes(), remedy.risk());
    }

    static <T> T get(Map<String, T> all, String id) {
        T found = all.get(id);
        if (found == null) {
            throw new IllegalArgumentException("\"" + id + "\" has no row");
        }
        return found;
    }

    /** The ids of all rules, in the order of the file. */
    List<String> ids() {
        return new ArrayList<>(rows.keySet());
    }
}
