/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

/**
 * Flags of memfd_create(2), and seals, locks and holes of such a file; source: linux/memfd.h, linux/fcntl.h,
 * linux/falloc.h, asm-generic/fcntl.h.
 */
public final class Memfd {
    public static final int MFD_CLOEXEC = 1;
    public static final int MFD_ALLOW_SEALING = 2;
    public static final int MFD_HUGETLB = 4;
    /** Since 6.3. */
    public static final int MFD_NOEXEC_SEAL = 8;
    /** Since 6.3. */
    public static final int MFD_EXEC = 0x10;

    public static final int F_ADD_SEALS = 1033;
    public static final int F_GET_SEALS = 1034;
    public static final int F_SEAL_SEAL = 1;
    public static final int F_SEAL_SHRINK = 2;
    public static final int F_SEAL_GROW = 4;
    /** Since 6.3. */
    public static final int F_SEAL_EXEC = 0x20;

    /** Locks an open file until its last descriptor is closed. The argument is a struct flock. */
    public static final int F_OFD_SETLK = 37;

    /** The size of {@code struct flock}; zeros after its 16-bit type lock the whole file. */
    public static final int FLOCK_SIZE = 32;

    public static final short F_WRLCK = 1;

    public static final int FALLOC_FL_KEEP_SIZE = 1;
    public static final int FALLOC_FL_PUNCH_HOLE = 2;

    private Memfd() {}
}
