/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.io.CharacterEscapes;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Writes records as JSON in ASCII, one document a line. A value that is absent is null. For one thread. */
public final class Json {
    @FunctionalInterface
    private interface Part {
        void write() throws IOException;
    }

    /** DEL is ASCII, but JSON does not require an escape for it. */
    private static final class EscapesOfDelete extends CharacterEscapes {
        private static final long serialVersionUID = 1;
        private static final int DELETE = 0x7f;

        @Override
        public int[] getEscapeCodesForAscii() {
            int[] escapes = standardAsciiEscapesForJSON();
            escapes[DELETE] = ESCAPE_STANDARD;
            return escapes;
        }

        @Override
        public @Nullable SerializableString getEscapeSequence(int character) {
            return null;
        }
    }

    private final JsonGenerator to;

    /** @param out stays open */
    public Json(PrintStream out) {
        try {
            this.to = new JsonFactoryBuilder()
                    .rootValueSeparator("")
                    .characterEscapes(new EscapesOfDelete())
                    .build()
                    .createGenerator(out)
                    .disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET)
                    .enable(JsonWriteFeature.ESCAPE_NON_ASCII.mappedFeature());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Prints one document that names its schema, such as {@code kvmirq.vfio/1}. */
    public static void print(Terminal terminal, String schema, Consumer<Json> members) {
        Json json = new Json(terminal.out());
        json.document(document -> members.accept(document.text("schema", schema)));
        json.flush();
    }

    private Json with(Part part) {
        try {
            part.write();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return this;
    }

    /** Writes one document and a line end. It may still be in the buffer. */
    public void document(Consumer<Json> members) {
        with(to::writeStartObject);
        members.accept(this);
        with(to::writeEndObject).with(() -> to.writeRaw('\n'));
    }

    public void flush() {
        with(to::flush);
    }

    public Json text(String name, String text) {
        return with(() -> to.writeStringField(name, text));
    }

    public Json text(String name, Optional<String> text) {
        return text.isPresent() ? text(name, text.get()) : none(name);
    }

    public Json number(String name, long number) {
        return with(() -> to.writeNumberField(name, number));
    }

    public Json number(String name, OptionalInt number) {
        return number.isPresent() ? number(name, number.getAsInt()) : none(name);
    }

    public Json number(String name, OptionalLong number) {
        return number.isPresent() ? number(name, number.getAsLong()) : none(name);
    }

    public Json flag(String name, boolean flag) {
        return with(() -> to.writeBooleanField(name, flag));
    }

    public Json none(String name) {
        return with(() -> to.writeNullField(name));
    }

    public Json texts(String name, Iterable<String> texts) {
        return array(name, texts, to::writeString);
    }

    public Json numbers(String name, Iterable<Integer> numbers) {
        return array(name, numbers, to::writeNumber);
    }

    public Json object(String name, Consumer<Json> members) {
        with(() -> to.writeObjectFieldStart(name));
        members.accept(this);
        return with(to::writeEndObject);
    }

    public <T> Json objects(String name, Iterable<T> all, BiConsumer<Json, T> members) {
        return array(name, all, one -> {
            to.writeStartObject();
            members.accept(this, one);
            to.writeEndObject();
        });
    }

    @FunctionalInterface
    private interface Element<T> {
        void write(T value) throws IOException;
    }

    private <T> Json array(String name, Iterable<T> all, Element<T> element) {
        return with(() -> {
            to.writeArrayFieldStart(name);
            for (T one : all) {
                element.write(one);
            }
            to.writeEndArray();
        });
    }
}
