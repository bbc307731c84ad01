/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.uapi.Memfd;
import java.nio.ByteBuffer;

/**
 * The end of a mapped file. An access beyond it would be a SIGBUS, so a file that this process accesses is sealed against
 * shrinking.
 *
 * <p>Source: {@code F_ADD_SEALS} in fcntl(2).
 */
final class FileSeals {
    private FileSeals() {}

    /** Whether the file cannot shrink. Refuses a file that takes no such seal. */
    static boolean isSealed(Fd fd, int raw) {
        int seals = fd.kernel().libc().fcntl(raw, Memfd.F_GET_SEALS, 0);
        boolean sealed = seals >= 0 && (seals & Memfd.F_SEAL_SHRINK) != 0;
        if (!sealed && seals >= 0 && (seals & Memfd.F_SEAL_SEAL) != 0) {
            throw new IllegalArgumentException(fd + " has F_SEAL_SEAL and not F_SEAL_SHRINK (its seals are 0x"
                    + Integer.toHexString(seals)
                    + "), so it may shrink, and an access beyond its end would be a SIGBUS:"
                    + " seal it against shrinking before F_SEAL_SEAL; Mapping.forGuest maps a file that only the guest"
                    + " uses");
        }
        if (seals < 0) {
            throw mayShrink(fd);
        }
        return sealed;
    }

    /** Seals the file against shrinking. */
    static void seal(Fd fd, int raw) {
        if (fd.kernel().libc().fcntl(raw, Memfd.F_ADD_SEALS, Memfd.F_SEAL_SHRINK) < 0) {
            throw mayShrink(fd);
        }
    }

    private static IllegalArgumentException mayShrink(Fd fd) {
        return new IllegalArgumentException(fd + " may shrink, and an access beyond its end would be a SIGBUS:"
                + " expected a memfd with MFD_ALLOW_SEALING; Mapping.forGuest maps a file that only the guest uses");
    }

    /** Refuses a file that ends before {@code length} bytes. */
    static void requireLength(Fd fd, int raw, long length) {
        ByteBuffer last = fd.kernel().scratch();
        try {
            if (fd.kernel().libc().pread(raw, last, length - 1) == 0) {
                throw new IllegalArgumentException(fd + " ends before byte " + length
                        + ", and an access beyond its end would be a SIGBUS: set its size first (ftruncate)");
            }
        } finally {
            fd.kernel().done(last);
        }
    }
}
