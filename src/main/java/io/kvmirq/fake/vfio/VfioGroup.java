/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** An IOMMU group; source: {@code struct vfio_group} in drivers/vfio/vfio.h. */
final class VfioGroup {
    private final int number;
    private final List<VfioDevice> devices = new ArrayList<>();
    private final List<PciFunction> ofHost = new ArrayList<>();
    private @Nullable ContainerFile container;
    private boolean open;
    /** Open files of its devices. */
    private int users;

    VfioGroup(int number) {
        this.number = number;
    }

    int number() {
        return number;
    }

    /** The devices that a bus driver of VFIO is bound to. */
    List<VfioDevice> devices() {
        return devices;
    }

    /** The devices that a driver of the host is bound to. */
    List<PciFunction> ofHost() {
        return ofHost;
    }

    Optional<VfioDevice> find(String name) {
        return devices.stream().filter(device -> device.name().equals(name)).findFirst();
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
        to.groups().add(this);
    }

    void detach() {
        if (container != null) {
            container.leave(this);
            container = null;
        }
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
