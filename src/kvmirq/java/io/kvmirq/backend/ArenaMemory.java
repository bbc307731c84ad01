/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodHandles.Lookup;
import java.lang.invoke.MethodType;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Distinguishes buffers that belong to a {@code java.lang.foreign} arena from other direct buffers. Closing an arena
 * frees its memory even while a call uses the address, whereas the garbage collector frees other buffers only after
 * their last use.
 */
final class ArenaMemory {
    /** Returns the scope of a buffer's memory. Null before Java 22. */
    private static final @Nullable MethodHandle SCOPE = find();

    /** The scope class of buffers without an arena. Classes are compared, because each buffer has its own scope. */
    private static final @Nullable Class<?> OF_COLLECTED =
            SCOPE == null ? null : scope(SCOPE, ByteBuffer.allocateDirect(1)).getClass();

    /** The scope class of automatic arenas, which the garbage collector frees. Views have it, for example. */
    private static final @Nullable Class<?> OF_AUTOMATIC = SCOPE == null ? null : automatic();

    private ArenaMemory() {}

    private static Class<?> automatic() {
        try {
            Class<?> arena = Class.forName("java.lang.foreign.Arena");
            Class<?> scope = Class.forName("java.lang.foreign.MemorySegment$Scope");
            Lookup lookup = MethodHandles.publicLookup();
            Object made = lookup.findStatic(arena, "ofAuto", MethodType.methodType(arena))
                    .invoke();
            return lookup.findVirtual(arena, "scope", MethodType.methodType(scope))
                    .invoke(made)
                    .getClass();
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static @Nullable MethodHandle find() {
        try {
            Lookup lookup = MethodHandles.publicLookup();
            Class<?> segment = Class.forName("java.lang.foreign.MemorySegment");
            Class<?> scope = Class.forName("java.lang.foreign.MemorySegment$Scope");
            MethodHandle of = lookup.findStatic(segment, "ofBuffer", MethodType.methodType(segment, Buffer.class));
            MethodHandle get = lookup.findVirtual(segment, "scope", MethodType.methodType(scope));
            return MethodHandles.filterReturnValue(of, get)
                    .asType(MethodType.methodType(Object.class, ByteBuffer.class));
        } catch (ReflectiveOperationException e) {
            return null;
        }
    }

    private static Object scope(MethodHandle of, ByteBuffer buffer) {
        try {
            return (Object) of.invokeExact(buffer);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** Whether another thread can free a direct buffer's memory while the buffer is reachable. */
    private static boolean has(MethodHandle scope, ByteBuffer buffer) {
        Class<?> kind = scope(scope, buffer).getClass();
        return kind != OF_COLLECTED && kind != OF_AUTOMATIC;
    }

    /** Returns a copy in our own memory, or the buffer itself if no other thread can free its memory. */
    static ByteBuffer held(ByteBuffer buffer) {
        return SCOPE != null && has(SCOPE, buffer)
                ? Buffers.allocate(Math.max(buffer.limit(), 1)).put(0, buffer, 0, buffer.limit())
                : buffer;
    }

    /**
     * Copies the kernel's output back to {@code buffer}. Throws IllegalStateException if the buffer's arena is closed.
     */
    @SuppressWarnings("ReferenceEquality") // equal buffers need not be the same buffer
    static void giveBack(ByteBuffer held, ByteBuffer buffer, long bytes) {
        if (held != buffer && bytes > 0) {
            buffer.put(0, held, 0, (int) bytes);
        }
    }
}
