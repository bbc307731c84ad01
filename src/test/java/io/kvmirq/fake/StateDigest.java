/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.lang.ref.Reference;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.Stream;

/**
 * A number of all that a kernel keeps, read from its fields: two states that differ have different ones, with all
 * likelihood. The notes of used rules and of messages and the addresses of buffers are left out.
 */
final class StateDigest {
    private static final List<String> LEFT_OUT =
            List.of("Rulebook", "Ledger", "MessagePlace", "UserMemory", "ReentrantLock");

    private final Map<Class<?>, Field[]> fields = new HashMap<>();
    private final Map<Object, Integer> seen = new IdentityHashMap<>();
    private Set<String> ignored = Set.of();
    private long digest;

    /** @param leftOut fields that do not count, as Class.field */
    long of(Object state, Set<String> leftOut) {
        ignored = leftOut;
        seen.clear();
        digest = 0;
        add(state);
        return digest;
    }

    private void mix(long value) {
        digest = (digest ^ value) * 0x9e3779b97f4a7c15L;
        digest ^= digest >>> 29;
    }

    private void add(Object value) {
        if (value == null) {
            mix(1);
        } else if (value instanceof Number || value instanceof Boolean || value instanceof CharSequence) {
            mix(
                    value instanceof AtomicLong || value instanceof AtomicInteger
                            ? ((Number) value).longValue()
                            : value.hashCode());
        } else if (value instanceof Enum<?> constant) {
            mix(constant.ordinal() + 7L);
        } else if (value instanceof OptionalInt number) {
            mix(number.orElse(-7));
        } else if (seen.putIfAbsent(value, seen.size()) != null) {
            mix(seen.get(value));
        } else {
            addNew(value);
        }
    }

    private void addNew(Object value) {
        if (value instanceof Map<?, ?> map) {
            mix(map.size());
            map.forEach((key, mapped) -> {
                add(key);
                add(mapped);
            });
        } else if (value instanceof Collection<?> all) {
            mix(all.size());
            all.forEach(this::add);
        } else if (value instanceof Optional<?> optional) {
            add(optional.orElse(null));
        } else if (value instanceof AtomicBoolean flag) {
            mix(flag.get() ? 3 : 5);
        } else if (value instanceof AtomicLongArray array) {
            for (int i = 0; i < array.length(); i++) {
                mix(array.get(i));
            }
        } else if (value instanceof ByteBuffer bytes) {
            mix(bytes.duplicate().clear().hashCode());
        } else if (value.getClass().isArray()) {
            addArray(value);
        } else if (!(value instanceof Reference<?>)) {
            addFields(value);
        }
    }

    private void addArray(Object array) {
        if (array instanceof Object[] objects) {
            for (Object object : objects) {
                add(object);
            }
        } else if (array instanceof long[] longs) {
            mix(Arrays.hashCode(longs));
        } else if (array instanceof int[] ints) {
            mix(Arrays.hashCode(ints));
        } else if (array instanceof byte[] bytes) {
            mix(Arrays.hashCode(bytes));
        } else if (array instanceof boolean[] flags) {
            mix(Arrays.hashCode(flags));
        } else {
            throw new IllegalStateException("an array of " + array.getClass());
        }
    }

    private void addFields(Object value) {
        for (Field field : fields.computeIfAbsent(value.getClass(), StateDigest::fieldsOf)) {
            if (!ignored.isEmpty() && ignored.contains(nameOf(field))) {
                continue;
            }
            try {
                Class<?> type = field.getType();
                if (type == int.class) {
                    mix(field.getInt(value));
                } else if (type == long.class) {
                    mix(field.getLong(value));
                } else if (type == boolean.class) {
                    mix(field.getBoolean(value) ? 1 : 2);
                } else {
                    add(field.get(value));
                }
            } catch (IllegalAccessException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    private static String nameOf(Field field) {
        return field.getDeclaringClass().getSimpleName() + "." + field.getName();
    }

    /** Fields of our own classes. JDK classes that are not read above have no state. */
    private static Field[] fieldsOf(Class<?> type) {
        if (!type.getName().startsWith("io.kvmirq") || LEFT_OUT.contains(type.getSimpleName())) {
            return new Field[0];
        }
        Field[] own = Stream.<Class<?>>iterate(type, of -> of != null && of != Object.class, Class::getSuperclass)
                .flatMap(of -> Arrays.stream(of.getDeclaredFields()))
                .filter(field -> !Modifier.isStatic(field.getModifiers()))
                .toArray(Field[]::new);
        Arrays.stream(own).forEach(field -> field.setAccessible(true));
        return own;
    }
}
