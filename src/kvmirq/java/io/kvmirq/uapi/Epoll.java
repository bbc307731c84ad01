/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

/**
 * The constants of epoll(7), under the kernel's names. Source: include/uapi/linux/eventpoll.h. The kernel packs {@code
 * struct epoll_event} on x86-64 only, so its size and the offset of {@code data} depend on the architecture.
 */
public final class Epoll {
    public static final int EPOLL_CTL_ADD = 1;
    public static final int EPOLL_CTL_DEL = 2;
    public static final int EPOLL_CTL_MOD = 3;

    public static final int EPOLLIN = 1;
    public static final int EPOLLOUT = 4;
    public static final int EPOLLERR = 8;
    public static final int EPOLLHUP = 0x10;
    public static final int EPOLLRDNORM = 0x40;
    public static final int EPOLLWRNORM = 0x100;
    public static final int EPOLLEXCLUSIVE = 1 << 28;
    public static final int EPOLLWAKEUP = 1 << 29;
    public static final int EPOLLONESHOT = 1 << 30;
    public static final int EPOLLET = 1 << 31;

    /** The offset of the 32-bit field {@code events} in {@code struct epoll_event}. */
    public static final int EVENTS = 0;

    /** The offset of the 64-bit field {@code data} in {@code struct epoll_event}. */
    public static final int DATA = isPacked() ? Integer.BYTES : Long.BYTES;

    /** The size of {@code struct epoll_event}. */
    public static final int SIZE = DATA + Long.BYTES;

    private Epoll() {}

    private static boolean isPacked() {
        String architecture = System.getProperty("os.arch", "");
        return architecture.equals("amd64") || architecture.equals("x86_64");
    }
}
