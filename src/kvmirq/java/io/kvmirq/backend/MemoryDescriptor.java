/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.Errno;
import io.kvmirq.NotPromised;
import io.kvmirq.uapi.Memfd;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Objects;

/** Creates anonymous memory files with memfd_create(2). */
@NotPromised
public final class MemoryDescriptor {
    /** The result of MFD_NOEXEC_SEAL on kernels before 6.3. */
    private static final int EINVAL = -Errno.EINVAL.number();

    private MemoryDescriptor() {}

    /**
     * Creates an empty memory file that can be sealed but, since Linux 6.3, not executed, so vm.memfd_noexec allows it.
     * {@code name} has at most 249 bytes. Returns {@code -errno} on failure.
     */
    public static int create(Libc libc, String name) {
        Objects.requireNonNull(name, "name is null");
        ByteBuffer text = Buffers.cString(name);
        try {
            long address = libc.addressOf(text);
            int flags = Memfd.MFD_CLOEXEC | Memfd.MFD_NOEXEC_SEAL;
            int result = (int) libc.syscall(SystemCall.MEMFD_CREATE, address, flags, 0, 0);
            flags = Memfd.MFD_CLOEXEC | Memfd.MFD_ALLOW_SEALING;
            return result == EINVAL ? (int) libc.syscall(SystemCall.MEMFD_CREATE, address, flags, 0, 0) : result;
        } finally {
            Reference.reachabilityFence(text);
        }
    }
}
