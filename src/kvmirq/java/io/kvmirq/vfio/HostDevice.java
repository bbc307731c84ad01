/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.KernelCall;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** A host device in sysfs, with its VFIO files and the reasons why VFIO cannot open it. */
final class HostDevice {
    /** Drivers besides VFIO's that leave their devices' DMA to the user. */
    private static final Set<String> LEAVE_DMA_TO_THE_USER = Set.of("pci-stub", "pcieport");

    private static final String GROUPS = "sys/kernel/iommu_groups/";

    private final Supplier<HostFiles> host;
    private final DeviceName name;
    /** Null until first needed. */
    private @Nullable HostFiles files;

    HostDevice(Supplier<HostFiles> host, DeviceName name) {
        this.host = host;
        this.name = name;
    }

    DeviceName name() {
        return name;
    }

    private HostFiles files() {
        HostFiles known = files == null ? host.get() : files;
        files = known;
        return known;
    }

    /** Whether a driver belongs to VFIO, see {@link VfioGroup#isDriver}. */
    static boolean isDriver(String driver) {
        Objects.requireNonNull(driver, "driver is null");
        return driver.replace('_', '-').contains("vfio-");
    }

    /** Whether a driver blocks the group, see {@link VfioGroup#isBlockedBy}. */
    static boolean isBlockedBy(String driver) {
        return !isDriver(driver) && !LEAVE_DMA_TO_THE_USER.contains(driver);
    }

    private String path() {
        return directory() + "/" + name;
    }

    private String directory() {
        return "sys/bus/" + name.busName() + "/devices";
    }

    /** @throws KernelException ENODEV if the device does not exist or has no IOMMU */
    int group() {
        return groupIfAny()
                .orElseThrow(() -> new KernelException(
                        KernelCall.VFIO_GROUP.label(),
                        name.toString(),
                        Errno.ENODEV,
                        isThere() ? noIommu("this device") : gone()));
    }

    private Optional<Integer> groupIfAny() {
        return files().linkName(path() + "/iommu_group").map(Integer::valueOf);
    }

    private boolean isThere() {
        return files().list(directory()).contains(name.toString());
    }

    private static String noIommu(String device) {
        return "no IOMMU serves " + device
                + ": enable VT-d, AMD-Vi or the SMMU in firmware, and boot Intel machines with" + " intel_iommu=on";
    }

    private String gone() {
        return "/" + directory() + " has no such device: it was removed, or belongs to another machine";
    }

    /**
     * The name of the device's own file in {@code /dev/vfio/devices}. Empty if the kernel has none, or no VFIO driver
     * is bound.
     */
    Optional<String> deviceFile() {
        return files().list(path() + "/vfio-dev").stream()
                .filter(file -> file.startsWith("vfio"))
                .findFirst();
    }

    // Facts from sysfs for an error's text. Absent facts are omitted. Never throws.

    /** The reason why a device file is absent. */
    Optional<String> notThere(String file) {
        return notBound().or(() -> driver().map(driver -> {
            Optional<String> without =
                    groupIfAny().map(group -> "noiommu-" + group).filter(files().list("sys/class/vfio")::contains);
            return without.map(node -> noIommu(name + ", whose group is /dev/vfio/" + node))
                    .orElse(driver + " has " + name + ", but " + file
                            + " is not here: pass it into this container, with /dev/vfio/vfio");
        }));
    }

    private Optional<String> driver(String member) {
        return files().linkName("sys/bus/pci/devices/" + member + "/driver")
                .or(() -> files().linkName("sys/bus/platform/devices/" + member + "/driver"));
    }

    private Optional<String> driver() {
        return files().linkName(path() + "/driver");
    }

    /** The reason why no VFIO driver is bound to the device. Empty if one is, or sysfs cannot be read. */
    Optional<String> notBound() {
        Optional<String> driver = driver();
        if (driver.filter(HostDevice::isDriver).isPresent()
                || files().list(directory()).isEmpty()) {
            return Optional.empty();
        }
        if (!isThere()) {
            return Optional.of(gone());
        }
        String wanted = "bind it to vfio-" + name.busName();
        return Optional.of(driver.map(bound -> name + " is bound to the driver " + bound + ": " + wanted + " first")
                .orElse("no driver is bound to " + name + ": " + wanted + " first"));
    }

    /** Why no user can open a device in the group, or {@code unseen} if no host driver is bound to any of them. */
    Optional<String> notPermitted(Answer... unseen) {
        return groupIfAny().flatMap(group -> notPermitted(group, unseen));
    }

    private Optional<String> notPermitted(int group, Answer... unseen) {
        String directory = GROUPS + group + "/devices";
        List<String> members = files().list(directory);
        String others = members.stream()
                .flatMap(member ->
                        driver(member).stream().filter(HostDevice::isBlockedBy).map(driver -> member + " to " + driver))
                .collect(Collectors.joining(", "));
        if (members.isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(
                others.isEmpty()
                        ? Arrays.stream(unseen).map(Answer::text).collect(Collectors.joining(", or "))
                        : "host drivers have devices of the same group, " + group + ": " + others
                                + "; bind each one to vfio-" + name.busName() + " or to no driver");
    }
}
