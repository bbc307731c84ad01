/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.diag.TapedDevice.Vector;
import io.kvmirq.diag.TapedMachine.Routed;
import io.kvmirq.diag.TapedVmm.EndedFeed;
import io.kvmirq.diag.TapedVmm.Feed;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.vfio.IrqKind;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The chains of the devices of a VMM, from the tape of its calls: which eventfd a vector signals, which GSI that feeds,
 * and where its route goes are taped. What only the guest sets, such as a logical APIC id, is not. Immutable.
 */
public final class TapedChains {
    private static final String SET_IRQS = "VFIO_DEVICE_SET_IRQS";
    private static final String ROUTING = "KVM_SET_GSI_ROUTING";
    private static final String CDEVS = "/dev/vfio/devices/";
    private static final String IN_GUEST = "/proc/interrupts in the guest";

    private final TapedVmm vmm;
    private final HostFacts host;

    private TapedChains(TapedVmm vmm, HostFacts host) {
        this.vmm = vmm;
        this.host = host;
    }

    /**
     * Reads a tape.
     *
     * @param host what the tape does not show: whether the host can post, and its irqs
     * @param call the number of the last call that counts. Without one, the last of the tape; if the tape closes all its
     *     devices, the last that made a link or ran a vCPU
     * @throws io.kvmirq.recording.tapes.TapeException if the file is not a tape
     */
    public static TapedChains of(Path tape, HostFacts host, Optional<Long> call) throws IOException {
        return new TapedChains(TapedVmm.of(tape, call), host);
    }

    /** The number of the last call on the tape, also if an earlier one was the last that counts. */
    public long lastCall() {
        return vmm.lastOnTape;
    }

    /**
     * The names of the devices, such as {@code 0000:3b:00.0}; of one that was opened by its own file, such as {@code
     * /dev/vfio/devices/vfio0}, the path if the host does not show its address.
     */
    public List<String> devices() {
        return vmm.devices().stream().map(this::name).distinct().toList();
    }

    private String name(TapedDevice device) {
        return cdev(device).map(PciAddress::toString).orElse(device.name);
    }

    private Optional<PciAddress> cdev(TapedDevice device) {
        return device.name.startsWith(CDEVS)
                ? Optional.ofNullable(host.cdevs().get(device.name.substring(CDEVS.length())))
                : Optional.empty();
    }

    /**
     * The chains of the vectors that the VMM ever set, in their order. A device without any has one chain.
     *
     * @param device empty for all
     * @param vector empty for all
     */
    public List<Chain> chains(Optional<String> device, OptionalInt vector) {
        Map<String, TapedDevice> last = new TreeMap<>();
        vmm.devices().forEach(one -> last.put(name(one), one));
        return last.values().stream()
                .filter(one -> device.isEmpty() || device.get().equals(name(one)))
                .flatMap(one -> chains(one, vector).stream())
                .toList();
    }

    private List<Chain> chains(TapedDevice device, OptionalInt wanted) {
        List<Chain> chains = new ArrayList<>();
        device.vectors.forEach((kind, vectors) -> {
            boolean armed =
                    vectors.values().stream().anyMatch(one -> one.eventfd().isPresent());
            if (armed || kind == device.last) {
                vectors.forEach((number, one) -> {
                    if (wanted.isEmpty() || wanted.getAsInt() == number) {
                        chains.add(chain(device, kind, number, Optional.of(one)));
                    }
                });
            }
        });
        if (chains.isEmpty()) {
            chains.add(chain(device, device.last, wanted.orElse(0), Optional.empty()));
        }
        return chains;
    }

    private static Evidence taped(long call, String name) {
        return Evidence.taped("call " + call + ", " + name);
    }

    private Evidence wholeTape() {
        return Evidence.taped("none of " + vmm.calls + " calls");
    }

    private Chain chain(TapedDevice device, IrqKind kind, int number, Optional<Vector> vector) {
        String interrupt = kind == IrqKind.INTX ? kind.label() : kind.label() + " " + number;
        List<Link> links = new ArrayList<>();
        List<String> remarks = new ArrayList<>();
        links.add(hostIrq(device, kind, number));
        links.add(deviceVector(device, interrupt, vector));
        Optional<String> eventfd = vector.flatMap(Vector::eventfd);
        Optional<Feed> feed = Optional.empty();
        if (isWhole(links) && eventfd.isPresent()) {
            links.add(Link.whole(
                    Hop.EVENTFD,
                    taped(vector.orElseThrow().at(), SET_IRQS),
                    eventfd.get(),
                    "VFIO signals it for " + interrupt));
            feed = vmm.feeds(eventfd.get()).stream().findFirst();
            links.add(irqfd(eventfd.get(), feed));
        }
        if (feed.isPresent()) {
            ofFeed(feed.get(), links, remarks);
        }
        remarks(device, feed, remarks);
        return new Chain(
                name(device),
                interrupt,
                Optional.of(vmm.program(device.pid)),
                links,
                feed.filter(whole -> isWhole(links))
                        .map(whole -> new TapedPosting(vmm, host).claims(kind, whole))
                        .orElse(List.of()),
                remarks);
    }

    private static boolean isWhole(List<Link> links) {
        return links.stream().noneMatch(link -> link.state() == Link.State.BROKEN);
    }

    // Links

    private Link hostIrq(TapedDevice device, IrqKind kind, int number) {
        Optional<ArmedVector> now =
                address(device)
                        .flatMap(address -> host.interrupts().map(all -> all.armed(address)))
                        .orElse(List.of())
                        .stream()
                        .filter(one -> one.kind() == kind && one.vector() == number)
                        .findFirst();
        return now.map(one -> Link.whole(
                        Hop.HOST_IRQ,
                        Evidence.observed("/proc/interrupts"),
                        String.valueOf(one.irq().number()),
                        "the host has it for this vector now"))
                .orElseGet(() -> Link.notShown(
                        Hop.HOST_IRQ, "no tape shows it", "kvmirq explain " + name(device) + " while the VMM runs"));
    }

    private Optional<PciAddress> address(TapedDevice device) {
        try {
            return Optional.of(PciAddress.parse(name(device)));
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
    }

    private Link deviceVector(TapedDevice device, String interrupt, Optional<Vector> vector) {
        String remedy = "let the guest's driver enable and unmask the interrupt";
        if (device.closed != 0) {
            return Link.broken(
                    Hop.DEVICE_VECTOR,
                    taped(device.closed, "close"),
                    "the VMM closed the device",
                    "add --at " + (device.closed - 1) + " to see it before that call");
        }
        if (vector.isEmpty()) {
            return Link.broken(
                    Hop.DEVICE_VECTOR, wholeTape(), "the VMM never armed " + interrupt + " with an eventfd", remedy);
        }
        Vector known = vector.get();
        boolean used = device.vectors.entrySet().stream()
                .filter(kind -> kind.getKey().compareTo(IrqKind.MSIX) <= 0)
                .flatMap(kind -> kind.getValue().values().stream())
                .anyMatch(one -> one.eventfd().isPresent());
        if (!known.had() && used) {
            return new Link(
                    Hop.DEVICE_VECTOR,
                    Link.State.IDLE,
                    Optional.of(taped(known.at(), SET_IRQS)),
                    Optional.empty(),
                    interrupt
                            + " never had an eventfd, and others of the device have one: the guest masks it or does not use"
                            + " it",
                    List.of());
        }
        if (known.eventfd().isEmpty()) {
            return Link.broken(
                    Hop.DEVICE_VECTOR,
                    taped(known.at(), SET_IRQS),
                    interrupt + " has no eventfd: the VMM took it away, as for a vector that the guest masks",
                    remedy);
        }
        return known.masked() == 0
                ? Link.whole(Hop.DEVICE_VECTOR, taped(known.at(), SET_IRQS), interrupt, "armed with an eventfd")
                : Link.broken(
                        Hop.DEVICE_VECTOR,
                        taped(known.masked(), SET_IRQS),
                        interrupt + " is masked through VFIO",
                        "unmask it: VFIO_IRQ_SET_ACTION_UNMASK");
    }

    private Link irqfd(String eventfd, Optional<Feed> feed) {
        if (feed.isPresent()) {
            return Link.whole(
                    Hop.IRQFD,
                    taped(feed.get().at(), "KVM_IRQFD"),
                    feed.get().vm(),
                    "feeds gsi " + feed.get().gsi());
        }
        String userspace = vmm.lastRead(eventfd)
                .map(call -> ": the VMM reads " + eventfd + " itself (call " + call + ") and may inject the interrupt")
                .orElse("");
        Optional<EndedFeed> ended = vmm.endedFeed(eventfd);
        return ended.map(one -> Link.broken(
                        Hop.IRQFD,
                        taped(one.at(), one.call()),
                        "the irqfd of " + eventfd + " to gsi " + one.feed().gsi() + " is gone: "
                                + (one.call().equals("KVM_IRQFD")
                                        ? "the VMM deassigned it" + userspace
                                        : "KVM drops it at the " + one.call()),
                        "assign the irqfd again" + (one.call().equals("KVM_IRQFD") ? "" : ", and keep the file open")))
                .orElseGet(() -> Link.broken(
                        Hop.IRQFD,
                        wholeTape(),
                        "no irqfd listens to " + eventfd + userspace,
                        PostingObstacle.NO_CONSUMER.remedy()));
    }

    private void ofFeed(Feed feed, List<Link> links, List<String> remarks) {
        TapedMachine vm = vmm.vm(feed.vm());
        @Nullable Routed routed = vm.routes.get(feed.gsi());
        if (routed == null) {
            links.add(unrouted(feed, vm));
            return;
        }
        String routes = routed.routes().stream().map(TapedChains::text).collect(Collectors.joining(", "));
        links.add(Link.whole(Hop.GSI, taped(routed.at(), ROUTING), "gsi " + feed.gsi(), "routed to " + routes));
        if (routed.since() > feed.at()) {
            remarks.add("the irqfd was assigned at call " + feed.at() + " and gsi " + feed.gsi()
                    + " was routed only at call " + routed.since()
                    + ": what the device signalled between is lost; set the route first");
        }
        if (routed.routes().get(0) instanceof Route.Msi msi) {
            ofMessage(msi.message(), routed, vm, links);
        } else {
            ofPin((Route.Pin) routed.routes().get(0), routed, links);
        }
    }

    private static void ofPin(Route.Pin pin, Routed routed, List<Link> links) {
        String text = "only the entry of the pin names it, which the guest writes";
        if (pin.chip() == Route.Chip.VGIC) {
            text = "the guest chooses it: GICD_IROUTER, or GICD_ITARGETSR of a GICv2";
            links.add(Link.whole(
                    Hop.GUEST_VECTOR,
                    taped(routed.at(), ROUTING),
                    "INTID " + (Spi.FIRST + pin.pin()),
                    "SPI " + pin.pin()));
        } else {
            links.add(Link.notShown(Hop.GUEST_VECTOR, text, IN_GUEST));
        }
        links.add(Link.notShown(Hop.VCPU, text, IN_GUEST));
    }

    private static String text(Route route) {
        return route instanceof Route.Msi msi
                ? msi.message().toString()
                : "pin " + ((Route.Pin) route).pin() + " of " + ((Route.Pin) route).chip();
    }

    private static Link unrouted(Feed feed, TapedMachine vm) {
        @Nullable Long removed = vm.unrouted.get(feed.gsi());
        String lost = ": each signal is lost";
        return removed == null
                ? Link.broken(
                        Hop.GSI,
                        taped(feed.at(), "KVM_IRQFD, and no route before or after it"),
                        "gsi " + feed.gsi() + " has an irqfd and never had a route" + lost,
                        "set the route before the irqfd is assigned")
                : Link.broken(
                        Hop.GSI,
                        taped(removed, ROUTING),
                        "gsi " + feed.gsi() + " has an irqfd, and its route was removed" + lost,
                        removed > feed.at()
                                ? "keep the route while the irqfd is assigned; to mask, deassign the irqfd"
                                : "set the route before the irqfd is assigned");
    }

    private void ofMessage(MsiMessage message, Routed routed, TapedMachine vm, List<Link> links) {
        if (!vmm.x86) {
            ofEvent(message, routed, vm, links);
            return;
        }
        ApicMessage apic = ApicMessage.of(new CompatibilityMsi(message.address(), message.data()));
        Evidence evidence = taped(routed.at(), ROUTING);
        String vector = "0x" + Integer.toHexString(apic.vector());
        links.add(Link.whole(
                Hop.GUEST_VECTOR,
                evidence,
                apic.mode().hasVector() ? vector : apic.mode().toString(),
                "delivery mode " + apic.mode()));
        links.add(vcpu(apic, evidence, vm));
    }

    /** vgic_msi_to_its() drops a message without device id, and one to an address that is of no ITS. */
    private static void ofEvent(MsiMessage message, Routed routed, TapedMachine vm, List<Link> links) {
        Evidence evidence = taped(routed.at(), ROUTING);
        VlpiObstacle obstacle = message.deviceId().isEmpty() ? VlpiObstacle.NO_DEVICE_ID : VlpiObstacle.NO_ITS;
        if (message.deviceId().isEmpty() || !vm.hasIts(message.address())) {
            links.add(Link.broken(
                    Hop.GUEST_VECTOR, evidence, obstacle.text() + ": each signal is lost", obstacle.remedy()));
            return;
        }
        String its = "the guest's ITS turns event " + Integer.toUnsignedString(message.data()) + " of device 0x"
                + Integer.toHexString(message.deviceId().getAsInt()) + " into an LPI";
        String remedy = "vgic-its-state of the VM in debugfs, from Linux 6.16 on";
        links.add(Link.notShown(Hop.GUEST_VECTOR, its, remedy));
        links.add(Link.notShown(Hop.VCPU, its, remedy));
    }

    private static Link vcpu(ApicMessage message, Evidence evidence, TapedMachine vm) {
        String destination = "destination 0x" + Integer.toHexString(message.destination(vm.apicIds32Bit));
        if (vm.vcpus.size() == 1 && message.logical()) {
            int only = vm.vcpus.first();
            return Link.whole(
                    Hop.VCPU, Evidence.inferred("the VM has one vCPU"), "vcpu " + only, "logical " + destination);
        }
        if (message.logical()) {
            return Link.notShown(
                    Hop.VCPU,
                    "logical " + destination + " means one of " + vm.vcpus.size()
                            + " vCPUs, and the guest sets their logical ids",
                    "/proc/irq/N/effective_affinity in the guest");
        }
        List<LapicIds> meant = vm.destinations().meant(message);
        if (meant.isEmpty()) {
            return Link.broken(
                    Hop.VCPU,
                    evidence,
                    "physical " + destination + " means none of the VM's " + vm.vcpus.size() + " vCPUs",
                    "route to the APIC id of a vCPU");
        }
        return Link.whole(
                Hop.VCPU,
                Evidence.inferred("the APIC id of a vCPU is the id in KVM_CREATE_VCPU, unless the guest changes it"),
                meant.stream().map(one -> "vcpu " + one.vcpuId()).collect(Collectors.joining(", ")),
                "physical " + destination);
    }

    // Remarks

    private void remarks(TapedDevice device, Optional<Feed> feed, List<String> remarks) {
        if (feed.isPresent()) {
            Set<String> files = vmm.vm(feed.get().vm()).vfioFiles;
            if (!files.contains(device.file) && !files.contains(device.group)) {
                remarks.add("the device's file is not in a KVM-VFIO device of "
                        + feed.get().vm()
                        + ": KVM does not know that the VM has a device, which posting does not need and non-coherent"
                        + " DMA does");
            }
        }
        cdev(device)
                .ifPresent(address ->
                        remarks.add("the VMM opened " + device.name + ", which is " + address + " on the host now"));
        if (vmm.goesOn) {
            remarks.add("this is the state at call " + vmm.calls + "; the tape goes on");
        }
        Optional<String> taped = vmm.kernel();
        String here = host.kernel().orElse("?");
        // A fake's header has only the first two numbers.
        if (taped.isPresent() && !here.equals(taped.get()) && !here.startsWith(taped.get() + ".")) {
            remarks.add("the tape was made on Linux " + taped.get() + ", but the answers about the host are those of"
                    + " Linux "
                    + here + ": --from and --root choose another");
        }
    }
}
