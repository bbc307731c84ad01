/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.Region;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * A BAR of a device. The guest accesses its mappable pages as memory, except those of the MSI-X table and the PBA. Not
 * thread-safe.
 */
final class Bar implements AutoCloseable {
    private static final int PORTS = 1;
    private static final int IS_64 = 1 << 2;
    private static final long PAGE = 4096;
    private static final long LOW = 0xffff_ffffL;

    private record Part(long at, Mapping.Owner memory) {}

    private final Vm vm;
    private final int index;
    private final Registers region;
    private final int flags;
    private final List<Part> parts = new ArrayList<>();
    private final Undo mappings = new Undo();
    private final List<GuestMemory> slots = new CopyOnWriteArrayList<>();

    /** @param flags the low bits of the register, which hold the kind of BAR */
    Bar(Vm vm, int index, Registers region, int flags) {
        this.vm = vm;
        this.index = index;
        this.region = region;
        this.flags = (flags & PORTS) != 0 ? flags & 3 : flags & 0xf;
    }

    /** Whether a BAR itself, not one that overlaps it, answers at each address of a range in it. */
    interface Answers {
        boolean at(long from, long length);
    }

    /** The registers behind a BAR. */
    interface Registers {
        /** The size in bytes: a power of two. */
        long size();

        /** The parts that {@link #map} can map. */
        default List<Region.Area> mappable() {
            return List.of();
        }

        default Mapping.Owner map(long at, long length) {
            throw new UnsupportedOperationException("registers without memory");
        }

        long read(long at, int size);

        void write(long at, int size, long value);

        /** Called when the guest reaches the BAR at this address, except the parts that {@code answers} rejects. */
        default void shown(long address, Answers answers) {}

        /** Called when the guest no longer reaches the BAR. Does not throw. */
        default void hidden() {}

        static Registers of(Region region) {
            return new Registers() {
                @Override
                public long size() {
                    return region.size();
                }

                @Override
                public List<Region.Area> mappable() {
                    return region.mappable();
                }

                @Override
                public Mapping.Owner map(long at, long length) {
                    return region.map(at, length);
                }

                @Override
                public long read(long at, int size) {
                    return region.read(at, size);
                }

                @Override
                public void write(long at, int size, long value) {
                    region.write(at, size, value);
                }
            };
        }
    }

    /** Maps the mappable parts into this process, except those that the VMM emulates. */
    void map(List<Region.Area> trapped) {
        for (Region.Area area : isPorts() ? List.<Region.Area>of() : region.mappable()) {
            long end = area.at() + area.length() & -PAGE;
            long from = area.at() + PAGE - 1 & -PAGE;
            while (from < end) {
                long at = from;
                long next = trapped.stream()
                        .filter(part -> part.at() + part.length() > at)
                        .mapToLong(part -> part.at() & -PAGE)
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

    Vm vm() {
        return vm;
    }

    /** The parts that the guest currently accesses without an exit. Needs no lock. */
    List<GuestMemory> mapped() {
        return slots;
    }

    /** The register's value for an address. */
    long register(long address) {
        return address & -size() | flags;
    }

    /** The bits of the register that the guest can write. The other bits encode the size. */
    long writable() {
        return is64() ? -size() : -size() & LOW;
    }

    /** The address in a value of the register. */
    long address(long register) {
        return register & writable();
    }

    /** Adds the mapped parts to guest memory where the BAR answers. */
    void show(long address, Answers answers) {
        try (Undo undo = new Undo()) {
            undo.add(this::hide);
            for (Part part : address % PAGE == 0 ? parts : List.<Part>of()) {
                Mapping mapping = part.memory.mapping();
                if (answers.at(address + part.at, mapping.length())) {
                    slots.add(vm.addMemory(address + part.at, mapping));
                }
            }
            region.shown(address, answers);
            undo.keep();
        }
    }

    /** Removes the mapped parts from guest memory, so that each access exits to the VMM. */
    void hide() {
        region.hidden();
        slots.forEach(GuestMemory::close);
        slots.clear();
    }

    /** The size of the largest naturally aligned access at an offset. */
    private static int step(long at, int size) {
        int step = Long.BYTES;
        while (step > size || at % step != 0) {
            step /= 2;
        }
        return step;
    }

    /** Reads the device, in one access if size and alignment allow it. */
    long read(long at, int size) {
        long value = 0;
        int step;
        for (int done = 0; done < size; done += step) {
            step = step(at + done, size - done);
            value |= (region.read(at + done, step) & -1L >>> -Byte.SIZE * step) << Byte.SIZE * done;
        }
        return value;
    }

    void write(long at, int size, long value) {
        int step;
        for (int done = 0; done < size; done += step) {
            step = step(at + done, size - done);
            region.write(at + done, step, value >>> Byte.SIZE * done & -1L >>> -Byte.SIZE * step);
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
