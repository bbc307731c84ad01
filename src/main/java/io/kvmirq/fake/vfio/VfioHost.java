/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.rules.FileRule;
import io.kvmirq.fake.rules.VfioRule;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The PCI devices of a host, and the files of VFIO. Without a device there is no such file. */
public final class VfioHost {
    private static final String DIRECTORY = "/dev/vfio/";

    private final Host host;
    private final HostVectors vectors = new HostVectors();
    private final List<VfioGroup> groups = new ArrayList<>();

    /** A host without PCI devices. */
    public VfioHost(Host host) {
        this.host = host;
    }

    /**
     * Adds a device that vfio-pci is bound to.
     *
     * @throws IllegalArgumentException if a device has the address already
     */
    public VfioPci add(PciFunction function) {
        checkNew(function.address());
        VfioGroup group = group(function.group());
        VfioPci device = new VfioPci(host, function, vectors);
        group.devices().add(device);
        return device;
    }

    /**
     * Adds a device that a driver of the host is bound to. Its group is not viable.
     *
     * @throws IllegalArgumentException if a device has the address already
     */
    public void addToHost(PciFunction function) {
        checkNew(function.address());
        group(function.group()).ofHost().add(function);
    }

    private void checkNew(String address) {
        if (groups.stream().anyMatch(group -> group.has(address))) {
            throw new IllegalArgumentException("a device has the address " + address + " already: use another one");
        }
    }

    private VfioGroup group(int number) {
        for (VfioGroup group : groups) {
            if (group.number() == number) {
                return group;
            }
        }
        VfioGroup added = new VfioGroup(number);
        groups.add(added);
        return added;
    }

    /** The symbolic links of sysfs that name devices, groups and drivers: path and target. */
    public Map<String, String> links() {
        Map<String, String> links = new TreeMap<>();
        for (VfioGroup group : groups) {
            for (VfioPci device : group.devices()) {
                addLinks(links, group, device.function().address(), "vfio-pci");
            }
            for (PciFunction function : group.ofHost()) {
                addLinks(links, group, function.address(), "driver-of-host");
            }
        }
        return links;
    }

    private static void addLinks(Map<String, String> links, VfioGroup group, String address, String driver) {
        String device = "/sys/bus/pci/devices/" + address;
        String member = "/sys/kernel/iommu_groups/" + group.number() + "/devices/" + address;
        links.put(device + "/iommu_group", Integer.toString(group.number()));
        links.put(device + "/driver", driver);
        links.put(member + "/driver", driver);
    }

    /** Sets how many vectors MSI and MSI-X may still allocate on the host. */
    public void limitVectors(int free) {
        vectors.setFree(free);
    }

    /** Adds the files of all devices. */
    public void show(DeviceFiles files) {
        for (VfioGroup group : groups) {
            group.devices().forEach(device -> files.add(device.function()));
            group.ofHost().forEach(files::add);
        }
    }

    /** Opens a path below /dev/vfio. Returns a descriptor or a negative errno. */
    public int open(String path) {
        for (VfioGroup group : groups) {
            if (!group.devices().isEmpty()) {
                if (path.equals(DIRECTORY + "vfio")) {
                    return host.install(new ContainerFile(host));
                }
                if (path.equals(DIRECTORY + group.number())) {
                    return open(group);
                }
            }
        }
        return host.refuse(FileRule.NO_SUCH_FILE);
    }

    /** The descriptor comes first, as in {@code do_sys_openat2()}. */
    private int open(VfioGroup group) {
        if (host.isFull()) {
            return host.refuse(FileRule.FD_TABLE_FULL);
        }
        return group.isOpen() ? host.refuse(VfioRule.VFIO_GROUP_BUSY) : host.install(new GroupFile(host, group));
    }
}
