/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.Region;
import java.util.ArrayList;
import java.util.List;

/**
 * A BAR of a device, and what of it the guest has as memory: all that can be mapped, except the pages of the MSI-X table
 * and of the PBA. Not thread-safe.
 */
final class Bar implements AutoCloseable {
    private static final int PORTS = 1;
    private static final int IS_64 = 1 << 2;
    private static final long PAGE = 4096;
    private static final long LOW = 0xffff_ffffL;

    private record Part(long at, Mapping.Owner memory) {}

    private final Vm vm;
    private final int index;
    private final Region region;
    private final int flags;
    private final List<Part> parts = new ArrayList<>();
    private final Undo mappings = new Undo();
    private final List<GuestMemory> slots = new ArrayList<>();

    /** @param flags the low bits of the register, which say what kind of BAR it is */
    Bar(Vm vm, int index, Region region, int flags) {
        this.vm = vm;
        this.index = index;
        this.region = region;
        this.flags = (flags & PORTS) != 0 ? flags & 3 : flags & 0xf;
    }

    /** Maps what can be mapped into this process, except for what the VMM emulates. */
    void map(List<Region.Area> trapped) {
        for (Region.Area area : isPorts() ? List.<Region.Area>of() : region.mappable()) {
            long end = area.at() + area.length() & -PAGE;
            long from = area.at() + PAGE - 1 & -PAGE;
            while (from < end) {
                long at = from;
                long next = trapped.stream()
                        .filter(one -> one.at() + one.length() > at)
                        .mapToLong(one -> one.at() & -PAGE)
                        .min()
                        .orElse(end);
                long until = Math.min(end, Math.max(at, next));
                if (until > at) {
                    parts.add(new Part(at, mappings.add(region.map(at, until - at))));
                    from = until;
                } else {
                    from += PAGE;
                }
            }
        }
    }

    int index() {
        return index;
    }

    long size() {
        return region.size();
    }

    boolean isPorts() {
        return (flags & PORTS) != 0;
    }

    boolean is64() {
        return !isPorts() && (flags & IS_64) != 0;
    }

    /** The register's value for an address. */
    long register(long address) {
        return address & -size() | flags;
    }

    /** The bits of the register that the guest can write: the others say the size. */
    long writable() {
        return is64() ? -size() : -size() & LOW;
    }

    /** The address that a value of the register means. */
    long address(long register) {
        return register & writable();
    }

    /** Gives the guest what is mapped, at this address of the BAR. */
    void show(long address) {
        try (Undo undo = new Undo()) {
            undo.add(this::hide);
            for (Part part : address % PAGE == 0 ? parts : List.<Part>of()) {
                slots.add(vm.addMemory(address + part.at, part.memory.mapping()));
            }
            undo.keep();
        }
    }

    /** Takes it from the guest: each access reaches the VMM, or nothing. */
    void hide() {
        slots.forEach(GuestMemory::close);
        slots.clear();
    }

    /** The largest access of the device at an offset. */
    private static int step(long at, int size) {
        int step = Long.BYTES;
        while (step > size || at % step != 0) {
            step /= 2;
        }
        return step;
    }

    /** Reads the device: in one access, if size and alignment allow. */
    long read(long at, int size) {
        long value = 0;
        int step;
        for (int done = 0; done < size; done += step) {
            step = step(at + done, size - done);
            value |= region.read(at + done, step) << Byte.SIZE * done;
        }
        return value;
    }

    void write(long at, int size, long value) {
        int step;
        for (int done = 0; done < size; done += step) {
            step = step(at + done, size - done);
            region.write(at + done, step, value >>> Byte.SIZE * done);
        }
    }

    @Override
    public void close() {
        hide();
        mappings.close();
    }

    @Override
    public String toString() {
        return "BAR " + index;
    }
}
