/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** An arena of {@code java.lang.foreign}, by reflection: tests are compiled for Java 17. */
public final class TestArena implements AutoCloseable {
    private static final int FIRST_JAVA = 22;
    private final Object arena;

    private TestArena(String kind) {
        assumeTrue(Runtime.version().feature() >= FIRST_JAVA, "needs Java 22: arenas of java.lang.foreign");
        this.arena = call(type("Arena"), kind, null);
    }

    /** One that the calling thread alone may use. */
    public static TestArena confined() {
        return new TestArena("ofConfined");
    }

    /** One that any thread may use and close. */
    public static TestArena shared() {
        return new TestArena("ofShared");
    }

    private static Class<?> type(String name) {
        try {
            return Class.forName("java.lang.foreign." + name);
        } catch (ClassNotFoundException e) {
            throw new AssertionError(e);
        }
    }

    private static Object call(Class<?> type, String name, Object on, Object... arguments) {
        try {
            for (Method method : type.getMethods()) {
                if (method.getName().equals(name) && fits(method, arguments)) {
                    return method.invoke(on, arguments);
                }
            }
            throw new AssertionError(type + " has no " + name);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    private static boolean fits(Method method, Object... arguments) {
        Class<?>[] types = method.getParameterTypes();
        boolean fits = types.length == arguments.length;
        for (int i = 0; fits && i < types.length; i++) {
            fits = types[i] == long.class ? arguments[i] instanceof Long : types[i].isInstance(arguments[i]);
        }
        return fits;
    }

    /** Zeroed memory of the arena, in native order. */
    public ByteBuffer allocate(int bytes) {
        Object segment = call(type("Arena"), "allocate", arena, (long) bytes, (long) Long.BYTES);
        return ((ByteBuffer) call(type("MemorySegment"), "asByteBuffer", segment)).order(ByteOrder.nativeOrder());
    }

    @Override
    public void close() {
        call(type("Arena"), "close", arena);
    }
}
