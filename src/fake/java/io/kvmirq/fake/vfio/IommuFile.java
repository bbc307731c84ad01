/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.IommufdAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.LongPredicate;
import java.util.stream.Stream;

/** /dev/iommu, an iommufd, with address spaces and bound devices. Source: drivers/iommu/iommufd/main.c, device.c. */
final class IommuFile extends FakeFile {
    private final LongPredicate mayPin;
    private final NavigableMap<Integer, IommuObject> objects = new TreeMap<>();

    /** @param mayPin whether an IOMMU driver may pin this many more bytes */
    IommuFile(KernelOfFile host, LongPredicate mayPin) {
        super(host);
        this.mayPin = mayPin;
    }

    @Override
    public int ioctl(long request, long argument) {
        return IommuRequests.answer(this, request, argument);
    }

    KernelOfFile host() {
        return host;
    }

    // Objects

    AddressSpace newSpace() {
        return new AddressSpace(host, mayPin);
    }

    /** Adds an object. Returns its id, the lowest free one from 1. */
    int add(IommuObject object) {
        int id = 1;
        while (objects.containsKey(id)) {
            id++;
        }
        objects.put(id, object);
        return id;
    }

    int id(IommuObject object) {
        return objects.entrySet().stream()
                .filter(entry -> entry.getValue() == object)
                .map(Map.Entry::getKey)
                .findFirst()
                .orElseThrow();
    }

    Optional<AddressSpace> space(int id) {
        return objects.get(id) instanceof AddressSpace space ? Optional.of(space) : Optional.empty();
    }

    int destroy(int id) {
        IommuObject object = objects.get(id);
        if (object == null) {
            return host.refuse(IommufdAnswer.IOMMUFD_NO_OBJECT);
        }
        if (object.isUsed()) {
            return host.refuse(IommufdAnswer.IOMMUFD_OBJECT_USED);
        }
        objects.remove(id);
        return 0;
    }

    // Devices

    boolean hasGroup(VfioGroup group) {
        return devices(group).findAny().isPresent();
    }

    private Stream<BoundDevice> devices(VfioGroup group) {
        return objects.values().stream()
                .filter(BoundDevice.class::isInstance)
                .map(BoundDevice.class::cast)
                .filter(bound -> bound.device().group() == group);
    }

    /** The rule that refuses to bind a device: a host driver or another iommufd owns its group. */
    Optional<Answer> refuses(FakeVfioDevice device) {
        return device.group().isViable() && device.group().mayOwn(this)
                ? Optional.empty()
                : Optional.of(IommufdAnswer.IOMMUFD_BIND_OWNER);
    }

    /** Binds a device, which holds this file open until {@link #unbind}. */
    BoundDevice bind(FakeVfioDevice device) {
        addReference();
        device.group().own(this);
        BoundDevice bound = new BoundDevice(this, device);
        add(bound);
        return bound;
    }

    void unbind(BoundDevice bound) {
        detach(bound);
        objects.values().remove(bound);
        bound.device().group().disown();
        closed();
    }

    /** Attaches a device to an address space. Devices of a group share a page table. */
    int attach(BoundDevice bound, int id) {
        IommuObject object = objects.get(id);
        if (object == null) {
            return host.refuse(IommufdAnswer.IOMMUFD_NO_OBJECT);
        }
        if (object instanceof PageTable
                || object instanceof AddressSpace
                        && bound.table() != null
                        && bound.table().space() != object) {
            throw new NotModelledException("attaching a device to a page table, or to another address space");
        }
        return object instanceof AddressSpace space && mayAttach(bound, space)
                ? attach(bound, space)
                : host.refuse(IommufdAnswer.IOMMUFD_ATTACH_INCOMPATIBLE);
    }

    private boolean mayAttach(BoundDevice bound, AddressSpace space) {
        return devices(bound.device().group())
                .map(BoundDevice::table)
                .filter(Objects::nonNull)
                .allMatch(table -> table.space() == space);
    }

    private int attach(BoundDevice bound, AddressSpace space) {
        if (bound.table() != null) {
            return 0;
        }
        Optional<PageTable> made = space.table();
        Optional<Answer> refused = made.isPresent() ? Optional.empty() : space.refusesDevice();
        if (refused.isPresent()) {
            return host.refuse(refused);
        }
        PageTable table = made.orElseGet(() -> new PageTable(space));
        if (made.isEmpty()) {
            add(table);
        }
        table.use();
        bound.setTable(table);
        return 0;
    }

    /** Detaches a device. A page table without devices is destroyed. */
    void detach(BoundDevice bound) {
        PageTable from = bound.table();
        bound.setTable(null);
        if (from != null) {
            from.unuse();
            if (!from.isUsed()) {
                objects.values().remove(from);
                from.space().setTable(null);
            }
        }
    }
}
