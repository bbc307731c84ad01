/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.Errno;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/** One line of a tape. */
public sealed interface TapeLine {
    /**
     * A program was started, or replaced by another one.
     *
     * @param architecture as uname has it
     * @param program the path of its file
     * @param backend the recorder: {@code preload}, or the binding's name
     */
    record Header(int pid, String architecture, String kernel, String program, String backend) implements TapeLine {
        public Header {
            Objects.requireNonNull(architecture, "architecture is null");
            Objects.requireNonNull(kernel, "kernel is null");
            Objects.requireNonNull(program, "program is null");
            Objects.requireNonNull(backend, "backend is null");
        }
    }

    /**
     * A call. Its buffers are in native order and read-only. Descriptors and addresses with a name are 0 in them.
     *
     * @param number from 1, in the order of the tape
     * @param call the function's name; {@code memory} for bytes that the program wrote to guest memory since the last
     *     run
     * @param on the file or mapping of the call, such as {@code vm#1}; {@code closed(fd 99)} for an unknown number;
     *     empty for functions without a file
     * @param path of the opened file, if it is known
     * @param request the request of an ioctl or fcntl, else 0
     * @param value the argument if it is no pointer, else 0
     * @param flags the flags argument; for pread, pwrite, preadv and pwritev the offset
     * @param in the structure before the call; empty without one, or if it was unreadable
     * @param out the structure after the call, if the kernel changed it
     * @param data the bytes to which a pointer in the structure pointed
     * @param names the file or mapping of each descriptor or address, keyed by its offset in {@code in}, or by {@code
     *     data} or {@code value}
     * @param begins whether the call only begins here; a later line is its end
     * @param made the new file or mapping; the result is then 0
     * @param cut whether {@code in} and {@code out} are incomplete
     * @param result the result of the C function
     * @param errno the error if the result is -1
     */
    record Call(
            long number,
            int pid,
            int tid,
            String call,
            String on,
            Optional<String> path,
            long request,
            long value,
            long flags,
            Optional<ByteBuffer> in,
            Optional<ByteBuffer> out,
            Optional<ByteBuffer> data,
            Map<String, String> names,
            boolean begins,
            Optional<String> made,
            boolean cut,
            long result,
            Optional<Errno> errno)
            implements TapeLine {
        public Call {
            Objects.requireNonNull(call, "call is null");
            Objects.requireNonNull(on, "on is null");
            Objects.requireNonNull(path, "path is null");
            Objects.requireNonNull(in, "in is null");
            Objects.requireNonNull(out, "out is null");
            Objects.requireNonNull(data, "data is null");
            Objects.requireNonNull(names, "names is null");
            Objects.requireNonNull(made, "made is null");
            Objects.requireNonNull(errno, "errno is null");
        }

        private static final Set<String> READS = Set.of("read", "pread", "readv", "preadv", "preadv2", "eventfd_read");
        private static final Set<String> WRITES =
                Set.of("write", "pwrite", "writev", "pwritev", "pwritev2", "eventfd_write");

        /** Whether the function reads bytes from a file. */
        public boolean isRead() {
            return READS.contains(call);
        }

        /** Whether the function writes bytes to a file. */
        public boolean isWrite() {
            return WRITES.contains(call);
        }

        /** Whether the function waits until a file of the list in {@code in} is ready. */
        public boolean isPoll() {
            return call.equals("poll") || call.equals("ppoll");
        }

        /** The count that a read of an eventfd returned; absent for any other call. */
        public OptionalLong taken() {
            boolean all = result == (call.equals("eventfd_read") ? 0 : Long.BYTES) && errno.isEmpty();
            return isRead() && all && out.isPresent() && out.get().limit() == Long.BYTES
                    ? OptionalLong.of(out.get().getLong(0))
                    : OptionalLong.empty();
        }
    }
}
