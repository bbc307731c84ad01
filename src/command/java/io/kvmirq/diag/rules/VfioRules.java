/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles.Access;
import io.kvmirq.backend.HostFiles.Reading;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Rule.Flaw;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.rules.VfioOutlook.Obstacle;
import io.kvmirq.diag.rules.VfioOutlook.Refusal;
import io.kvmirq.host.KernelChange;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.IntxLine;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The rules by which VFIO refuses a device, in the order of its calls. */
public final class VfioRules {
    /** A host that does not remap interrupts can still give its devices to guests. */
    static final Remedy WITHOUT_REMAPPING = Remedy.of(
            Change.COMMAND,
            "or, if all guests are trusted, echo 1 >"
                    + " /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
            "a guest with a device can send any interrupt to the host");

    /** A device, and a process that has it open; 0 if the rules are about none. */
    record Device(Fact.Facts facts, PciDevice device, int holder) implements Fact.Subject {
        @Override
        public String name(String word) {
            return switch (word) {
                case "device" -> address();
                case "group" ->
                    device.group().isPresent() ? String.valueOf(device.group().getAsInt()) : "-";
                default -> throw new IllegalArgumentException(word);
            };
        }

        String address() {
            return device.address().toString();
        }

        String group() {
            return name("group");
        }

        boolean isBound() {
            return device.isBoundToVfio();
        }

        /** Whether it is yet to be opened: who has it open was not refused, wherever the files are. */
        boolean isToOpen() {
            return isBound() && device.group().isPresent() && !host().isOpen(device);
        }

        String blocking() {
            return device.others().stream()
                    .filter(PciDevice.Member::blocks)
                    .map(member -> member.name() + " (" + member.driver().orElse("") + ")")
                    .collect(Collectors.joining(", "));
        }

        /** Whoever binds a device on whose bus another is, such as the VMD, ends that bus. */
        List<Remedy> viable() {
            PciAddress own = device.address();
            List<Remedy> all = new ArrayList<>();
            for (PciDevice.Member other : device.others()) {
                Optional<PciAddress> above = PciDevice.addressOf(other.name());
                if (!other.blocks()) {
                    continue;
                }
                if (above.filter(bus -> host().isOnBus(own.toString(), bus)).isPresent()) {
                    all.add(Rows.remedy("@no-vmd"));
                    all.add(Rows.remedy("@whole-bus", other.name()));
                } else {
                    all.add(
                            host().isOnBus(other.name(), own)
                                    ? Rows.remedy("@on-its-bus", other.name())
                                    : Rows.remedy("@bind-group", host().command("vfio")));
                }
            }
            return all.stream().distinct().toList();
        }

        boolean isRemapped() {
            return host().allowsUnsafeInterrupts()
                    || host().isArm()
                    || host().interrupts().map(irqs -> irqs.hasChip("IR-")).orElse(true);
        }

        boolean isParent() {
            return host().isParent(device.address());
        }

        /** Whether the kernel's command line names its id for vfio-pci. */
        boolean isNamed() {
            return host().namedIds().contains(device.id());
        }

        /** {@code vfio_pci_dev_in_denylist()}: Intel's QAT. Empty if the kernel may have the list or not. */
        Optional<Boolean> isDenied() {
            return device.vendor() == 0x8086
                            && Set.of(0x19e2, 0x19e3, 0x37c8, 0x37c9, 0x0435, 0x0443)
                                    .contains(device.device())
                    ? files().text("sys/module/vfio_pci/parameters/disable_denylist")
                            .map("N"::equals)
                            .or(() -> host().has(KernelChange.DENYLIST))
                    : Optional.of(false);
        }

        String bound() {
            return device.driver().map(name -> "the driver " + name).orElse("no driver");
        }

        /** Whether devices have messages, and none goes through an ITS, which alone isolates them. */
        boolean hasOtherMessages() {
            return host().interrupts()
                    .filter(irqs -> !irqs.hasChip("ITS") && irqs.hasChip("GICv2m") || irqs.hasChip("PCI-MSI"))
                    .isPresent();
        }

        String handlers() {
            return String.join(
                    ", ", IntxLine.read(host(), device).handlers().known().orElse(List.of()));
        }

        /** The exclusive request of the line of an unused device, on which others have handlers. */
        private Known<IntxLine.Requested> conflict() {
            boolean used = host().interrupts()
                    .filter(all -> all.armed(device.address()).isEmpty())
                    .isEmpty();
            IntxLine line = IntxLine.read(host(), device);
            return line.requested()
                    .known()
                    .filter(requested -> !used
                            && requested.request() == IntxLine.Request.EXCLUSIVE
                            && !line.handlers().known().orElse(List.of()).isEmpty())
                    .<Known<IntxLine.Requested>>map(Known.Observed::new)
                    .orElseGet(Known::none);
        }

        boolean is(String file, Access access) {
            return host().access(file).filter(access::equals).isPresent();
        }

        /** Either file is enough: the file of the group, or the device's own. */
        boolean opens() {
            return device.cdev()
                    .filter(name -> is("devices/" + name, Access.ALLOWED))
                    .isPresent();
        }

        boolean hasNoIommu() {
            // Below a directory that may not be searched, each name is refused.
            return is("noiommu-" + group(), Access.ALLOWED)
                    || is("noiommu-" + group(), Access.DENIED) && files().reading("dev/vfio") != Reading.DENIED;
        }

        Optional<VmProcess> guest() {
            return host().vms().all().stream().filter(vm -> vm.pid() == holder).findFirst();
        }

        String use() {
            if (holder == 0) {
                return "VFIO has armed " + host().armed(device.address()).size()
                        + " of its interrupts, so a program that is not visible has it open";
            }
            return guest().map(vm -> "guest " + vm.name() + " (process " + holder + ") uses it")
                    .orElseGet(() -> "process " + host().named(holder) + " has it open"
                            + served().map(vm -> " for guest " + vm.name() + " (process " + vm.pid()
                                            + "), with which it shares eventfds")
                                    .orElse(""));
        }

        /** The guest whose VMM runs its devices in processes of their own, as crosvm does. */
        private Optional<VmProcess> served() {
            return holder == 0
                    ? Optional.empty()
                    : host().sharedEventfds(device).keySet().stream().findFirst();
        }

        Remedy release() {
            if (guest().or(this::served).isPresent()) {
                return Rows.remedy("@keep", host().command("explain"));
            }
            return holder != 0
                    ? Rows.remedy("@end-user")
                    : Remedy.look(host().hidesProcesses()
                            .map(Known.Unknown::remedy)
                            .orElse("look again, because the program may have ended"));
        }

        Remedy bind() {
            List<String> uses = host().uses(device.address());
            return Remedy.of(
                    Change.COMMAND,
                    "bind it to vfio-pci"
                            + (isDenied().isPresent()
                                    ? ""
                                    : ", which may fail: vendor kernels of this version may refuse it (denylist)")
                            + (uses.isEmpty() ? "" : "; the host then loses: " + String.join("; ", uses)),
                    uses.stream().anyMatch(use -> use.contains("default route"))
                            ? "the host is cut off from its network"
                            : device.driver().isPresent() || !uses.isEmpty() ? "the host loses it" : "");
        }

        /** The alternative is a file of sysfs: the module is already loaded, so modprobe would ignore the option. */
        List<Remedy> remap() {
            List<Remedy> all = new ArrayList<>(
                    isArm()
                            ? List.of(Remedy.of(Change.HARDWARE, "use a host whose messages go through an ITS"))
                            : IommuRules.remap(host()));
            all.add(WITHOUT_REMAPPING);
            return all;
        }

        /** The name in driver_override, if the kernel has no such driver. */
        Optional<String> unknownDriver() {
            List<String> drivers = files().list("sys/bus/pci/drivers");
            return device.override()
                    .filter(name -> !drivers.isEmpty() && !drivers.contains(name) && !name.equals("vfio-pci"));
        }
    }

    // spotless:off: tables
    private static final Fact<Device, Device> CLASS = Fact.seen("sys/bus/pci/devices/{device}/class");
    private static final Fact<Device, Boolean> GROUP = new Fact<>("sys/bus/pci/devices/{device}/iommu_group", device ->
        device.host().group(device.device) instanceof Known.Unknown<Integer> unknown ? unknown.typed()
        : new Known.Observed<>(device.device.group().isPresent()));
    /** Without a group, the IOMMUs decide what is missing. */
    private static final Fact<Device, List<String>> UNITS = new Fact<>(GROUP.file(), device -> device.host().units());
    private static final Fact<Device, Device> DRIVER = Fact.seen("sys/bus/pci/devices/{device}/driver");
    private static final Fact<Device, Device> MEMBERS = Fact.seen("sys/kernel/iommu_groups/{group}/devices");
    private static final Fact<Device, String> REGIONS = Fact.text("sys/kernel/iommu_groups/{group}/reserved_regions", device ->
        device.files().list("sys/kernel/iommu_groups/" + device.group()).contains("reserved_regions"),
        Fact.form(text -> text.startsWith("0x")));
    private static final Fact<Device, String> WORDS = Fact.commandLine();
    private static final Fact<Device, IntxLine.Requested> PIN = new Fact<>("proc/interrupts", Device::conflict);
    private static final Fact<Device, Device> DRIVERS = Fact.seen("sys/bus/pci/drivers");
    private static final Fact<Device, Device> CHIPS = Fact.seen("proc/interrupts");
    private static final Fact<Device, Device> FILE = Fact.seen("dev/vfio/{group}");

    private static final Table<Device> OF_HOST = new Table<>(
        rule("vfio.bridge", CLASS, device -> device.device.isBridge()).with(Device::address),
        rule("vfio.no-iommu", GROUP, device -> !GROUP.in(device) && UNITS.is(device, List::isEmpty))
            .remedies(device -> IommuRules.enable(device.host())).otherwise(),
        rule("vfio.no-group-graphics", WORDS,
            device -> GROUP.is(device, has -> !has) && device.device.classCode() >> 16 == 3
            && WORDS.in(device).matches("(.* )?intel_iommu=(\\S*,)?igfx_off(,.*| .*|)")).with(Device::address).otherwise(),
        rule("vfio.no-group", GROUP, device -> !GROUP.in(device) && UNITS.is(device, units -> !units.isEmpty())).with(Device::address)
            .fill(device -> device.host().iommus().get(0)).otherwise());

    private static final Table<Device> OF_GROUP = new Table<>(
        rule("vfio.no-module-refused", WORDS,
            device -> !device.host().hasVfioPci() && !device.isBound() && refusedModule(device.host()).isPresent())
            .with(device -> refusedModule(device.host()).get())
            .fill(device -> HostIrqRules.option(refusedModule(device.host()).get(), "vfio[-_]pci")),
        rule("vfio.no-module", DRIVERS, device -> !device.host().hasVfioPci() && !device.isBound()).otherwise(),
        rule("vfio.not-bound-parent", DRIVER, device -> !device.isBound() && device.isParent()).with(Device::address),
        rule("vfio.not-bound-denied", DRIVER, device -> !device.isBound() && device.isDenied().orElse(false)).with(Device::address)
            .otherwise(),
        rule("vfio.not-bound-ids", WORDS, device -> !device.isBound() && device.isNamed()).with(Device::bound, Device::address)
            .otherwise().fill(device -> device.device.driver().orElse("DRIVER")),
        rule("vfio.not-bound-unknown", DRIVERS, device -> !device.isBound() && device.unknownDriver().isPresent()).remedy(Device::bind)
            .with(Device::address, device -> device.unknownDriver().orElse("")).otherwise(),
        rule("vfio.not-bound-override", DRIVER,
            device -> !device.isBound() && device.device.override().filter("vfio-pci"::equals).isPresent()).remedy(Device::bind)
            .with(Device::bound, Device::address).otherwise(),
        rule("vfio.not-bound", DRIVER, device -> !device.isBound() && !device.isParent()).remedy(Device::bind)
            .with(Device::bound, Device::address).otherwise(),
        rule("vfio.intx-busy", PIN, device -> true).with(device -> PIN.in(device).why(), device -> device.handlers())
            .fill(device -> device.handlers()),
        rule("vfio.group-not-viable", MEMBERS, device -> !device.blocking().isEmpty()).with(Device::group, Device::blocking)
            .remedies(Device::viable),
        rule("vfio.no-remapping", CHIPS, device -> !device.isRemapped()).remedies(Device::remap),
        rule("vfio.no-remapping-arm", CHIPS, Device::hasOtherMessages).remedies(Device::remap)
            .on("arm64", device -> device.host().isArm() && !device.host().allowsUnsafeInterrupts()),
        rule("vfio.reserved-region", REGIONS, device -> REGIONS.in(device).lines().anyMatch(line -> line.endsWith(" direct")))
            .with(Device::group),
        rule("vfio.no-iommu-mode", FILE, Device::hasNoIommu).with(Device::address, Device::group)
            .remedies(device -> IommuRules.enable(device.host())).on("VFIO's", Device::isToOpen),
        rule("vfio.no-file", FILE, device -> device.is(device.group(), Access.ABSENT) && !device.opens()).with(Device::group)
            .fill(device -> device.group()).on("VFIO's", Device::isToOpen).otherwise(),
        rule("vfio.no-permission", FILE, device -> device.is(device.group(), Access.DENIED) && !device.opens()).with(Device::group)
            .fill(device -> device.group()).on("VFIO's", Device::isToOpen).otherwise());

    private static final Table<Device> OF_HOLDER = new Table<>(
        rule("vfio.in-use", FILE, device -> true).with(Device::use).remedy(Device::release).on("VFIO's", Device::isBound));
    // spotless:on

    /** The rules of VFIO. */
    public static final List<Table<Device>> TABLES = List.of(OF_HOST, OF_GROUP, OF_HOLDER);

    private VfioRules() {}

    /** The word that keeps the module from loading, even by modprobe: {@code blacklisted()} in kernel/module/main.c. */
    static Optional<String> refusedModule(HostFacts host) {
        return host.kvm().commandLine().known().orElse(List.of()).stream()
                .filter(word -> word.matches("module_blacklist=(\\S*,)?vfio[-_]pci(,.*|)"))
                .findFirst();
    }

    static List<Refusal> refusals(HostFacts host, PciDevice device) {
        Device seen = new Device(new Fact.Facts(host), device, 0);
        Flaws flaws = new Flaws().apply(seen, OF_HOST);
        if (!flaws.isBroken()) {
            flaws.apply(seen, OF_GROUP);
            Collection<Integer> holders = host.holders(device);
            // No process that is seen may be a hidden one; VFIO frees the interrupts when the device is closed.
            boolean unseen = holders.isEmpty() && !host.armed(device.address()).isEmpty();
            (unseen ? List.of(0) : holders)
                    .forEach(pid -> flaws.apply(new Device(new Fact.Facts(host), device, pid), OF_HOLDER));
        }
        return flaws.broken().map(VfioRules::refusal).toList();
    }

    private static Refusal refusal(Flaw flaw) {
        String name = flaw.rule().substring("vfio.".length());
        Obstacle cause = Stream.of(Obstacle.values())
                .filter(obstacle -> name.startsWith(Finding.id(obstacle)))
                .findFirst()
                .orElseThrow();
        return new Refusal(cause, flaw.rule(), flaw.text(), flaw.remedies());
    }
}
