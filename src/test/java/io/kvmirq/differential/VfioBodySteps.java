/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;
import static io.kvmirq.differential.VfioSide.HEADER;

import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.util.ArrayList;
import java.util.List;

/**
 * Steps on the body of a VFIO device: configuration space, BARs, mappings, features, resets of its bus. All bits of
 * capabilities are compared. Left out is what belongs to the host: the addresses of BARs and the interrupt line before they
 * are written, and where capabilities are in the list. Of BARs only the MSI-X table is compared: the registers of a
 * device run its functions, count and signal by themselves, at times of their own.
 */
final class VfioBodySteps {
    private static final int POWER = 1;
    private static final int MSI = 5;
    private static final int EXPRESS = 0x10;
    private static final int MSIX = 0x11;
    private static final long ALL = 0xffffffffL;
    private static final int COMMAND = 4;
    private static final int VENDOR = 9;
    /** A part of the space in which none of the devices has a capability, on the real kernel and on the fake. */
    private static final int FREE = 0xf4;

    private static final int FREE_BYTES = 12;

    private static final int BAR_0 = 0x10;
    private static final int ROM_BAR = 0x30;
    /** Data_Select, which may outlive a close: the kernel lets the device sleep some time later, and that clears it. */
    private static final int DATA_SELECT = 0x1e00;

    /** The number of steps on configuration space. */
    private static final int CONFIG_STEPS = 16;
    /** The number of nvme among the devices. */
    private static final int NVME = 3;

    private static final int ROM = 6;
    private static final int CONFIG = UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX;
    private static final int REGIONS = 9;

    private final Draft draft;
    private final Values values;
    private final Descriptors fds;

    VfioBodySteps(Draft draft) {
        this.draft = draft;
        this.values = draft.values();
        this.fds = draft.fds();
    }

    private long device() {
        return values.rarely(16) ? fds.anyVfio() : fds.pick(Kind.VFIO_DEVICE);
    }

    // Configuration space

    void config() {
        long fd = device();
        int step = (int) values.below(CONFIG_STEPS);
        while (isOfOthers(step, (int) fds.deviceOf(fd, 0)) && !values.rarely(8)) {
            step = (int) values.below(CONFIG_STEPS);
        }
        switch (step) {
            case 0, 1, 2 -> command(fd);
            case 3, 4 -> bar(fd);
            case 5 -> line(fd);
            case 6 -> power(fd);
            case 7 -> message(fd);
            case 8 -> messageControl(fd);
            case 9 -> express(fd);
            case 10, 11, 12 -> capability(fd);
            case 13 -> vendors(fd);
            case 14 -> free(fd);
            default -> identity(fd);
        }
    }

    /** Whether a step is on a capability that a device lacks. */
    private static boolean isOfOthers(int step, int device) {
        return switch (step) {
            case 6, 9 -> device < Differential.RESETTABLE;
            case 7 -> device == 1 || device == NVME;
            case 13 -> device != 1;
            default -> false;
        };
    }

    private Call read(long fd, long capability, long offset, long width, long mask) {
        return call(Operation.READ_CONFIG, fd, capability, offset, width, mask);
    }

    private Call write(long fd, long capability, long offset, long width, long value) {
        return call(Operation.WRITE_CONFIG, fd, capability, offset, width, value);
    }

    private void command(long fd) {
        long value = values.of(0, 2, 3, 4, 6, 7, 7, 0x400, 0x402, 0x407, 0x147, 0xffff);
        long part = values.rarely(4) ? values.below(2) : 2;
        List<Call> calls = new ArrayList<>();
        if (values.rarely(3)) {
            calls.add(read(fd, HEADER, 8, 4, ALL));
        } else if (part == 2) {
            calls.add(write(fd, HEADER, COMMAND, values.rarely(4) ? 4 : 2, value));
        } else {
            calls.add(write(fd, HEADER, COMMAND + part, 1, value >>> Byte.SIZE * part));
        }
        calls.add(read(fd, HEADER, COMMAND, values.of(2, 4), ALL));
        calls.add(read(fd, HEADER, COMMAND + 2, 2, ALL));
        draft.step(calls);
    }

    /** Sizes it, or moves it. A BAR that was never written shows an address of the host. */
    private void bar(long fd) {
        long at = values.rarely(6) ? ROM_BAR : BAR_0 + 4 * values.below(6);
        long value = values.of(ALL, ALL, 0, 0xfebc0000L, 0x12345678L, 1);
        List<Call> calls = new ArrayList<>(List.of(write(fd, HEADER, at, 4, value)));
        if (values.rarely(3)) {
            calls.add(write(fd, HEADER, at + values.below(4), values.of(1, 2, 3), values.of(0, ALL, 0x5555)));
        }
        calls.add(read(fd, HEADER, at, 4, ALL));
        draft.step(calls);
    }

    private void line(long fd) {
        long at = values.of(0xc, 0xd, 0xf, 0x3c);
        draft.step(
                write(fd, HEADER, at, values.of(1, 1, 2, 4), values.of(0, 0xff, 0x55, 9)),
                read(fd, HEADER, at, 1, ALL),
                read(fd, HEADER, 0x3d, 1, ALL));
    }

    private void power(long fd) {
        List<Call> calls = new ArrayList<>(List.of(read(fd, POWER, 2, 2, ALL)));
        boolean selects = values.rarely(2);
        if (selects) {
            long width = values.of(2, 2, 4, 1);
            calls.add(write(fd, POWER, 4, width, values.of(0, 0, 3, 3, 1, 2, 0x8103, 0xffff, 0x1e00, 0xa03)));
            selects = width > 1;
        }
        calls.add(read(fd, POWER, 4, values.of(2, 4), selects ? ALL : ALL & ~DATA_SELECT));
        draft.step(calls);
    }

    private void message(long fd) {
        long at = values.of(4, 4, 8, 0xc);
        draft.step(
                write(fd, MSI, at, at == 0xc ? 2 : 4, values.of(0, ALL, 0xfee01000L, 0x4041)),
                read(fd, MSI, at, at == 0xc ? 2 : 4, ALL));
    }

    private void messageControl(long fd) {
        long capability = values.of(MSI, MSIX);
        List<Call> calls = new ArrayList<>();
        if (!values.rarely(3)) {
            calls.add(write(fd, capability, 2, values.of(2, 2, 1), values.of(0, 1, 0x71, 0x80, 0xffff, 0xc000)));
        }
        calls.add(read(fd, capability, 2, 2, ALL));
        calls.add(read(fd, MSIX, values.of(4, 8), 4, ALL));
        draft.step(calls);
    }

    private void express(long fd) {
        boolean resets = values.rarely(4);
        long value = resets ? 0x8000 : values.of(0, 0x0e1f, 0x2810, 0x7fff, 0x1020);
        draft.step(
                write(fd, EXPRESS, 8, 2, value),
                read(fd, EXPRESS, 8, values.of(2, 4), ALL),
                read(fd, EXPRESS, 0, 1, ALL));
    }

    /** Any register of a capability is read, except for the place of the next one; those that no write changes are written. */
    private void capability(long fd) {
        long capability = values.of(POWER, MSI, EXPRESS, EXPRESS, MSIX, HEADER);
        List<Call> calls = new ArrayList<>();
        if (capability == HEADER) {
            long at = values.of(0, 8, 0x28, 0x2c, 0x38);
            calls.add(write(fd, HEADER, at, values.of(1, 2, 4), values.of(0, ALL)));
            calls.add(read(fd, HEADER, at, 4, ALL));
        } else if (capability == POWER || capability == MSI) {
            calls.add(read(fd, capability, 2, 2, ALL));
        } else if (capability == EXPRESS) {
            long at = values.of(2, 4, 6, 0xc, 0xd, 0x10, 0x12);
            calls.add(write(fd, EXPRESS, at, values.of(1, 2), values.of(0, ALL)));
            calls.add(read(fd, EXPRESS, at, values.of(1, 2), ALL));
            if (fds.deviceOf(fd, 0) == NVME) {
                long second = values.of(0x14, 0x24, 0x28, 0x29, 0x2c, 0x30);
                calls.add(write(fd, EXPRESS, second, values.of(1, 2, 4), values.of(0, ALL, 0x20, 0x8000)));
                calls.add(read(fd, EXPRESS, second, 4, ALL));
            }
        } else {
            long at = values.of(4, 8);
            calls.add(write(fd, capability, at, 4, values.of(0, ALL)));
            calls.add(read(fd, capability, at, 4, ALL));
            calls.add(read(fd, capability, 0, 1, ALL));
        }
        draft.step(calls);
    }

    /** Registers of virtio, which keep what is written until the machine ends; the last one reaches a BAR. */
    private void vendors(long fd) {
        long at = values.of(4, 8, 0xc);
        draft.step(
                read(fd, VENDOR, 2, 2, ALL),
                write(fd, VENDOR, at, 4, values.of(0, ALL, 0x5a)),
                read(fd, VENDOR, at, values.of(1, 2, 4), ALL));
    }

    /** Bytes that keep what is written until the machine ends. */
    private void free(long fd) {
        long at = FREE + values.below(FREE_BYTES - 4);
        List<Call> calls = new ArrayList<>(List.of(write(fd, HEADER, at, 4, values.of(0, ALL, 0x12345678L))));
        if (values.rarely(6)) {
            calls.add(call(Operation.RESET, fd));
        }
        calls.add(read(fd, HEADER, at, values.of(1, 2, 4), ALL));
        draft.step(calls);
    }

    private void identity(long fd) {
        draft.step(
                read(fd, HEADER, 0, values.of(1, 2, 4), ALL),
                write(fd, HEADER, values.below(4), values.of(1, 2, 4), 0),
                read(fd, HEADER, 0, 4, ALL));
    }

    /** Any place and length: how much is read is compared. A device's own bytes are not written. */
    void anyConfig() {
        long at = values.rarely(3) ? values.of(255, 256, 257, 4095, 4096, 0x7fffffff, -1) : values.below(256);
        long length = values.rarely(4) ? values.of(0, 3, 5, 7, 256) : values.of(1, 2, 4, 8);
        boolean writes = values.rarely(3);
        draft.step(call(
                writes ? Operation.WRITE_REGION : Operation.READ_REGION,
                writes
                        ? new long[] {device(), CONFIG, values.of(0, 0, 1, 2, 0x34, 0x3d, 254, 4096), values.of(0, 1, 2)
                        }
                        : new long[] {device(), CONFIG, at, length, 0}));
    }

    // BARs

    /** The table of MSI-X, which is not read, is shown; and registers, of which only the length is compared. */
    void read() {
        long fd = device();
        switch ((int) values.below(5)) {
            case 0 -> draft.step(call(Operation.READ_FILE, fd, values.of(0, 4, 4, 8)));
            case 1 -> {
                draft.step(call(
                        Operation.READ_REGION,
                        fd,
                        tableBar(fd),
                        table(fd) + values.of(0, 4, 12, 13, 0x48),
                        values.of(1, 2, 4, 8),
                        1));
            }
            default ->
                draft.step(call(
                        Operation.READ_REGION, fd, values.below(REGIONS + 1), place(), values.of(0, 1, 2, 4, 4, 8), 0));
        }
    }

    private long tableBar(long fd) {
        return switch ((int) fds.deviceOf(fd, 0)) {
            case 1 -> 1;
            case NVME -> 0;
            default -> 3;
        };
    }

    private long table(long fd) {
        return fds.deviceOf(fd, 0) == NVME ? 0x2000 : 0;
    }

    private long place() {
        return values.rarely(3)
                ? values.of(0x1e, 0x1f, 0x20, 0x3ffe, 0x4000, 0x8000, 0x1fffc, 0x20000, 0x3fffe, 0x100000, -1)
                : values.of(0, 0, 4, 0x10, 2);
    }

    /** Where a write changes nothing: in the table, read-only places, beyond the end. */
    void write() {
        long fd = device();
        switch ((int) values.below(4)) {
            case 0 -> draft.step(call(Operation.WRITE_REGION, fd, ROM, place(), values.of(0, 1, 4)));
            case 1 -> draft.step(call(Operation.WRITE_REGION, fd, values.of(4, 5, 8, 9), values.of(0x10000, -1), 4));
            default ->
                draft.step(call(
                        Operation.WRITE_REGION,
                        fd,
                        tableBar(fd),
                        table(fd) + values.of(0, 4, 12, 14),
                        values.of(0, 1, 2, 4, 8)));
        }
    }

    void map() {
        long fd = fds.anyVfio();
        draft.step(call(
                Operation.MAP_FILE,
                fd,
                values.below(REGIONS + 1),
                values.rarely(3) ? values.of(0x1000, 0x3000, 0x4000, 0x20000) : 0,
                values.of(0x1000, 0x1000, 0x1000, 0x4000, 0x5000, 0x20000, 0x100000, 0x101000, 1, 0),
                values.rarely(6) ? Uapi.MAP_PRIVATE : values.rarely(12) ? 0 : Uapi.MAP_SHARED));
    }

    void poll() {
        long fd = fds.anyVfio();
        draft.step(
                values.rarely(3) && !fds.open(Kind.EPOLL).isEmpty()
                        ? call(Operation.EPOLL_CTL, fds.open(Kind.EPOLL).get(0), Epoll.EPOLL_CTL_ADD, fd, Epoll.EPOLLIN)
                        : call(Operation.POLL, fd, Uapi.POLLIN, 0));
    }

    // Requests

    /** Not of a container: there the number is that of {@link Operation#IOMMU_INFO}. */
    void hotReset() {
        long fd = device();
        if (fds.deviceOf(fd, -1) < 0) {
            return;
        }
        if (values.rarely(2)) {
            draft.step(call(Operation.HOT_RESET_INFO, fd, values.of(0, 11, 12, 20, 64)));
            return;
        }
        List<Long> arguments = new ArrayList<>(
                List.of(fd, values.of(0, 12, 16, 20), values.rarely(5) ? 1L : 0L, values.of(0, 1, 1, 2)));
        for (int i = 0; i < 2; i++) {
            arguments.add(fds.pick(Kind.GROUP));
        }
        draft.step(List.of(new Call(Operation.HOT_RESET, List.copyOf(arguments))));
    }

    void iommu() {
        long container = values.rarely(16) ? fds.anyVfio() : fds.pick(Kind.CONTAINER);
        draft.step(
                values.rarely(2)
                        ? call(Operation.VFIO_EXTENSION, container, values.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, -1))
                        : call(Operation.IOMMU_INFO, container, values.of(0, 15, 16, 23, 24, 64, 256)));
    }
}
