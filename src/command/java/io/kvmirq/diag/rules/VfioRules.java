/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.broken;

import io.kvmirq.backend.HostFiles.Access;
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
import io.kvmirq.path.Hop;
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
                case "group" -> String.valueOf(device.group().orElse(0));
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

        String blocking() {
            return device.others().stream()
                    .filter(PciDevice.Member::blocks)
                    .map(one -> one.name() + " (" + one.driver().orElse("") + ")")
                    .collect(Collectors.joining(", "));
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
            return host().namedIds().contains(String.format("%04x:%04x", device.vendor(), device.device()));
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
                    ", ", IntxLine.of(host(), device).handlers().known().orElse(List.of()));
        }

        /** The exclusive request of the line of an unused device, on which others have handlers. */
        private Known<IntxLine.Requested> conflict() {
            boolean used = host().interrupts()
                    .filter(all -> all.armed(device.address()).isEmpty())
                    .isEmpty();
            IntxLine line = IntxLine.of(host(), device);
            return line.requested()
                    .known()
                    .filter(one -> !used
                            && one.request() == IntxLine.Request.EXCLUSIVE
                            && !line.handlers().known().orElse(List.of()).isEmpty())
                    .<Known<IntxLine.Requested>>map(Known.Observed::new)
                    .orElseGet(Known::none);
        }

        boolean is(String file, Access such) {
            return host().access(file).filter(such::equals).isPresent();
        }

        /** Either file is enough: the file of the group, or the device's own. */
        boolean opens() {
            return device.cdev()
                    .filter(name -> is("devices/" + name, Access.ALLOWED))
                    .isPresent();
        }

        boolean hasNoIommu() {
            return is("noiommu-" + group(), Access.ALLOWED) || is("noiommu-" + group(), Access.DENIED);
        }

        Optional<VmProcess> guest() {
            return host().vms().all().stream().filter(vm -> vm.pid() == holder).findFirst();
        }

        String use() {
            if (holder == 0) {
                return "VFIO has armed " + host().armed(device.address()).size()
                        + " of its interrupts, so a program that is not seen has it open";
            }
            return guest().map(vm -> "guest " + vm.name() + " (process " + holder + ") uses it")
                    .orElseGet(() -> "process " + host().named(holder) + " has it open");
        }

        Remedy release() {
            if (guest().isPresent()) {
                return Remedy.look(
                        "nothing, if that guest shall have it: " + host().command("explain") + " shows its interrupts");
            }
            return holder != 0
                    ? Remedy.command("end that process, or let it release the device")
                    : Remedy.look(host().hidesProcesses()
                            .map(Known.Unknown::remedy)
                            .orElse("look again: the program may have ended"));
        }

        Remedy bind() {
            List<String> uses = host().uses(device.address());
            return Remedy.of(
                    Change.COMMAND,
                    "bind it to vfio-pci"
                            + (isDenied().isPresent()
                                    ? ""
                                    : ", which is doubtful: a vendor's kernel of this number may refuse the device (denylist)")
                            + (uses.isEmpty() ? "" : "; the host loses then: " + String.join("; ", uses)),
                    uses.stream().anyMatch(one -> one.contains("default route"))
                            ? "the host is cut off from its network"
                            : uses.isEmpty() ? "" : "the host loses what uses it");
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
    }

    // spotless:off: tables
    private static final Fact<Device, Device> CLASS = Fact.seen("sys/bus/pci/devices/{device}/class");
    private static final Fact<Device, Device> GROUP = Fact.seen("sys/bus/pci/devices/{device}/iommu_group");
    private static final Fact<Device, Device> DRIVER = Fact.seen("sys/bus/pci/devices/{device}/driver");
    private static final Fact<Device, Device> MEMBERS = Fact.seen("sys/kernel/iommu_groups/{group}/devices");
    private static final Fact<Device, String> REGIONS = Fact.text("sys/kernel/iommu_groups/{group}/reserved_regions", one ->
        one.files().list("sys/kernel/iommu_groups/" + one.group()).contains("reserved_regions"),
        Fact.form(text -> text.startsWith("0x")));
    private static final Fact<Device, String> WORDS = Fact.commandLine();
    private static final Fact<Device, IntxLine.Requested> PIN = new Fact<>("proc/interrupts", Device::conflict);
    private static final Fact<Device, Device> DRIVERS = Fact.seen("sys/bus/pci/drivers");
    private static final Fact<Device, Device> CHIPS = Fact.seen("proc/interrupts");
    private static final Fact<Device, Device> FILE = Fact.seen("dev/vfio/{group}");

    private static final Table<Device> OF_HOST = new Table<>(Hop.HOST_IRQ,
        broken("vfio.bridge", CLASS, one -> one.device.isBridge(), "%s is a bridge",
            Remedy.command("name a device behind it: bridges stay with the host")).with(Device::address),
        broken("vfio.no-iommu", GROUP, one -> one.device.group().isEmpty() && one.host().iommus().isEmpty(),
            "no IOMMU is in use on this host").remedies(one -> IommuRules.enable(one.host())).otherwise(),
        broken("vfio.no-group-graphics", WORDS, one -> one.device.group().isEmpty() && one.device.classCode() >> 16 == 3
            && WORDS.in(one).matches("(.* )?intel_iommu=(\\S*,)?igfx_off(,.*| .*|)"), "%s has no IOMMU group: igfx_off on the"
            + " kernel's command line keeps graphics from the IOMMU", Remedy.of(Change.KERNEL_PARAMETER, "remove igfx_off, and"
            + " boot again")).with(Device::address).otherwise(),
        broken("vfio.no-group", GROUP, one -> one.device.group().isEmpty(), "%s has no IOMMU group: no IOMMU translates its"
            + " DMA").with(Device::address).remedy(one -> Remedy.of(Change.HARDWARE, "use a device behind the IOMMU "
            + one.host().iommus().get(0))).otherwise());

    private static final Table<Device> OF_GROUP = new Table<>(Hop.HOST_IRQ,
        broken("vfio.no-module-refused", WORDS, one -> !one.host().hasVfioPci() && !one.isBound()
            && refusedModule(one.host()).isPresent(), "the module vfio-pci is not loaded: %s on the kernel's command line refuses it",
            Remedy.of(Change.KERNEL_PARAMETER, "remove the word, and boot again")).with(one -> refusedModule(one.host()).get()),
        broken("vfio.no-module", DRIVERS, one -> !one.host().hasVfioPci() && !one.isBound(),
            "the module vfio-pci is not loaded", Remedy.command("modprobe vfio-pci")).otherwise(),
        broken("vfio.not-bound-parent", DRIVER, one -> !one.isBound() && one.isParent(), "the host keeps %s: its driver gives"
            + " parts of it to guests (mdev or vDPA), and loses them with the device",
            Remedy.look("give the guest a part: ls /sys/bus/mdev/devices /sys/bus/vdpa/devices"))
            .with(Device::address),
        broken("vfio.not-bound-denied", DRIVER, one -> !one.isBound() && one.isDenied().orElse(false), "vfio-pci refuses %s: the module lists"
            + " it (denylist) as a device by which a guest can harm the host", Remedy.of(Change.MODULE_OPTION, "if the guest is"
            + " trusted, load vfio-pci with disable_denylist=1", "a guest may harm the host")).with(Device::address).otherwise(),
        broken("vfio.not-bound-ids", WORDS, one -> !one.isBound() && one.isNamed(), "%s is bound to %s, though the kernel's"
            + " command line names its id for vfio-pci").with(Device::bound, Device::address).otherwise()
            .remedy(one -> Remedy.command("bind it to vfio-pci; at boot, load vfio-pci first: softdep "
            + one.device.driver().orElse("DRIVER") + " pre: vfio-pci in /etc/modprobe.d, then rebuild the initramfs")),
        broken("vfio.not-bound-override", DRIVER, one -> !one.isBound() && one.device.override().filter("vfio-pci"::equals)
            .isPresent(), "%s is bound to %s, though its driver_override names vfio-pci: it was not bound again")
            .remedy(Device::bind).with(Device::bound, Device::address).otherwise(),
        broken("vfio.not-bound", DRIVER, one -> !one.isBound() && !one.isParent(), "%s is bound to %s, and VFIO needs vfio-pci")
            .remedy(Device::bind).with(Device::bound, Device::address).otherwise(),
        broken("vfio.intx-busy", PIN, one -> true, "VFIO requests the line of its pin exclusively (%s), and %s has it: a VMM that"
            + " uses INTx, as QEMU does while a guest starts, gets EBUSY of VFIO_DEVICE_SET_IRQS").with(one -> PIN.in(one).why(),
            one -> one.handlers()).remedy(one -> Remedy.command("unbind the driver of " + one.handlers() + ", move the device"
            + " to another slot, or let the VMM use MSI alone")),
        broken("vfio.group-not-viable", MEMBERS, one -> !one.blocking().isEmpty(), "drivers of the host use other devices of"
            + " IOMMU group %s: %s; VFIO_GROUP_SET_CONTAINER answers EPERM").with(Device::group, Device::blocking)
            .remedy(one -> Remedy.of(Change.COMMAND, "bind each of them to vfio-pci too, or unbind its driver; "
            + one.host().command("vfio") + " with its address prints how", "the host loses the devices of the group")),
        broken("vfio.no-remapping", CHIPS, one -> !one.isRemapped(),
            "the IOMMU does not remap interrupts; VFIO_SET_IOMMU answers EPERM").remedies(Device::remap),
        broken("vfio.no-remapping-arm", CHIPS, Device::hasOtherMessages, "no message of this host goes through an ITS, and those"
            + " of other controllers are not isolated; VFIO_SET_IOMMU answers EPERM").remedies(Device::remap)
            .on("arm64", one -> one.host().isArm() && !one.host().allowsUnsafeInterrupts()),
        broken("vfio.reserved-region", REGIONS, one -> REGIONS.in(one).lines().anyMatch(line -> line.endsWith(" direct")), "the firmware has"
            + " reserved memory that a device of IOMMU group %s reaches at its own addresses (direct): VFIO_SET_IOMMU answers"
            + " EPERM, and since Linux 6.6 EINVAL", Remedy.of(Change.FIRMWARE, "switch off in the firmware what uses the device"
            + " (RMRR, IVMD: shared memory of a management controller), or use another device")).with(Device::group),
        broken("vfio.no-iommu-mode", FILE, Device::hasNoIommu, "no IOMMU serves %s, whose group is /dev/vfio/noiommu-%s")
            .with(Device::address, Device::group).remedies(one -> IommuRules.enable(one.host())).on("VFIO's", Device::isBound),
        broken("vfio.no-file", FILE, one -> one.is(one.group(), Access.ABSENT) && !one.opens(),
            "/dev/vfio/%s does not exist here").with(Device::group).remedy(one -> Remedy.command("in a container, pass"
            + " /dev/vfio/vfio and /dev/vfio/" + one.group() + " to it")).on("VFIO's", Device::isBound).otherwise(),
        broken("vfio.no-permission", FILE, one -> one.is(one.group(), Access.DENIED) && !one.opens(),
            "this user may not open /dev/vfio/%s").with(Device::group).remedy(one -> Remedy.command("run as root, or make"
            + " the user the owner of /dev/vfio/" + one.group())).on("VFIO's", Device::isBound).otherwise());

    private static final Table<Device> OF_HOLDER = new Table<>(Hop.HOST_IRQ,
        broken("vfio.in-use", FILE, one -> true, "%s; open() answers EBUSY").with(Device::use).remedy(Device::release)
            .on("VFIO's", Device::isBound));
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
        Device one = new Device(new Fact.Facts(host), device, 0);
        Flaws flaws = new Flaws().apply(one, OF_HOST);
        if (!flaws.isBroken()) {
            flaws.apply(one, OF_GROUP);
            Collection<Integer> holders = host.holders(device);
            boolean unseen = holders.isEmpty()
                    && host.hidesProcesses().isPresent()
                    && !host.armed(device.address()).isEmpty();
            (unseen ? List.of(0) : holders)
                    .forEach(pid -> flaws.apply(new Device(new Fact.Facts(host), device, pid), OF_HOLDER));
        }
        return flaws.broken().map(VfioRules::refusal).toList();
    }

    private static Refusal refusal(Flaw flaw) {
        String name = flaw.rule().substring("vfio.".length());
        Obstacle cause = Stream.of(Obstacle.values())
                .filter(one -> name.startsWith(Finding.id(one)))
                .findFirst()
                .orElseThrow();
        return new Refusal(cause, flaw.rule(), flaw.text(), flaw.remedies());
    }
}
