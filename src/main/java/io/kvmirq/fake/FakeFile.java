/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/** An open file of one kind. All methods are called with the kernel's lock held. */
abstract class FakeFile {
    final FakeKernel kernel;
    private final boolean foreign;
    private int descriptors;

    FakeFile(FakeKernel kernel) {
        this.kernel = kernel;
        this.foreign = kernel.isForeign();
    }

    /** Another descriptor refers to it. */
    final void opened() {
        descriptors++;
    }

    /** One descriptor less; the last one releases it. */
    final void closed() {
        if (--descriptors == 0) {
            kernel.note(Rule.FD_LAST_CLOSE);
            released();
        }
    }

    /** No descriptor is left. */
    void released() {}

    /** Whether the other process has made it. */
    final boolean isForeign() {
        return foreign;
    }

    /** Whether another process that has a descriptor of it may ask it nothing. */
    boolean isOfOneProcess() {
        return false;
    }

    /** What is so in the VM it is of, by the labels of {@code io.kvmirq.explain.Fact}; allocates nothing. */
    List<String> facts() {
        return List.of();
    }

    /** What this kind of file answers; {@code argument} is a value or an address. */
    int ioctl(long request, long argument) {
        return kernel.refuse(Rule.UNKNOWN_IOCTL_OF_FILE);
    }

    /**
     * A number that no kernel knows is refused by {@code rule}; one that kernels know and this fake does not is refused by name.
     *
     * @throws NotModelledException for a request of {@link UapiTable}
     */
    final int unknown(UapiTable.FileKind kind, long request, Rule rule) {
        for (UapiTable.Request known : UapiTable.REQUESTS) {
            if (known.kind() == kind && known.number() == request) {
                throw new NotModelledException(known.name());
            }
        }
        return kernel.refuse(rule);
    }

    /** What is done with a structure of the caller's. */
    interface OnStructure {
        int apply(ByteBuffer structure);
    }

    /** The structure is copied before anything about it is checked. */
    final int copied(long argument, int size, OnStructure call) {
        ByteBuffer structure = kernel.memory().copyIn(argument, size);
        return structure == null ? kernel.refuse(Rule.FAULT) : call.apply(structure);
    }

    /** The memory that mmap maps; absent for a file without. */
    Optional<ByteBuffer> shared() {
        return Optional.empty();
    }

    /** FIONBIO, for those it makes a difference to. */
    void setBlocking(boolean on) {}

    long read(long to, long length) {
        return kernel.refuse(Rule.NOT_READABLE);
    }

    long write(long from, long length) {
        return kernel.refuse(Rule.NOT_READABLE);
    }

    long pread(long to, long length, long offset) {
        return kernel.refuse(Rule.NO_OFFSET);
    }

    long pwrite(long from, long length, long offset) {
        return kernel.refuse(Rule.NO_OFFSET);
    }

    /** F_GETFL. */
    int statusFlags() {
        throw new NotModelledException("F_GETFL of this kind of file");
    }

    /** Whether poll says so unasked. */
    boolean failed() {
        return false;
    }

    /** A file without a poll operation always is. */
    boolean readable() {
        return true;
    }
}
