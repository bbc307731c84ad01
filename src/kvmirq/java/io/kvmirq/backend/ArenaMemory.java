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
 * Distinguishes buffers of a {@code java.lang.foreign} arena from those of {@link ByteBuffer#allocateDirect}. An arena
 * may be closed, and its memory freed, while a call has the address; the garbage collector frees the others only after
 * their last use.
 */
final class ArenaMemory {
    /** From a buffer to the scope of its memory; null before Java 22. */
    private static final @Nullable MethodHandle SCOPE = find();

    /** The kind of scope of a buffer without an arena. The JDK makes a scope for each, so they are not equal. */
    private static final @Nullable Class<?> OF_COLLECTED =
            SCOPE == null ? null : scope(SCOPE, ByteBuffer.allocateDirect(1)).getClass();

    /** The kind of scope of memory that the garbage collector frees by its arena, as that of a view is. */
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

    /** Whether another thread may free the memory of a direct buffer that is still reachable. */
    private static boolean has(MethodHandle scope, ByteBuffer buffer) {
        Class<?> kind = scope(scope, buffer).getClass();
        return kind != OF_COLLECTED && kind != OF_AUTOMATIC;
    }

    /** A copy in our own memory, or the buffer itself if nobody can free its memory. */
    static ByteBuffer held(ByteBuffer buffer) {
        return SCOPE != null && has(SCOPE, buffer)
                ? Buffers.allocate(Math.max(buffer.limit(), 1)).put(0, buffer, 0, buffer.limit())
                : buffer;
    }

    /** Copies the kernel's bytes back to a buffer's owner; IllegalStateException if its arena was closed in between. */
    @SuppressWarnings("ReferenceEquality") // equal buffers are not one buffer
    static void giveBack(ByteBuffer held, ByteBuffer buffer, long bytes) {
        if (held != buffer && bytes > 0) {
            buffer.put(0, held, 0, (int) bytes);
        }
    }
}
