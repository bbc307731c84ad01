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
    private static final int SHOWN = 3;

    /** A refusal of a device that is bound to VFIO. */
    private record Refused(PciAddress device, Refusal refusal) {}

    private record Machine(Fact.Facts facts) implements Fact.Subject {
        private Stream<Refused> refused(boolean byPermission) {
            return REFUSED.of(this).known().orElse(List.of()).stream()
                    .filter(one -> one.refusal.cause() == Obstacle.NO_PERMISSION == byPermission);
        }

        List<String> devices(boolean byPermission) {
            return refused(byPermission)
                    .map(one -> one.device.toString())
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
                            ? Optional.of(new Known.Unknown<>("sysfs shows no ids of " + address, Fact.LOOK_AGAIN))
                            : link.filter(Flaws::isIncomplete)
                                    .map(seen -> new Known.Unknown<>(
                                            "whether " + address + " can send interrupts is not known: " + seen.text(),
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
                    .flatMap(one -> switch (one.cause()) {
                        case NO_IOMMU -> Stream.of(Remedy.of(Change.SEE, "iommu"));
                        case NO_REMAPPING -> Stream.of(Remedy.of(Change.SEE, "remapping"), VfioRules.WITHOUT_REMAPPING);
                        default -> one.remedies().stream();
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
                            .flatMap(one -> host().pci(one).stream())
                            .noneMatch(one -> id.equals(one.id())))
                    .toList();
        }

        /** The devices that the command line names for vfio-pci and other drivers have, unless VFIO has one of the same id. */
        List<PciDevice> kept() {
            List<String> ids = host().namedIds();
            List<PciDevice> named = (ids.isEmpty() ? List.<PciAddress>of() : host().pciAddresses())
                    .stream()
                            .flatMap(one -> host().pci(one).stream())
                            .filter(one -> ids.contains(one.id()))
                            .toList();
            return named.stream()
                    .filter(one -> one.driver().isPresent() && !one.isBoundToVfio())
                    .filter(one -> named.stream()
                            .noneMatch(
                                    other -> other.isBoundToVfio() && other.id().equals(one.id())))
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
    private static final Fact<Machine, Boolean> LISTED = new Fact<>("sys/bus/pci/devices", one ->
        one.host().pciAddresses().isEmpty() && one.files().reading("sys/bus/pci/devices") == HostFiles.Reading.DENIED
        ? one.host().sight().refused("sys/bus/pci/devices") : new Known.Observed<>(true));
    /** Devices that VFIO refuses. A guest that uses one is not a problem. */
    private static final Fact<Machine, List<Refused>> REFUSED = new Fact<>("sys/bus/pci/devices", one -> LISTED.of(one).map(listed ->
        one.host().boundToVfio().stream().flatMap(address -> one.host().pci(address).stream()).flatMap(device -> VfioOutlook
        .of(one.host(), device).refusals().stream().filter(refusal -> refusal.cause() != Obstacle.IN_USE)
        .map(refusal -> new Refused(device.address(), refusal))).toList()));
    /** Devices that VFIO takes and that send no interrupt, or may send none, with the link that shows it. */
    private static final Fact<Machine, Map<PciAddress, Link>> FLAWED = new Fact<>("sys/bus/pci/devices", Machine::flawed);
    private static final Fact<Machine, Machine> MODULES = Fact.seen("sys/module");
    /** Whether each parameter that is there shows its value. */
    private static final Fact<Machine, Boolean> SHOWN_ALL = new Fact<>("sys/module/MODULE/parameters/" + UNSAFE, one ->
        Stream.of("iommufd", "vfio_iommu_type1").map(module -> one.kvm().parameter(module, UNSAFE))
        .filter(known -> known instanceof Known.Unknown<String> unknown && unknown.remedy().equals(HostKvm.AS_ROOT))
        .findFirst().<Known<Boolean>>map(known -> known.map(any -> true)).orElse(new Known.Observed<>(true)));

    private static final Rule.Checks<Machine> VFIO = new Rule.Checks<>(
        rule("vfio-host.refused", REFUSED, one -> !one.devices(false).isEmpty())
            .with(one -> some(one.devices(false)), one -> one.first(false)).remedies(Machine::admit),
        rule("vfio-host.device-broken", FLAWED, one -> !one.flawed(Link.State.BROKEN).isEmpty())
            .with(one -> one.devices(Link.State.BROKEN), one -> one.first(Link.State.BROKEN).text())
            .remedies(one -> one.first(Link.State.BROKEN).remedies()).otherwise(),
        rule("vfio-host.device-doubtful", FLAWED, one -> !one.flawed(Link.State.DOUBTFUL).isEmpty())
            .with(one -> one.devices(Link.State.DOUBTFUL), one -> one.first(Link.State.DOUBTFUL).text())
            .remedies(one -> one.first(Link.State.DOUBTFUL).remedies()).otherwise(),
        rule("vfio-host.ids-kept", LISTED, one -> !one.kept().isEmpty())
            .with(one -> one.kept().get(0).address(), one -> one.kept().get(0).driver().orElse(""))
            .fill(one -> one.kept().get(0).driver().orElse("DRIVER")).otherwise(),
        rule("vfio-host.no-permission", REFUSED, one -> !one.devices(true).isEmpty())
            .with(one -> one.first(true), one -> some(one.devices(true))).otherwise(),
        rule("vfio-host.no-iommu-driver", MODULES,
            one -> one.kvm().vfioModules().contains("vfio_pci")
            && Stream.of("iommufd", "vfio_iommu_type1").noneMatch(one.kvm().vfioModules()::contains)).otherwise(),
        rule("vfio-host.usable", MODULES, one -> !one.bound().isEmpty()).with(one -> some(one.bound())).otherwise(),
        rule("vfio-host.nothing-bound", MODULES, one -> one.host().hasVfioPci() && !one.kvm().vfioModules().isEmpty())
            .otherwise(),
        rule("vfio-host.not-built", MODULES, one -> !one.kvm().isBuilt("VFIO_PCI").known().orElse(true)).otherwise(),
        rule("vfio-host.not-loaded", MODULES, one -> true).remedy(Machine::load).otherwise());

    private static final Rule.Checks<Machine> INTERRUPTS = new Rule.Checks<>(
        rule("unsafe-interrupts.noiommu", MODULES, one -> one.isSet("vfio", "enable_unsafe_noiommu_mode")),
        rule("unsafe-interrupts.allowed", MODULES, one -> !one.allowing().isEmpty())
            .with(one -> String.join(" and ", one.allowing())).fill(Machine::forbid).otherwise(),
        rule("unsafe-interrupts.not-allowed", SHOWN_ALL, one -> true)
            .with(one -> one.kvm().vfioModules().isEmpty() && !one.host().hasVfioPci()
            ? "does not apply: VFIO is not loaded" : "VFIO takes no device without interrupt remapping").otherwise());
    // spotless:on

    /** The rules of these checks. */
    public static final List<Rule.Checks<?>> CHECKS = List.of(VFIO, INTERRUPTS);

    private VfioHostRules() {}

    public static Finding vfio(HostFacts host) {
        Machine one = new Machine(new Fact.Facts(host));
        Finding finding = VFIO.finding(one);
        if (finding.reason().equals("refused")) {
            Obstacle first =
                    one.refused(false).findFirst().orElseThrow().refusal.cause();
            finding = finding.whose(Finding.id(first), finding.text());
        }
        if (!one.missing().isEmpty() && finding.status() != Finding.Status.FAIL) {
            finding = finding.whose(
                            "ids-missing",
                            "the kernel's command line gives " + some(one.missing())
                                    + " to vfio-pci, and no PCI device has this id; " + finding.text())
                    .as(Finding.Status.WARN)
                    .with(Remedy.look("lspci -nn: the device is gone, or the id is wrong"));
        }
        return finding.with("modules", host.kvm().vfioModules())
                .with("bound", one.bound())
                .with("refused", one.devices(false))
                .withRoot(finding.remedies().contains(Remedy.look(HostKvm.AS_ROOT)));
    }

    /** Unsafe interrupts as allowed for VFIO containers and for iommufd. */
    public static Finding unsafeInterrupts(HostFacts host) {
        Machine one = new Machine(new Fact.Facts(host));
        Finding finding = INTERRUPTS.finding(one);
        return finding.status() != Finding.Status.WARN
                ? finding
                : finding.with("modules", finding.reason().equals("noiommu") ? List.of("vfio") : one.allowing());
    }

    private static String some(List<String> names) {
        return names.size() <= SHOWN
                ? String.join(", ", names)
                : String.join(", ", names.subList(0, SHOWN)) + " and " + (names.size() - SHOWN) + " more";
    }
}
