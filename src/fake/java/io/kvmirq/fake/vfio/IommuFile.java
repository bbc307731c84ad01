/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.IommufdAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.LongPredicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** /dev/iommu, an iommufd, with address spaces and bound devices. Source: drivers/iommu/iommufd/main.c, device.c. */
final class IommuFile extends FakeFile {
    private final LongPredicate mayPin;
    private final NavigableMap<Integer, IommuObject> objects = new TreeMap<>();

    /** @param mayPin whether an IOMMU driver may pin this many more bytes */
    IommuFile(Host host, LongPredicate mayPin) {
        super(host);
        this.mayPin = mayPin;
    }

    @Override
    public int ioctl(long request, long argument) {
        return IommuRequests.answer(this, request, argument);
    }

    Host host() {
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
        remove(object);
        return 0;
    }

    private void remove(IommuObject object) {
        objects.values().remove(object);
        if (object instanceof PageTable table) {
            table.space().remove(table);
        }
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
    Optional<Answer> refuses(VfioDevice device) {
        return device.group().isViable() && device.group().mayOwn(this)
                ? Optional.empty()
                : Optional.of(IommufdAnswer.IOMMUFD_BIND_OWNER);
    }

    /** Binds a device, which holds this file open until {@link #unbind}. */
    BoundDevice bind(VfioDevice device) {
        opened();
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

    /** Attaches a device to an address space or a page table, or moves its whole group there. */
    int attach(BoundDevice bound, int id) {
        IommuObject object = objects.get(id);
        if (object == null) {
            return host.refuse(IommufdAnswer.IOMMUFD_NO_OBJECT);
        }
        if (object instanceof PageTable table) {
            return attach(bound, table);
        }
        return object instanceof AddressSpace space
                ? attach(bound, space)
                : host.refuse(IommufdAnswer.IOMMUFD_ATTACH_INCOMPATIBLE);
    }

    private int attach(BoundDevice bound, AddressSpace space) {
        if (!space.tables().isEmpty() && mayAttach(bound, space.tables().get(0))) {
            return attach(bound, space.tables().get(0));
        }
        PageTable table = new PageTable(space);
        add(table);
        int result = attach(bound, table);
        if (result < 0) {
            remove(table);
        }
        return result;
    }

    /** Whether a device may be attached. Devices of a group share a page table; an attached device moves its group. */
    private boolean mayAttach(BoundDevice bound, PageTable table) {
        return bound.table() != null
                || devices(bound.device().group())
                        .map(BoundDevice::table)
                        .filter(Objects::nonNull)
                        .allMatch(one -> one == table);
    }

    private int attach(BoundDevice bound, PageTable table) {
        if (!mayAttach(bound, table)) {
            return host.refuse(IommufdAnswer.IOMMUFD_ATTACH_INCOMPATIBLE);
        }
        Optional<Answer> refused =
                table.isUsed() ? Optional.empty() : table.space().refusesDevice();
        if (refused.isPresent()) {
            return host.refuse(refused);
        }
        if (bound.table() == null) {
            move(bound, table);
        } else {
            List<BoundDevice> moved = devices(bound.device().group())
                    .filter(one -> one.table() != null)
                    .toList();
            moved.forEach(one -> move(one, table));
        }
        return 0;
    }

    void detach(BoundDevice bound) {
        move(bound, null);
    }

    /** Moves a device to another page table. A page table without devices is destroyed. */
    private void move(BoundDevice bound, @Nullable PageTable to) {
        PageTable from = bound.table();
        if (to != null) {
            to.use();
        }
        bound.setTable(to);
        if (from != null) {
            from.unuse();
            if (!from.isUsed()) {
                remove(from);
            }
        }
    }
}
