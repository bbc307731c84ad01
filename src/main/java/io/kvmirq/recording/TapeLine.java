/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import java.nio.ByteBuffer;
import java.util.Optional;

/** One line of a tape. */
public sealed interface TapeLine {
    /**
     * A program was started, or replaced itself by another.
     *
     * @param architecture as uname has it
     * @param kernel its release
     * @param program the path of its file
     */
    record Header(int pid, String architecture, String kernel, String program) implements TapeLine {}

    /**
     * A call. Buffers are in native order and read-only.
     *
     * @param call the function's name
     * @param fd what it was called on, -1 for none
     * @param file what {@code fd} was open on, or what was opened; absent when it was not open
     * @param request of an ioctl or fcntl, else 0
     * @param value the argument that is no pointer, else 0
     * @param flags of the call, not those in a structure
     * @param in the structure before the call; absent when there is none or it could not be read
     * @param out the structure after the call, when the kernel changed it
     * @param data what a pointer in the structure pointed to
     * @param cut whether {@code in} and {@code out} are only the beginning of what the kernel saw
     * @param result of the C function
     * @param errno when the result is -1
     */
    record Call(
            int pid,
            int tid,
            String call,
            int fd,
            Optional<String> file,
            long request,
            long value,
            long flags,
            Optional<ByteBuffer> in,
            Optional<ByteBuffer> out,
            Optional<ByteBuffer> data,
            boolean cut,
            long result,
            Optional<Errno> errno)
            implements TapeLine {}
}
