/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.rules.NotModelledException;

/** The modelled part of the configuration space, by byte; source: drivers/vfio/pci/vfio_pci_config.c. */
final class ConfigSpace {
    private static final int COMMAND = 4;
    private static final int STATUS = 6;
    private static final int INTERRUPT_PIN = 0x3d;

    private static final int MASTER = 4;
    /** DisINTx, which VFIO emulates. */
    private static final int DIS_INTX = 1 << 10;
    /** I/O space, memory space, bus master, DisINTx. */
    private static final int WRITABLE = 7 | DIS_INTX;

    private static final int INTX_PENDING = 1 << 3;
    private static final int CAPABILITIES = 1 << 4;

    private final VfioPci device;
    private int command;

    ConfigSpace(VfioPci device) {
        this.device = device;
    }

    boolean isMaster() {
        return (command & MASTER) != 0;
    }

    /** The device was closed: bus mastering is off, and DisINTx of the next user clear. */
    void clear() {
        command = 0;
    }

    int read(int at) {
        return switch (at) {
            case COMMAND, COMMAND + 1 -> command >>> 8 * (at - COMMAND) & 0xff;
            case STATUS, STATUS + 1 -> status() >>> 8 * (at - STATUS) & 0xff;
            case INTERRUPT_PIN -> device.function().intx() ? 1 : 0;
            default -> throw notModelled("reading", at);
        };
    }

    private int status() {
        PciFunction function = device.function();
        boolean capable = function.msi() != 0 || function.msix() != 0 || function.express();
        boolean pending = function.disIntx() && device.device().isRequesting();
        return (pending ? INTX_PENDING : 0) | (capable ? CAPABILITIES : 0);
    }

    /** Writes COMMAND, one or both bytes. */
    void write(int at, int length, int value) {
        if (at < COMMAND || at + length > STATUS) {
            throw notModelled("writing", at);
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

    private static NotModelledException notModelled(String access, int at) {
        return new NotModelledException(access + " configuration space at 0x" + Integer.toHexString(at));
    }
}
