/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.VfioOutlook.Obstacle;
import io.kvmirq.diag.rules.VfioOutlook.Refusal;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Flaw.Span;
import io.kvmirq.path.Flaw.Weight;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Rules for VFIO on a host: its drivers, the devices that it would refuse, and the parameters that lift its protection.
 */
public final class VfioHostRules {
    private static final int MOST_NAMES = 3;

    /** A refusal of a device that is bound to VFIO. */
    private record Refused(PciAddress device, Refusal refusal) {}

    private record Machine(Fact.Facts facts) implements Fact.Subject {
        private Stream<Refused> refused(boolean byPermission) {
            return REFUSED.of(this).known().orElse(List.of()).stream()
                    .filter(refused -> refused.refusal.cause() == Obstacle.NO_PERMISSION == byPermission);
        }

        List<String> devices(boolean byPermission) {
            return refused(byPermission)
                    .map(refused -> refused.device.toString())
                    .distinct()
                    .toList();
        }

        String first(boolean byPermission) {
            return refused(byPermission).findFirst().orElseThrow().refusal.text();
        }

        List<String> bound() {
            return host().boundToVfio().stream().map(PciAddress::toString).toList();
        }

        /** The devices with a flaw. Not known if the files of a device do not tell, and no other one has a flaw. */
        private Known<Map<PciAddress, Link>> flawed() {
            Map<PciAddress, Link> flawed = new LinkedHashMap<>();
            Optional<Known.Unknown<Map<PciAddress, Link>>> hidden = Optional.empty();
            for (PciAddress address : host().boundToVfio()) {
                Optional<PciDevice> device = host().pci(address);
                Optional<Link> link = device.map(seen -> DeviceRules.link(host(), seen));
                link.filter(seen -> seen.state() == Link.State.BROKEN || isInDoubt(seen))
                        .ifPresent(seen -> flawed.put(address, seen));
                if (hidden.isEmpty()) {
                    hidden = device.isEmpty()
                            ? Optional.of(new Known.Unknown<>("sysfs shows no ids for " + address, Fact.LOOK_AGAIN))
                            : link.filter(Flaws::isIncomplete)
                                    .map(seen -> new Known.Unknown<>(
                                            "the device " + address + " was not checked completely: " + seen.text(),
                                            seen.remedies().stream()
                                                    .findFirst()
                                                    .map(Remedy::text)
                                                    .orElse(Known.Unknown.NONE)));
                }
            }
            return flawed.isEmpty() && hidden.isPresent() ? hidden.get() : new Known.Observed<>(flawed);
        }

        /** Whether it may send nothing now. A guest masks its pin while it handles an interrupt. */
        private static boolean isInDoubt(Link link) {
            return link.state() == Link.State.DOUBTFUL
                    && link.flaws().stream()
                            .anyMatch(flaw -> flaw.span() == Span.NOW
                                    && flaw.weight() != Weight.REMARK
                                    && !flaw.rule().equals("device.pin-masked"));
        }

        private List<Map.Entry<PciAddress, Link>> flawed(Link.State state) {
            return FLAWED.in(this).entrySet().stream()
                    .filter(device -> device.getValue().state() == state)
                    .toList();
        }

        String devices(Link.State state) {
            return some(flawed(state).stream()
                    .map(device -> device.getKey().toString())
                    .toList());
        }

        Link first(Link.State state) {
            return flawed(state).get(0).getValue();
        }

        /** The remedies of refusals, each once. Those of the host's IOMMU are told by other checks. */
        List<Remedy> admit() {
            return refused(false)
                    .map(Refused::refusal)
                    .flatMap(refusal -> switch (refusal.cause()) {
                        case NO_IOMMU -> Stream.of(Remedy.of(Change.SEE, "iommu"));
                        case NO_REMAPPING -> Stream.of(Remedy.of(Change.SEE, "remapping"), VfioRules.WITHOUT_REMAPPING);
                        default -> refusal.remedies().stream();
                    })
                    .distinct()
                    .toList();
        }

        Remedy load() {
            Optional<String> refuses = VfioRules.refusedModule(host());
            return refuses.isPresent()
                    ? Rows.remedy("@refused", refuses.get())
                    : Rows.remedy(kvm().loadsModules() ? "@load" : "@no-modules");
        }

        /** The ids on the kernel's command line that no device has. */
        List<String> missing() {
            return host().namedIds().stream()
                    .filter(id -> host().pciAddresses().stream()
                            .flatMap(address -> host().pci(address).stream())
                            .noneMatch(device -> id.equals(device.id())))
                    .toList();
        }

        /** The devices that the command line names for vfio-pci and other drivers have, unless VFIO has one of the same id. */
        List<PciDevice> kept() {
            List<String> ids = host().namedIds();
            List<PciDevice> named = (ids.isEmpty() ? List.<PciAddress>of() : host().pciAddresses())
                    .stream()
                            .flatMap(address -> host().pci(address).stream())
                            .filter(device -> ids.contains(device.id()))
                            .toList();
            return named.stream()
                    .filter(device -> device.driver().isPresent() && !device.isBoundToVfio())
                    .filter(device -> named.stream()
                            .noneMatch(
                                    other -> other.isBoundToVfio() && other.id().equals(device.id())))
                    .toList();
        }

        boolean isSet(String module, String parameter) {
            return kvm().parameter(module, parameter)
                    .known()
                    .filter("Y"::equals)
                    .isPresent();
        }

        List<String> allowing() {
            return Stream.of("vfio_iommu_type1", "iommufd")
                    .filter(module -> isSet(module, UNSAFE))
                    .toList();
        }

        String forbid() {
            return allowing().stream()
                    .map(module -> "echo N > /sys/module/" + module + "/parameters/" + UNSAFE + ", ")
                    .collect(Collectors.joining());
        }
    }

    // spotless:off: tables
    private static final String UNSAFE = "allow_unsafe_interrupts";
    /** Whether the devices may be listed. */
    private static final Fact<Machine, Boolean> LISTED = new Fact<>("sys/bus/pci/devices", machine ->
        machine.host().pciAddresses().isEmpty() && machine.files().reading("sys/bus/pci/devices") == HostFiles.Reading.DENIED
        ? machine.host().sight().refused("sys/bus/pci/devices") : new Known.Observed<>(true));
    /** Devices that VFIO refuses. A guest that uses one is not a problem. */
    private static final Fact<Machine, List<Refused>> REFUSED = new Fact<>("sys/bus/pci/devices", machine -> LISTED.of(machine).map(listed ->
        machine.host().boundToVfio().stream().flatMap(address -> machine.host().pci(address).stream()).flatMap(device -> VfioOutlook
        .read(machine.host(), device).refusals().stream().filter(refusal -> refusal.cause() != Obstacle.IN_USE)
        .map(refusal -> new Refused(device.address(), refusal))).toList()));
    /** Devices that VFIO takes and that send no interrupt, or may send none, with the link that shows it. */
    private static final Fact<Machine, Map<PciAddress, Link>> FLAWED = new Fact<>("sys/bus/pci/devices", Machine::flawed);
    private static final Fact<Machine, Machine> MODULES = Fact.seen("sys/module");
    /** Whether each parameter that is there shows its value. */
    private static final Fact<Machine, Boolean> SHOWN_ALL = new Fact<>("sys/module/MODULE/parameters/" + UNSAFE, machine ->
        Stream.of("iommufd", "vfio_iommu_type1").map(module -> machine.kvm().parameter(module, UNSAFE))
        .filter(known -> known instanceof Known.Unknown<String> unknown && unknown.remedy().equals(HostKvm.AS_ROOT))
        .findFirst().<Known<Boolean>>map(known -> known.map(ids -> true)).orElse(new Known.Observed<>(true)));

    private static final Rule.Checks<Machine> VFIO = new Rule.Checks<>(
        rule("vfio-host.refused", REFUSED, machine -> !machine.devices(false).isEmpty())
            .with(machine -> some(machine.devices(false)), machine -> machine.first(false)).remedies(Machine::admit),
        rule("vfio-host.device-broken", FLAWED, machine -> !machine.flawed(Link.State.BROKEN).isEmpty())
            .with(machine -> machine.devices(Link.State.BROKEN), machine -> machine.first(Link.State.BROKEN).text())
            .remedies(machine -> machine.first(Link.State.BROKEN).remedies()).otherwise(),
        rule("vfio-host.device-doubtful", FLAWED, machine -> !machine.flawed(Link.State.DOUBTFUL).isEmpty())
            .with(machine -> machine.devices(Link.State.DOUBTFUL), machine -> machine.first(Link.State.DOUBTFUL).text())
            .remedies(machine -> machine.first(Link.State.DOUBTFUL).remedies()).otherwise(),
        rule("vfio-host.ids-kept", LISTED, machine -> !machine.kept().isEmpty())
            .with(machine -> machine.kept().get(0).address(), machine -> machine.kept().get(0).driver().orElse(""))
            .fill(machine -> machine.kept().get(0).driver().orElse("DRIVER")).otherwise(),
        rule("vfio-host.no-permission", REFUSED, machine -> !machine.devices(true).isEmpty())
            .with(machine -> machine.first(true), machine -> some(machine.devices(true))).otherwise(),
        rule("vfio-host.no-iommu-driver", MODULES,
            machine -> machine.kvm().vfioModules().contains("vfio_pci")
            && Stream.of("iommufd", "vfio_iommu_type1").noneMatch(machine.kvm().vfioModules()::contains)).otherwise(),
        rule("vfio-host.usable", MODULES, machine -> !machine.bound().isEmpty()).with(machine -> some(machine.bound())).otherwise(),
        rule("vfio-host.nothing-bound", MODULES, machine -> machine.host().hasVfioPci() && !machine.kvm().vfioModules().isEmpty())
            .otherwise(),
        rule("vfio-host.not-built", MODULES, machine -> !machine.kvm().isBuilt("VFIO_PCI").known().orElse(true)).otherwise(),
        rule("vfio-host.not-loaded", MODULES, machine -> true).remedy(Machine::load).otherwise());

    private static final Rule.Checks<Machine> INTERRUPTS = new Rule.Checks<>(
        rule("unsafe-interrupts.noiommu", MODULES, machine -> machine.isSet("vfio", "enable_unsafe_noiommu_mode")),
        rule("unsafe-interrupts.allowed", MODULES, machine -> !machine.allowing().isEmpty())
            .with(machine -> String.join(" and ", machine.allowing())).fill(Machine::forbid).otherwise(),
        rule("unsafe-interrupts.not-allowed", SHOWN_ALL, machine -> true)
            .with(machine -> machine.kvm().vfioModules().isEmpty() && !machine.host().hasVfioPci()
            ? "nothing to check: VFIO is not loaded" : "VFIO refuses devices without interrupt remapping").otherwise());
    // spotless:on

    /** The rules of these checks. */
    public static final List<Rule.Checks<?>> CHECKS = List.of(VFIO, INTERRUPTS);

    private VfioHostRules() {}

    public static Finding vfio(HostFacts host) {
        Machine machine = new Machine(new Fact.Facts(host));
        Finding finding = VFIO.finding(machine);
        if (finding.reason().equals("refused")) {
            Obstacle first =
                    machine.refused(false).findFirst().orElseThrow().refusal.cause();
            finding = finding.whose(Finding.id(first), finding.text());
        }
        if (!machine.missing().isEmpty() && finding.status() != Finding.Status.FAIL) {
            finding = finding.whose(
                            "ids-missing",
                            "the kernel's command line gives " + some(machine.missing())
                                    + " to vfio-pci, but no PCI device has such an id; " + finding.text())
                    .as(Finding.Status.WARN)
                    .with(Remedy.look("lspci -nn: the device is gone, or the id is wrong"));
        }
        return finding.with("modules", host.kvm().vfioModules())
                .with("bound", machine.bound())
                .with("refused", machine.devices(false))
                .withRoot(finding.remedies().contains(Remedy.look(HostKvm.AS_ROOT)));
    }

    /** Unsafe interrupts as allowed for VFIO containers and for iommufd. */
    public static Finding unsafeInterrupts(HostFacts host) {
        Machine machine = new Machine(new Fact.Facts(host));
        Finding finding = INTERRUPTS.finding(machine);
        return finding.status() != Finding.Status.WARN
                ? finding
                : finding.with("modules", finding.reason().equals("noiommu") ? List.of("vfio") : machine.allowing());
    }

    private static String some(List<String> names) {
        return names.size() <= MOST_NAMES
                ? String.join(", ", names)
                : String.join(", ", names.subList(0, MOST_NAMES)) + " and " + (names.size() - MOST_NAMES) + " more";
    }
}
