/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.function.Supplier;

/** A structure that {@link KernelBackend} encodes. Each platform thread has one, and virtual threads share a pool. */
final class Argument implements AutoCloseable {
    private static final Making MAKING = new Making();
    private static final ThreadLocal<Argument> OF_THREAD = ThreadLocal.withInitial(MAKING);
    private static final Pool<Argument> OF_VIRTUAL_THREADS = new Pool<>(MAKING);

    final ByteBuffer bytes = Buffers.allocate(Uapi.KvmEnableCap.SIZE); // the largest of the structures

    private Argument() {}

    /** A class, not a lambda, because a JVM's first lambda takes milliseconds. */
    private static final class Making implements Supplier<Argument> {
        @Override
        public Argument get() {
            return new Argument();
        }
    }

    /** Returns a zeroed structure for one call by this thread, which must {@link #close} it. */
    static Argument zeroed() {
        Argument argument = CurrentThread.isVirtual() ? OF_VIRTUAL_THREADS.take() : OF_THREAD.get();
        for (int at = 0; at < argument.bytes.limit(); at += Long.BYTES) {
            argument.bytes.putLong(at, 0);
        }
        return argument;
    }

    /** Calls KVM_ENABLE_CAP. */
    static int enable(Libc libc, int vm, int capability, long argument) {
        try (Argument enable = zeroed()) {
            enable.bytes.putInt(Uapi.KvmEnableCap.CAP, capability).putLong(Uapi.KvmEnableCap.ARGS, argument);
            return libc.ioctl(vm, Uapi.KVM_ENABLE_CAP, enable.bytes);
        }
    }

    @Override
    public void close() {
        if (CurrentThread.isVirtual()) {
            OF_VIRTUAL_THREADS.giveBack(this);
        }
    }
}
