/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Memfd;
import java.nio.ByteBuffer;

/**
 * Seals mapped files against shrinking, because an access beyond a file's end would raise SIGBUS in this process.
 *
 * <p>Source: {@code F_ADD_SEALS} in fcntl(2).
 */
final class FileSeals {
    private final Libc libc;
    private final String name;
    private final int raw;

    FileSeals(Libc libc, String name, int raw) {
        this.libc = libc;
        this.name = name;
        this.raw = raw;
    }

    /** Whether the file is sealed against shrinking. Refuses a file that cannot be sealed. */
    boolean isSealed() {
        int seals = libc.fcntl(raw, Memfd.F_GET_SEALS, 0);
        boolean sealed = seals >= 0 && (seals & Memfd.F_SEAL_SHRINK) != 0;
        if (!sealed && seals >= 0 && (seals & Memfd.F_SEAL_SEAL) != 0) {
            throw new IllegalArgumentException(name + " has F_SEAL_SEAL and not F_SEAL_SHRINK (its seals are 0x"
                    + Integer.toHexString(seals)
                    + "), so it may shrink, and an access beyond its end would raise SIGBUS:"
                    + " seal it against shrinking before F_SEAL_SEAL; Mapping.forGuest maps a file that only the guest"
                    + " uses");
        }
        if (seals < 0) {
            throw mayShrink();
        }
        return sealed;
    }

    /** Seals the file against shrinking. */
    void seal() {
        if (libc.fcntl(raw, Memfd.F_ADD_SEALS, Memfd.F_SEAL_SHRINK) < 0) {
            throw mayShrink();
        }
    }

    private IllegalArgumentException mayShrink() {
        return new IllegalArgumentException(name + " may shrink, and an access beyond its end would raise SIGBUS:"
                + " expected a memfd with MFD_ALLOW_SEALING; Mapping.forGuest maps a file that only the guest uses");
    }

    /** Refuses a file that ends before {@code length} bytes. Overwrites {@code scratch}. */
    void requireLength(long length, ByteBuffer scratch) {
        if (libc.pread(raw, scratch, length - 1) == 0) {
            throw new IllegalArgumentException(name + " ends before byte " + length
                    + ", and an access beyond its end would raise SIGBUS: set its size first (ftruncate)");
        }
    }
}
