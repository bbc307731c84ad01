/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A row of {@code links.txt}, with its values: the sentence of a link that no rule made. Sources of a path choose rows, and
 * write no sentence. Immutable.
 */
public final class LinkRow {
    record Row(Optional<Hop<?>> hop, Optional<Link.State> state, String says, List<Remedy> remedies) {}

    private static final int COLUMNS = 5;
    private static final String LOOK_PREFIX = "look: ";
    private static final Map<String, Row> SHIPPED = rows("links.txt", Rows.shipped("links.txt"));

    private final Row row;
    private final String text;

    private LinkRow(Row row, String text) {
        this.row = row;
        this.text = text;
    }

    /**
     * Reads rows.
     *
     * @throws IllegalArgumentException if one is wrong; the message begins with {@code name} and the number of the line
     */
    static Map<String, Row> rows(String name, String text) {
        Map<String, Row> rows = new LinkedHashMap<>();
        Rows.each(name, text, columns -> {
            Rows.check(columns, COLUMNS, rows);
            String hop = columns.get(1);
            String state = columns.get(2);
            String remedies = columns.get(COLUMNS - 1);
            rows.put(
                    columns.get(0),
                    new Row(
                            hop.equals(Rows.NOTHING)
                                    ? Optional.empty()
                                    : Optional.of(Rows.value(Hop.all().toArray(Hop<?>[]::new), hop, Hop::label)),
                            state.equals(Rows.NOTHING)
                                    ? Optional.empty()
                                    : Optional.of(Rows.value(Link.State.values(), state, Link.State::label)),
                            columns.get(3),
                            remedies(remedies)));
        });
        return rows;
    }

    private static List<Remedy> remedies(String column) {
        if (column.equals(Rows.NOTHING)) {
            return List.of();
        }
        return column.startsWith(LOOK_PREFIX)
                ? List.of(Remedy.look(column.substring(LOOK_PREFIX.length())))
                : Stream.of(column.split(", ")).map(name -> Rows.remedy(name)).toList();
    }

    /**
     * The row with an id.
     *
     * @param values of its sentence
     */
    public static LinkRow of(String id, Object... values) {
        Row row = Rows.get(SHIPPED, id);
        return new LinkRow(row, values.length == 0 ? row.says : String.format(row.says, values));
    }

    /** A row's sentence, as a clause of another sentence, a claim or a remark. */
    public static String text(String id, Object... values) {
        return of(id, values).text;
    }

    /** The row's sentence. */
    public String text() {
        return text;
    }

    /** The row's remedies. */
    public List<Remedy> remedies() {
        return row.remedies;
    }

    /** The link of a source that shows the state, without a value. */
    public Link seen(Evidence evidence) {
        return Link.of(hop(), row.state.orElseThrow(), evidence, Optional.empty(), text, row.remedies);
    }

    /** The link with a value. */
    public Link seen(Evidence evidence, String value) {
        return Link.of(hop(), row.state.orElseThrow(), evidence, Optional.of(value), text, row.remedies);
    }

    /** The link with the numbers of host irqs, GSIs or vCPUs. */
    public Link seen(Evidence evidence, Collection<? extends Number> numbers) {
        return Link.whole(hop(), evidence, numbers, text);
    }

    /** The link of a source that does not show the state. */
    public Link unseen() {
        return unseen(hop());
    }

    /** The link of one of several hops that the source does not show. */
    public Link unseen(Hop<?> hop) {
        return Link.notShown(hop, text, row.remedies);
    }

    private Hop<?> hop() {
        return row.hop.orElseThrow();
    }
}
