/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Role;
import io.kvmirq.uapi.UapiTable.Struct;
import java.lang.annotation.Annotation;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Reads the annotations of the constants. */
final class UapiReader {
    private static final List<Class<?>> HEADERS =
            List.of(Uapi.class, UapiVfio.class, UapiIommufd.class, UapiArm64.class);

    private static final Map<Class<? extends Annotation>, Integer> SIZES =
            Map.of(Declared.U8.class, 1, Declared.U16.class, 2, Declared.U32.class, 4, Declared.U64.class, 8);

    private static final Map<Class<? extends Annotation>, Role> ROLES = Map.of(
            Declared.Fd.class, Role.FD,
            Declared.Gsi.class, Role.GSI,
            Declared.Flags.class, Role.FLAGS,
            Declared.OneOf.class, Role.ONE_OF,
            Declared.Address.class, Role.ADDRESS,
            Declared.Length.class, Role.LENGTH,
            Declared.Count.class, Role.COUNT);

    private UapiReader() {}

    static Map<Class<?>, Struct> structs() {
        Map<Class<?>, Struct> structs = new LinkedHashMap<>();
        HEADERS.stream()
                .flatMap(header -> Arrays.stream(header.getDeclaredClasses()))
                .forEach(type -> structs.put(type, struct(type)));
        return structs;
    }

    private static Stream<Field> constants(Class<?> type) {
        return HEADERS.stream()
                .flatMap(header -> Arrays.stream(header.getDeclaredFields()))
                .filter(field -> field.getType() == type && Modifier.isPublic(field.getModifiers()));
    }

    private static long value(Field constant) {
        try {
            return constant.getLong(null);
        } catch (IllegalAccessException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The names, without {@code prefix}, of the constants that begin with this prefix, by number. */
    private static Map<Integer, String> names(String prefix) {
        Map<Integer, String> names = new LinkedHashMap<>();
        if (!prefix.isEmpty()) {
            constants(int.class)
                    .filter(constant -> constant.getName().startsWith(prefix)
                            && !constant.isAnnotationPresent(Declared.NotAFlag.class))
                    .forEach(constant -> names.putIfAbsent(
                            (int) value(constant), constant.getName().substring(prefix.length())));
        }
        return names;
    }

    // Requests

    static List<Request> requests() {
        List<Request> requests = new ArrayList<>();
        constants(long.class).forEach(constant -> {
            Declared.@Nullable Ioctl ioctl = constant.getAnnotation(Declared.Ioctl.class);
            if (ioctl != null) {
                Stream.of(ioctl.on(), ioctl.value())
                        .flatMap(Arrays::stream)
                        .forEach(kind -> requests.add(request(kind, constant, ioctl)));
            }
        });
        // On an unknown kind of file, a number means the first request with this number.
        requests.sort(Comparator.comparing(request -> request.kind() == FileKind.IOMMUFD));
        return requests;
    }

    private static Request request(FileKind kind, Field constant, Declared.Ioctl ioctl) {
        Class<?> type = ioctl.argument();
        return new Request(kind, constant.getName(), value(constant), type, type == Declared.Text.class, ioctl.arm64());
    }

    // Structures

    private static Struct struct(Class<?> type) {
        Field[] members = type.getFields();
        List<UapiTable.Field> fields = Arrays.stream(members)
                .filter(member -> size(member) != 0)
                .map(UapiReader::field)
                .sorted(Comparator.comparingInt(UapiTable.Field::offset))
                .toList();
        int size = Arrays.stream(type.getDeclaredFields())
                .filter(member -> member.getName().equals("SIZE"))
                .mapToInt(member -> (int) value(member))
                .findFirst()
                .orElse(0);
        String tag = type.isAnnotationPresent(Declared.NoStruct.class) ? "" : tag(type.getSimpleName());
        return new Struct(tag, size, fields);
    }

    /** The C tag of an interface, such as {@code kvm_irqfd} of KvmIrqfd. */
    private static String tag(String name) {
        return name.replaceAll("(?<=[a-z0-9])(?=[A-Z])", "_").toLowerCase(Locale.ROOT);
    }

    /** The field's size in bytes; 0 for a constant that is not a field. */
    private static int size(Field member) {
        Declared.@Nullable Bytes bytes = member.getAnnotation(Declared.Bytes.class);
        return bytes != null
                ? bytes.value()
                : SIZES.entrySet().stream()
                        .filter(size -> member.isAnnotationPresent(size.getKey()))
                        .map(Map.Entry::getValue)
                        .findFirst()
                        .orElse(0);
    }

    private static UapiTable.Field field(Field member) {
        Declared.@Nullable Path path = member.getAnnotation(Declared.Path.class);
        return new UapiTable.Field(
                path == null ? member.getName().toLowerCase(Locale.ROOT) : path.value(),
                (int) value(member),
                size(member),
                role(member),
                names(member));
    }

    private static Role role(Field member) {
        return ROLES.entrySet().stream()
                .filter(role -> member.isAnnotationPresent(role.getKey()))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse(Role.NUMBER);
    }

    private static Map<Integer, String> names(Field member) {
        Declared.@Nullable Flags flags = member.getAnnotation(Declared.Flags.class);
        Declared.@Nullable OneOf oneOf = member.getAnnotation(Declared.OneOf.class);
        return flags != null ? names(flags.value()) : oneOf != null ? names(oneOf.value()) : Map.of();
    }
}
