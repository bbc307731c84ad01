/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** An IOMMU group; source: {@code struct vfio_group} in drivers/vfio/vfio.h. */
final class VfioGroup {
    private final int number;
    private final List<FakeVfioDevice> devices = new ArrayList<>();
    private final List<PciFunction> ofHost = new ArrayList<>();
    private @Nullable ContainerFile container;
    /** The iommufd to which devices of the group are bound; null for none. */
    private @Nullable IommuFile owner;
    /** The number of devices that are bound to {@link #owner}. */
    private int bound;
    /** The number of devices that are bound through their own files. */
    private int cdevs;

    private boolean removed;
    private boolean open;
    /** The number of open files of the group's devices. */
    private int users;

    VfioGroup(int number) {
        this.number = number;
    }

    int number() {
        return number;
    }

    /** The devices that are bound to a bus driver of VFIO. */
    List<FakeVfioDevice> devices() {
        return devices;
    }

    /** The devices that are bound to a host driver. */
    List<PciFunction> ofHost() {
        return ofHost;
    }

    /** Removes a device. With the last device the group loses its container. */
    void remove(FakeVfioDevice device) {
        devices.remove(device);
        removed = true;
        if (devices.isEmpty()) {
            detach();
        }
    }

    Optional<FakeVfioDevice> find(String name) {
        return devices.stream().filter(device -> device.name().equals(name)).findFirst();
    }

    /** Whether all devices were removed, and no host driver has one. */
    boolean isGone() {
        return removed && devices.isEmpty() && ofHost.isEmpty();
    }

    boolean isOpen() {
        return open;
    }

    void setOpen(boolean on) {
        open = on;
    }

    boolean isViable() {
        return ofHost.isEmpty();
    }

    @Nullable
    ContainerFile container() {
        return container;
    }

    void attach(ContainerFile to) {
        container = to;
        to.join();
    }

    void detach() {
        if (container != null) {
            container.leave();
            container = null;
        }
    }

    /** Whether VFIO_GROUP_SET_CONTAINER succeeded. */
    boolean hasIommu() {
        return container != null;
    }

    /** Whether devices of the group may be bound to an iommufd. */
    boolean mayOwn(IommuFile file) {
        return bound == 0 || owner == file;
    }

    void own(IommuFile file) {
        owner = file;
        bound++;
    }

    void disown() {
        bound--;
    }

    boolean hasCdev() {
        return cdevs > 0;
    }

    void addCdev() {
        cdevs++;
    }

    void removeCdev() {
        cdevs--;
    }

    boolean isUsed() {
        return users > 0;
    }

    void use() {
        users++;
    }

    void unuse() {
        users--;
    }
}
