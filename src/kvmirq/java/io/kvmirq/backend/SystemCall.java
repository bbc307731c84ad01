/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.uapi.Uapi;
import java.util.Locale;

/** System calls for which {@link Libc} has no method. Source: asm/unistd_64.h of x86, asm-generic/unistd.h of arm64. */
public enum SystemCall {
    /** Returns the process id. No arguments. */
    GETPID(39, 172),
    /** Returns the calling thread's id. No arguments. */
    GETTID(186, 178),
    /** Sends a signal to a thread. Arguments: process, thread, signal. */
    TGKILL(234, 131),
    /** Arguments: operation, addresses of the new and the old signal set, and set size. */
    RT_SIGPROCMASK(14, 135),
    /** Arguments: addresses of a signal set, a siginfo_t and a timeout, and the set's size. */
    RT_SIGTIMEDWAIT(128, 137),
    /** Arguments: the address of a NUL-terminated name, and flags. */
    MEMFD_CREATE(319, 279),
    /** Arguments: descriptor, length in bytes. */
    FTRUNCATE(77, 46),
    /** Arguments: address, length, protection, flags. Descriptor and offset are 0, so no file is mapped. */
    MMAP(9, 222),
    /** Arguments: address, length, advice. */
    MADVISE(28, 233),
    /** Arguments: command, flags, processor. */
    MEMBARRIER(324, 283);

    /**
     * Flags of {@link #MMAP} for zeroed memory, which counts against the commit limit only with vm.overcommit_memory=2.
     */
    public static final int MAP_ZEROS = Uapi.MAP_PRIVATE | Uapi.MAP_FIXED | Uapi.MAP_ANONYMOUS | Uapi.MAP_NORESERVE;

    private static final boolean ARM64 = System.getProperty("os.arch", "").equals("aarch64");

    private final int x86;
    private final int arm64;

    SystemCall(int x86, int arm64) {
        this.x86 = x86;
        this.arm64 = arm64;
    }

    /** The call's name in the kernel's documentation. */
    public String kernelName() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** Whether this system call can return an errno. getpid(2) and gettid(2) never do. */
    public boolean canFail() {
        return this != GETPID && this != GETTID;
    }

    /** The system call number on this machine. */
    public long number() {
        return ARM64 ? arm64 : x86;
    }
}
