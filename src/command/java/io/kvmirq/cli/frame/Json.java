/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.io.CharacterEscapes;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import io.kvmirq.PciAddress;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.lang.reflect.RecordComponent;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Writes records as JSON in ASCII, one document a line. A value that is absent is null. For one thread. */
public final class Json {
    /** The number of the schema of documents about a host: it grows when a member changes its meaning or goes. */
    private static final int SCHEMA = 2;

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

    /** The JVM makes new objects for the components of a record at each question. */
    private static final ClassValue<RecordComponent[]> COMPONENTS = new ClassValue<>() {
        @Override
        protected RecordComponent[] computeValue(Class<?> type) {
            RecordComponent[] components = type.getRecordComponents();
            for (RecordComponent component : components) {
                component.getAccessor().setAccessible(true);
            }
            return components;
        }
    };

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
        json.document(document -> members.accept(document.value("schema", schema)));
        json.flush();
    }

    /**
     * Prints a document about a host: {@code schema} 2, the command, the version of kvmirq, the time in UTC, the kernel's
     * release and the boot id; then the members.
     */
    public static void print(Terminal terminal, String command, HostFacts host, Consumer<Json> members) {
        Json json = new Json(terminal.out());
        json.document(document -> members.accept(document.value("schema", SCHEMA)
                .value("command", command)
                .value("version", Version.number())
                .value("time", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString())
                .value("kernel", host.kernel())
                .value("bootId", host.bootId())));
        json.flush();
    }

    /**
     * Writes each component of a record as a member of the same name. A record of one component is that component, an
     * enum is its name in small letters with dashes, a {@link Known} is its value, a duration is in milliseconds, and
     * any other object is its text. A {@link Hop} is its label with dashes. A component of type {@link Interrupt} is
     * written as two members, {@code device} and {@code interrupt}; in a list it is its vector, and is left out without one.
     */
    public Json record(Record record) {
        for (RecordComponent member : COMPONENTS.get(record.getClass())) {
            Object component = component(record, member);
            if ((component instanceof Optional<?> optional ? optional.orElse(null) : component)
                    instanceof Interrupt interrupt) {
                value("device", interrupt.device().toString()).value("interrupt", interrupt.name());
            } else {
                value(member.getName(), component);
            }
        }
        return this;
    }

    /** Writes a member as {@link #record} does: null for an absent value, an array for a list. */
    public Json value(String name, Object value) {
        return with(() -> {
            to.writeFieldName(name);
            write(value);
        });
    }

    private static Object component(Record record, RecordComponent component) {
        try {
            return component.getAccessor().invoke(record);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("no component " + component, e);
        }
    }

    private void write(Object value) throws IOException {
        if (value instanceof String text) {
            to.writeString(text);
        } else if (value instanceof Optional<?> optional) {
            writeOptional(optional.isPresent(), optional.isPresent() ? optional.get() : "");
        } else if (value instanceof OptionalInt optional) {
            writeOptional(optional.isPresent(), optional.orElse(0));
        } else if (value instanceof OptionalLong optional) {
            writeOptional(optional.isPresent(), optional.orElse(0));
        } else if (value instanceof Boolean flag) {
            to.writeBoolean(flag);
        } else if (value instanceof Integer || value instanceof Long) {
            to.writeNumber(((Number) value).longValue());
        } else if (value instanceof Duration time) {
            to.writeNumber(time.toMillis());
        } else if (value instanceof Enum<?> constant) {
            to.writeString(constant.name().toLowerCase(Locale.ROOT).replace('_', '-'));
        } else if (value instanceof Iterable<?> all) {
            to.writeStartArray();
            for (Object element : all) {
                if (!(element instanceof Interrupt interrupt
                        && interrupt.vector().isEmpty())) {
                    write(element);
                }
            }
            to.writeEndArray();
        } else if (value instanceof Map<?, ?> map) {
            to.writeStartObject();
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                value(String.valueOf(entry.getKey()), entry.getValue());
            }
            to.writeEndObject();
        } else if (value instanceof Known.None) {
            to.writeNull();
        } else if (value instanceof Interrupt interrupt) {
            to.writeNumber(interrupt.vector().orElseThrow());
        } else if (value instanceof Hop<?> hop) {
            to.writeString(hop.label().toLowerCase(Locale.ROOT).replace(' ', '-'));
        } else if (value instanceof Flaw flaw) {
            to.writeString(flaw.rule());
        } else if (value instanceof Record record
                && !(value instanceof PciAddress || value instanceof InterruptPath.Guest)) {
            RecordComponent[] components = COMPONENTS.get(record.getClass());
            if (components.length == 1) {
                write(component(record, components[0]));
                return;
            }
            to.writeStartObject();
            record(record);
            to.writeEndObject();
        } else {
            to.writeString(String.valueOf(value));
        }
    }

    private void writeOptional(boolean isPresent, Object value) throws IOException {
        if (isPresent) {
            write(value);
        } else {
            to.writeNull();
        }
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

    public Json object(String name, Consumer<Json> members) {
        with(() -> to.writeObjectFieldStart(name));
        members.accept(this);
        return with(to::writeEndObject);
    }

    public <T> Json objects(String name, Iterable<T> all, BiConsumer<Json, T> members) {
        return with(() -> {
            to.writeArrayFieldStart(name);
            for (T element : all) {
                to.writeStartObject();
                members.accept(this, element);
                to.writeEndObject();
            }
            to.writeEndArray();
        });
    }
}
