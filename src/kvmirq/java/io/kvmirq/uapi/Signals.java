/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

/** Signal sets. Source: asm-generic/signal-defs.h and asm-generic/signal.h. Bit n of a set is signal n + 1. */
public final class Signals {
    public static final int SIG_BLOCK = 0;
    public static final int SIG_UNBLOCK = 1;
    public static final int SIG_SETMASK = 2;

    /** The set size in bytes. */
    public static final int SET_SIZE = 8;

    /** The first real-time signal, 32. The C library uses the signals 32 and 33 internally. */
    public static final int FIRST_REAL_TIME = 32;

    public static final int LAST = 64;

    private Signals() {}

    /** The set that contains only this signal. */
    public static long set(int signal) {
        return 1L << signal - 1;
    }
}
