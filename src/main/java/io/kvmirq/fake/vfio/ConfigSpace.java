/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;

/**
 * The configuration space that VFIO shows, by byte. A write reaches COMMAND only. Source:
 * drivers/vfio/pci/vfio_pci_config.c.
 */
final class ConfigSpace {
    private static final int COMMAND = 4;
    private static final int STATUS = 6;

    private static final int MASTER = 4;
    /** DisINTx, which VFIO emulates. */
    private static final int DIS_INTX = 1 << 10;
    /** I/O space, memory space, bus master, DisINTx. */
    private static final int WRITABLE = 7 | DIS_INTX;

    private static final int INTX_PENDING = 1 << 3;

    private final VfioPci device;
    private final byte[] image;
    private int command;

    ConfigSpace(VfioPci device) {
        this.device = device;
        this.image = device.function().config();
    }

    boolean isMaster() {
        return (command & MASTER) != 0;
    }

    int size() {
        return image.length;
    }

    /** The device was closed: bus mastering is off, and DisINTx of the next user clear. */
    void clear() {
        command = 0;
    }

    int read(int at) {
        return switch (at) {
            case COMMAND, COMMAND + 1 -> command >>> 8 * (at - COMMAND) & 0xff;
            case STATUS -> image[at] | (isPending() ? INTX_PENDING : 0);
            default -> image[at] & 0xff;
        };
    }

    private boolean isPending() {
        return device.function().disIntx() && device.device().isRequesting();
    }

    /** Writes COMMAND, and STATUS with it or not. No bit of STATUS is ever set that a write clears. */
    void write(int at, int length, int value) {
        if (at < COMMAND || at + length > STATUS && (at != COMMAND || length != Integer.BYTES)) {
            throw new NotModelledException("writing configuration space at 0x" + Integer.toHexString(at));
        }
        int shift = 8 * (at - COMMAND);
        int mask = (length == 1 ? 0xff : 0xffff) << shift;
        int next = command & ~mask | value << shift & mask;
        if ((next & ~WRITABLE) != 0) {
            throw new NotModelledException("COMMAND, except I/O space, memory space, bus master and DisINTx");
        }
        boolean changed = ((next ^ command) & DIS_INTX) != 0;
        command = next;
        if (changed) {
            device.intx().writeDisIntx((command & DIS_INTX) != 0);
            device.settle();
        }
    }
}
