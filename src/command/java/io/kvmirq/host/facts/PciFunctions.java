/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.vfio.VfioGroup;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The PCI functions of a host, as sysfs shows them.
 *
 * <p>Source: Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups and sysfs-class-iommu in Linux.
 */
final class PciFunctions {
    private static final String DEVICES = "sys/bus/pci/devices";
    private static final String GROUPS = "sys/kernel/iommu_groups/";
    private static final int VECTOR_BITS = 11;
    private static final Pattern NUMBER = Pattern.compile("\\d{1,9}");

    private final HostFiles tree;
    private final Predicate<PciAddress> armed;
    /** The group that lists each function. Read for the first function without a link. */
    private volatile @Nullable Map<String, String> groups;

    /** @param armed whether VFIO has armed an interrupt of a function */
    PciFunctions(HostFiles tree, Predicate<PciAddress> armed) {
        this.tree = tree;
        this.armed = armed;
    }

    /** The PCI functions that a driver of VFIO is bound to, in order. */
    List<PciAddress> boundToVfio() {
        List<PciAddress> bound = new ArrayList<>();
        boolean found = false;
        for (String name : tree.list(DEVICES)) {
            Optional<String> driver = tree.linkName(DEVICES + "/" + name + "/driver");
            found |= isVfio(driver)
                    || driver.isEmpty()
                            && PciDevice.addressOf(name).filter(armed).isPresent();
        }
        for (PciAddress address : found ? addresses() : List.<PciAddress>of()) {
            Optional<String> driver = tree.linkName(DEVICES + "/" + address + "/driver");
            if (isVfio(driver) || driver.isEmpty() && armed.test(address)) {
                bound.add(address);
            }
        }
        return bound;
    }

    private static boolean isVfio(Optional<String> driver) {
        // Most functions are not bound to VFIO, so the class of groups is not loaded.
        return driver.isPresent() && driver.get().contains("vfio") && VfioGroup.isDriver(driver.get());
    }

    /** The PCI functions that have a file of their own in {@code /dev/vfio/devices}, by its name, such as {@code vfio0}. */
    Map<String, PciAddress> cdevs() {
        Map<String, PciAddress> cdevs = new HashMap<>();
        for (PciAddress address : addresses()) {
            cdev(DEVICES + "/" + address + "/vfio-dev").ifPresent(name -> cdevs.put(name, address));
        }
        return cdevs;
    }

    /** The addresses of all PCI functions, in order. */
    List<PciAddress> addresses() {
        List<PciAddress> addresses = new ArrayList<>();
        for (String name : tree.list(DEVICES)) {
            Optional<PciAddress> address = PciDevice.addressOf(name);
            if (address.isPresent()) {
                addresses.add(address.get());
            }
        }
        addresses.sort(null);
        return addresses;
    }

    /** A PCI function. Empty if the host has none with this address. */
    Optional<PciDevice> of(PciAddress address) {
        String path = DEVICES + "/" + address + "/";
        Optional<Integer> vendor = hex(path + "vendor");
        if (vendor.isEmpty()) {
            return Optional.empty();
        }
        Optional<String> driver = tree.linkName(path + "driver");
        OptionalInt group = number(tree.linkName(path + "iommu_group"));
        if (group.isEmpty()) {
            group = ofGroups(address);
        }
        return Optional.of(new PciDevice(
                address,
                vendor.get(),
                hex(path + "device").orElse(0),
                hex(path + "class").orElse(0),
                driver,
                driver.isEmpty() && armed.test(address),
                // The kernel's text for a null pointer.
                tree.text(path + "driver_override").filter(text -> !text.isEmpty() && !text.equals("(null)")),
                group,
                group.isEmpty() ? List.of() : others(group.getAsInt(), address),
                cdev(path + "vfio-dev"),
                config(path),
                tree.text(path + "irq")
                        .filter(text -> text.matches("\\d{1,10}"))
                        .map(Long::parseLong)
                        .orElse(0L),
                tree.list(path + "msi_irqs").stream()
                        .flatMap(name -> number(Optional.of(name)).stream().boxed())
                        .sorted()
                        .map(HostIrq::new)
                        .toList(),
                tree.link(path + "physfn").isPresent(),
                words(tree.text(path + "reset_method")),
                number(tree.text(path + "numa_node"))));
    }

    /**
     * Not read in D3cold, because a read would wake the device ({@code pci_config_pm_runtime_get()} in
     * drivers/pci/pci.c).
     */
    private PciCapabilities config(String path) {
        Optional<String> power = tree.text(path + "power_state").or(() -> tree.text(path + "power/runtime_status"));
        boolean sleeps = power.filter(state -> state.equals("D3cold") || state.equals("suspended"))
                .isPresent();
        return PciCapabilities.parse(
                sleeps
                        ? new byte[0]
                        : tree.bytes(path + "config", PciCapabilities.BYTES).orElse(new byte[0]));
    }

    /** Since 6.1 sysfs names the device of VFIO. It has a number only if it has a file. */
    private Optional<String> cdev(String path) {
        return tree.list(path).stream()
                .filter(name -> tree.text(path + "/" + name + "/dev").isPresent())
                .findFirst();
    }

    /** The group that lists a function, whose own link may be missing in a copy. */
    private OptionalInt ofGroups(PciAddress address) {
        Map<String, String> all = groups;
        if (all == null) {
            all = new HashMap<>();
            for (String group : tree.list("sys/kernel/iommu_groups")) {
                for (String name : tree.list(GROUPS + group + "/devices")) {
                    all.putIfAbsent(name, group);
                }
            }
            groups = all;
        }
        return number(Optional.ofNullable(all.get(address.toString())));
    }

    private List<PciDevice.Member> others(int group, PciAddress address) {
        return tree.list(GROUPS + group + "/devices").stream()
                .filter(name -> !name.equals(address.toString()))
                .map(this::member)
                .toList();
    }

    private PciDevice.Member member(String name) {
        String pci = DEVICES + "/" + name + "/";
        Optional<String> driver =
                tree.linkName(pci + "driver").or(() -> tree.linkName("sys/bus/platform/devices/" + name + "/driver"));
        return new PciDevice.Member(name, driver);
    }

    private Optional<Integer> hex(String path) {
        return tree.text(path).filter(text -> text.matches("0x[0-9a-f]{1,7}")).map(text -> Integer.decode(text));
    }

    /** A number of 0 or more. */
    private static OptionalInt number(Optional<String> text) {
        return text.filter(digits -> NUMBER.matcher(digits).matches())
                .map(digits -> OptionalInt.of(Integer.parseInt(digits)))
                .orElseGet(OptionalInt::empty);
    }

    /**
     * The vector of a host irq; empty if sysfs does not show it. Source: {@code hwirq_show()}, {@code
     * pci_msi_domain_calc_hwirq()}; where each device has a domain, the chip has the device's name.
     */
    OptionalInt vector(HostIrq irq, PciAddress device) {
        String path = "sys/kernel/irq/" + irq.number() + "/";
        String chip = tree.text(path + "chip_name").orElse("");
        OptionalInt shown = number(tree.text(path + "hwirq"));
        if (shown.isEmpty() || !chip.contains("PCI-MSI")) {
            return OptionalInt.empty();
        }
        if (chip.endsWith("-" + device)) {
            return shown;
        }
        int number = shown.getAsInt();
        return device.domain() == 0 && number >> VECTOR_BITS == device.requesterId()
                ? OptionalInt.of(number & (1 << VECTOR_BITS) - 1)
                : OptionalInt.empty();
    }

    /** The IOMMU that serves a function, such as {@code dmar0}: {@code iommu_device_link()} in drivers/iommu. */
    Optional<String> iommu(PciAddress device) {
        return tree.linkName(DEVICES + "/" + device + "/iommu");
    }

    static List<String> words(Optional<String> text) {
        return text.stream()
                .flatMap(line -> Pattern.compile("\\s+").splitAsStream(line))
                .filter(word -> !word.isEmpty())
                .toList();
    }
}
