/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

/** Flags of memfd_create(2), and seals of its files. Source: linux/memfd.h, linux/fcntl.h. */
public final class Memfd {
    public static final int MFD_CLOEXEC = 1;
    public static final int MFD_ALLOW_SEALING = 2;
    public static final int MFD_HUGETLB = 4;
    /** Since Linux 6.3. */
    public static final int MFD_NOEXEC_SEAL = 8;
    /** Since Linux 6.3. */
    public static final int MFD_EXEC = 0x10;

    public static final int F_ADD_SEALS = 1033;
    public static final int F_GET_SEALS = 1034;
    public static final int F_SEAL_SEAL = 1;
    public static final int F_SEAL_SHRINK = 2;
    public static final int F_SEAL_GROW = 4;
    /** Since Linux 6.3. */
    public static final int F_SEAL_EXEC = 0x20;

    private Memfd() {}
}
