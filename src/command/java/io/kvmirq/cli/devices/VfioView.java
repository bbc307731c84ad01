/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.diag.rules.DeviceRules;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Link;
import io.kvmirq.vfio.VfioGroup;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/** A device as {@code kvmirq vfio} shows it: VFIO's interrupts or refusals, its own flaws, and the host's uses of it. */
record VfioView(
        PciDevice device, VfioOutlook outlook, Link link, List<HostInterrupts.ArmedVector> armed, List<String> uses) {
    private static final Set<VfioOutlook.Obstacle> IN_VAIN =
            EnumSet.of(VfioOutlook.Obstacle.BRIDGE, VfioOutlook.Obstacle.NO_IOMMU, VfioOutlook.Obstacle.NO_GROUP);

    private static final Pattern WORD = Pattern.compile("[A-Za-z_][A-Za-z0-9_-]*");

    static VfioView of(HostFacts host, PciDevice device) {
        return new VfioView(
                device,
                VfioOutlook.of(host, device),
                DeviceRules.link(host, device),
                host.interrupts().map(all -> all.armed(device.address())).orElse(List.of()),
                host.uses(device.address()));
    }

    /** The address ranges above 4 GiB that the group keeps from guests, the first ones. Below, VMMs know them. */
    List<String> reserved(HostFacts host) {
        return device.group().stream()
                .mapToObj(group -> host.files().text("sys/kernel/iommu_groups/" + group + "/reserved_regions"))
                .flatMap(text -> text.orElse("").lines())
                .filter(line -> line.matches("0x(?!0{8})[0-9a-f]{16} 0x[0-9a-f]{16} reserved"))
                .limit(4)
                .map(line -> line.substring(0, line.lastIndexOf(' ')).replace(" ", " to "))
                .toList();
    }

    /** Writes it as members of a document. Values that the host does not show are null. */
    void write(HostFacts host, Json json) {
        json.value("address", device.address())
                .text("vendor", Hex.padded(device.vendor(), 16))
                .text("device", Hex.padded(device.device(), 16))
                .text("class", Hex.padded(device.classCode(), 24))
                .text("driver", device.driver())
                .text("driverOverride", device.override())
                .number("group", device.group())
                .objects("groupOthers", device.others(), (one, other) -> one.text("name", other.name())
                        .text("driver", other.driver())
                        .flag("blocks", other.blocks()))
                .text("cdev", device.cdev())
                .texts("resets", device.resets())
                .number("numaNode", device.numaNode())
                .value("irqs", outlook.irqs())
                .value("armed", armed)
                .value("allocatedHostIrqs", device.messageIrqs())
                .texts("uses", uses)
                .flag("usable", isUsable())
                .value("link", link)
                .value("refusals", outlook.refusals())
                .texts("bind", bind(host))
                .texts("giveBack", giveBack(host));
    }

    /** Whether VFIO takes it, and no rule finds that it sends no interrupt. */
    boolean isUsable() {
        return outlook.refusals().isEmpty() && link.state() != Link.State.BROKEN;
    }

    /** Whether it is in order because a guest has it, and so no other process gets it. */
    boolean isWithGuest(HostFacts host) {
        return link.state() != Link.State.BROKEN
                && !outlook.refusals().isEmpty()
                && !host.holders(device).isEmpty()
                && outlook.refusals().stream().allMatch(one -> one.cause() == VfioOutlook.Obstacle.IN_USE)
                && host.holders(device).stream()
                        .allMatch(pid -> host.vms().all().stream().anyMatch(vm -> vm.pid() == pid));
    }

    /** The reason why a device sends no interrupt, if a rule finds one. */
    static Optional<String> broken(HostFacts host, PciAddress address) {
        return host.pci(address)
                .map(device -> DeviceRules.link(host, device))
                .filter(link -> link.state() == Link.State.BROKEN)
                .map(Link::text);
    }

    /** The names of the flaws of the device itself. */
    List<String> flaws() {
        return link.flaws().stream().map(Flaw::rule).toList();
    }

    private String sysfs() {
        return "/sys/bus/pci/devices/" + device.address();
    }

    /**
     * The commands that bind it to vfio-pci. Empty if the probe would fail and leave the device without a driver. They
     * contain no text from files, so a shell may run them.
     */
    List<String> bind(HostFacts host) {
        List<String> commands = new ArrayList<>();
        if (device.isBoundToVfio()
                || outlook.refusals().stream()
                        .anyMatch(refusal -> IN_VAIN.contains(refusal.cause())
                                || refusal.rule().equals("vfio.not-bound-parent"))) {
            return commands;
        }
        if (!host.hasVfioPci()) {
            commands.add("modprobe vfio-pci");
        }
        commands.add("echo vfio-pci > " + override());
        if (device.driver().isPresent()) {
            commands.add(unbind());
        }
        commands.add(probe());
        return commands;
    }

    /**
     * The commands that give it back to the host's driver, now or after those of {@link #bind}. An override that the
     * host set before stays or is set again; none if its name is more than a word of a shell.
     */
    List<String> giveBack(HostFacts host) {
        Optional<String> before = device.override().filter(name -> !VfioGroup.isDriver(name));
        if (device.isBoundToVfio()) {
            return before.isPresent() ? List.of(unbind(), probe()) : List.of("echo > " + override(), unbind(), probe());
        }
        if (bind(host).isEmpty()
                || before.filter(name -> !WORD.matcher(name).matches()).isPresent()) {
            return List.of();
        }
        return List.of("echo " + before.map(name -> name + " ").orElse("") + "> " + override(), unbind(), probe());
    }

    private String override() {
        return sysfs() + "/driver_override";
    }

    private String unbind() {
        return "echo " + device.address() + " > " + sysfs() + "/driver/unbind";
    }

    private String probe() {
        return "echo " + device.address() + " > /sys/bus/pci/drivers_probe";
    }
}
