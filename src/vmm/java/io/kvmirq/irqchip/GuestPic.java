/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import java.util.Arrays;
import java.util.Objects;

/**
 * The registers of two 8259A PICs that Linux accesses at boot: initialization, mask, and edge/level. These PICs never
 * interrupt. Not thread-safe.
 *
 * <p>Source: 8259A datasheet; {@code probe_8259A()} and {@code init_8259A()} in arch/x86/kernel/i8259.c.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="pic"}
 */
public final class GuestPic {
    private static final int[] COMMANDS = {0x20, 0xa0};
    private static final int EDGE_LEVEL = 0x4d0;
    private static final int INITIALIZE = 1 << 4;
    private static final int WITH_FOURTH = 1;
    private static final int SINGLE = 1 << 1;
    private static final int BYTE = 0xff;
    /** The maximum number of initialization words after ICW1. */
    private static final int MOST_WORDS = 3;

    private static final int STATE_BYTES = 6;

    private final int[] masks = new int[COMMANDS.length];
    private final int[] levels = new int[COMMANDS.length];
    /** For each PIC, the number of initialization words still expected at the mask port. */
    private final int[] awaited = new int[COMMANDS.length];

    /** Whether an I/O port belongs to the PICs: 0x20, 0x21, 0xa0, 0xa1, 0x4d0 or 0x4d1. */
    public static boolean isPort(int port) {
        return Arrays.stream(COMMANDS).anyMatch(command -> port >> 1 == command >> 1) || port >> 1 == EDGE_LEVEL >> 1;
    }

    private static boolean isLevels(int port) {
        return port >> 1 == EDGE_LEVEL >> 1;
    }

    private static int chip(int port) {
        return isLevels(port) ? port & 1 : port >> 1 == COMMANDS[0] >> 1 ? 0 : 1;
    }

    private static int require(int port) {
        if (!isPort(port)) {
            throw new IllegalArgumentException(
                    "port 0x" + Integer.toHexString(port) + " is not a PIC port: call isPort first");
        }
        return port;
    }

    /** Handles a guest read of one byte from a port. Throws IllegalArgumentException if {@link #isPort} is false. */
    public int read(int port) {
        int chip = chip(require(port));
        return isLevels(port) ? levels[chip] : (port & 1) == 1 ? masks[chip] : 0;
    }

    /** Handles a guest write of one byte to a port. Throws IllegalArgumentException if {@link #isPort} is false. */
    public void write(int port, int value) {
        int chip = chip(require(port));
        if (isLevels(port)) {
            levels[chip] = value & BYTE;
        } else if ((port & 1) == 0) {
            if ((value & INITIALIZE) != 0) {
                masks[chip] = 0;
                awaited[chip] = 1 + ((value & SINGLE) == 0 ? 1 : 0) + (value & WITH_FOURTH);
            }
        } else if (awaited[chip] > 0) {
            awaited[chip]--;
        } else {
            masks[chip] = value & BYTE;
        }
    }

    /** Resets both PICs when the guest resets. */
    public void reset() {
        restore(new byte[STATE_BYTES]);
    }

    /** Returns the state of both PICs, for {@link #restore}. */
    public byte[] state() {
        byte[] state = new byte[STATE_BYTES];
        for (int chip = 0; chip < COMMANDS.length; chip++) {
            state[chip] = (byte) masks[chip];
            state[COMMANDS.length + chip] = (byte) levels[chip];
            state[2 * COMMANDS.length + chip] = (byte) awaited[chip];
        }
        return state;
    }

    /** Restores a state that {@link #state} returned. Throws IllegalArgumentException for any other array. */
    public void restore(byte[] state) {
        Objects.requireNonNull(state, "state is null");
        if (state.length != STATE_BYTES
                || state[4] < 0
                || state[4] > MOST_WORDS
                || state[5] < 0
                || state[5] > MOST_WORDS) {
            throw new IllegalArgumentException(state.length + " bytes are not the state of two PICs: expected "
                    + STATE_BYTES + ", of which the last two are 0 to " + MOST_WORDS);
        }
        for (int chip = 0; chip < COMMANDS.length; chip++) {
            masks[chip] = state[chip] & BYTE;
            levels[chip] = state[COMMANDS.length + chip] & BYTE;
            awaited[chip] = state[2 * COMMANDS.length + chip];
        }
    }
}
