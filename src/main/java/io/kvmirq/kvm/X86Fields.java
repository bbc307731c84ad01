/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import java.util.function.Function;

/**
 * A copy of a structure with named fields.
 *
 * @param <N> the names
 * @param <S> the structure
 */
abstract class X86Fields<N extends Enum<N>, S extends X86Fields<N, S>> extends X86State {
    /** @param bytes 1, 2, 4 or 8 */
    record Field(int offset, int bytes) {
        boolean has(int at) {
            return at >= offset && at < offset + bytes;
        }
    }

    private final Class<N> names;
    private final Function<N, Field> fields;

    X86Fields(int size, Class<N> names, Function<N, Field> fields) {
        super(size);
        this.names = names;
        this.fields = fields;
    }

    abstract S self();

    private Field field(N name) {
        return fields.apply(name);
    }

    /** The value of a field, zero-extended. */
    public long get(N name) {
        return Fields.get(structure, field(name).offset, field(name).bytes);
    }

    /** Changes this copy; higher bits than the field has are dropped. */
    public S set(N name, long value) {
        Fields.put(structure, field(name).offset, field(name).bytes, value);
        return self();
    }

    private String text(N name) {
        return name + "=0x" + Long.toHexString(get(name));
    }

    @Override
    String describe(int offset) {
        for (N name : names.getEnumConstants()) {
            if (field(name).has(offset)) {
                return text(name);
            }
        }
        return super.describe(offset);
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        for (N name : names.getEnumConstants()) {
            text.append(text.isEmpty() ? "" : " ").append(text(name));
        }
        return text.toString();
    }
}
