/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/**
 * The flags of open(2) whose numbers differ between x86 and arm64. Source: include/uapi/asm-generic/fcntl.h,
 * arch/arm64/include/uapi/asm/fcntl.h.
 */
public enum OpenFlag {
    DIRECT(040000, 0200000),
    /** The flag that the kernel sets in open(2) and memfd_create(2). */
    LARGEFILE(0100000, 0400000);

    private final int generic;
    private final int arm64;

    OpenFlag(int generic, int arm64) {
        this.generic = generic;
        this.arm64 = arm64;
    }

    public int on(Build build) {
        return build.arm64() ? arm64 : generic;
    }
}
