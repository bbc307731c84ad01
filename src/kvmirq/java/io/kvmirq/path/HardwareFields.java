/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * A structure that hardware reads to deliver an interrupt, such as an IRTE or a posted-interrupt descriptor. Each field
 * has a value or the reason why it is not known. Immutable.
 *
 * @param structure the structure and its form in a few words, such as {@code VT-d IRTE, posted form}
 * @param fields the fields, sorted by bit position
 */
public record HardwareFields(String structure, List<FieldValue> fields) {
    public HardwareFields {
        Objects.requireNonNull(structure, "structure is null");
        fields = List.copyOf(Objects.requireNonNull(fields, "fields is null"));
    }

    /** A field's value. Empty if the structure has no such field, or the value is not known. */
    public Optional<Long> value(String name) {
        Objects.requireNonNull(name, "name is null");
        return fields.stream()
                .filter(field -> field.name().equals(name))
                .findFirst()
                .flatMap(field -> field.value().known());
    }

    /** The structure with its fields in one line. */
    @Override
    public String toString() {
        return structure + ": " + fields.stream().map(FieldValue::toString).collect(Collectors.joining(", "));
    }
}
