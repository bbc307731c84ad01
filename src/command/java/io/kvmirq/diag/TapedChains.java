/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.diag.TapedLog.Step;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Producer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The chains of a VMM's devices, from the tape of its calls. The tape shows the eventfd of a vector, the GSI of its irqfd
 * and the route of that GSI; a mirror predicts posting. A tape does not have state that only the guest sets, such as a
 * logical APIC id. For one thread.
 */
public final class TapedChains {
    private static final String CDEVS = "/dev/vfio/devices/";
    /** KVM_VGIC_V3_ITS_SIZE: any address in the frames of an ITS finds the ITS. */
    private static final long ITS_SIZE = 0x20000;

    private static final String IN_GUEST = "/proc/interrupts in the guest";

    private final TapedVmm vmm;
    private final HostFacts host;
    private final TapedPosting posting;

    private TapedChains(TapedVmm vmm, HostFacts host) {
        this.vmm = vmm;
        this.host = host;
        this.posting = new TapedPosting(vmm, host);
    }

    /**
     * Reads a tape.
     *
     * @param host facts that the tape does not have: whether the host can post, and its irqs
     * @param call the number of the last call that counts. Without one, the last of the tape; if the tape closes all its
     *     devices, the last that made a link or ran a vCPU
     * @throws io.kvmirq.recording.tapes.TapeException if the file is not a tape
     */
    public static TapedChains of(Path tape, HostFacts host, Optional<Long> call) throws IOException {
        return new TapedChains(TapedVmm.of(tape, call), host);
    }

    /** The number of the last call on the tape, even if an earlier one was the last that counts. */
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

    private String name(TapedVmm.Device device) {
        return cdev(device).map(PciAddress::toString).orElse(device.name);
    }

    private Optional<PciAddress> cdev(TapedVmm.Device device) {
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
        Map<String, TapedVmm.Device> last = new TreeMap<>();
        vmm.devices().forEach(one -> last.put(name(one), one));
        return last.values().stream()
                .filter(one -> device.isEmpty() || device.get().equals(name(one)))
                .flatMap(one -> chains(one, vector).stream())
                .toList();
    }

    private List<Chain> chains(TapedVmm.Device device, OptionalInt wanted) {
        List<Step> vectors = vmm.log.vectors(device);
        List<Producer.Kind> used = vectors.stream()
                .filter(step -> step.eventfd().isPresent())
                .map(step -> vector(step).kind())
                .toList();
        List<Chain> chains = new ArrayList<>();
        for (Step step : vectors) {
            Producer vector = vector(step);
            boolean asked = wanted.isEmpty() || wanted.getAsInt() == vector.number();
            if (asked && (used.contains(vector.kind()) || vector.kind() == device.last)) {
                chains.add(chain(device, vector, Optional.of(step)));
            }
        }
        if (chains.isEmpty()) {
            chains.add(chain(device, new Producer(device, device.last, wanted.orElse(0)), Optional.empty()));
        }
        return chains;
    }

    private static Producer vector(Step step) {
        return step.event() instanceof Event.ProducerAdded added
                ? added.producer()
                : ((Event.ProducerRemoved) step.event()).producer();
    }

    private static Evidence taped(long call, String name) {
        return Evidence.taped("call " + call + ", " + name);
    }

    private static Evidence taped(Step step) {
        return taped(step.at(), step.call());
    }

    private Evidence wholeTape() {
        return Evidence.taped("none of " + vmm.calls + " calls");
    }

    private Chain chain(TapedVmm.Device device, Producer vector, Optional<Step> step) {
        String interrupt = vector.kind() == Producer.Kind.INTX
                ? vector.kind().label()
                : vector.kind().label() + " " + vector.number();
        List<Link> links = new ArrayList<>();
        List<String> remarks = new ArrayList<>();
        links.add(hostIrq(device, vector));
        links.add(deviceVector(device, interrupt, step));
        Optional<EventFdId> eventfd = step.flatMap(Step::eventfd);
        Optional<Step> irqfd = Optional.empty();
        if (isWhole(links) && eventfd.isPresent()) {
            links.add(Link.whole(
                    Hop.EVENTFD,
                    taped(step.orElseThrow()),
                    vmm.log.file(eventfd.get()),
                    "VFIO signals it for " + interrupt));
            Optional<Step> last = vmm.log.irqfd(eventfd.get());
            irqfd = last.filter(one -> one.eventfd().isPresent());
            links.add(irqfd.map(TapedChains::irqfd).orElseGet(() -> noIrqfd(eventfd.get(), last)));
        }
        if (irqfd.isPresent()) {
            ofGsi(irqfd.get(), links, remarks);
        }
        remarks(device, irqfd, remarks);
        return new Chain(
                name(device),
                interrupt,
                Optional.of(vmm.program(device.pid)),
                links,
                irqfd.filter(whole -> isWhole(links))
                        .map(whole -> posting.claims(vector, whole))
                        .orElse(List.of()),
                remarks);
    }

    private static boolean isWhole(List<Link> links) {
        return links.stream().noneMatch(link -> link.state() == Link.State.BROKEN);
    }

    // Links

    private Link hostIrq(TapedVmm.Device device, Producer vector) {
        Optional<ArmedVector> now = PciDevice.addressOf(name(device))
                .flatMap(address -> host.interrupts().map(all -> all.armed(address)))
                .orElse(List.of())
                .stream()
                .filter(one -> one.kind().label().equals(vector.kind().label()) && one.vector() == vector.number())
                .findFirst();
        return now.map(one -> Link.whole(
                        Hop.HOST_IRQ,
                        Evidence.observed("/proc/interrupts"),
                        String.valueOf(one.irq().number()),
                        "the host has it for this vector now"))
                .orElseGet(() -> Link.notShown(
                        Hop.HOST_IRQ, "no tape shows it", "kvmirq explain " + name(device) + " while the VMM runs"));
    }

    private Link deviceVector(TapedVmm.Device device, String interrupt, Optional<Step> vector) {
        String remedy = "let the guest's driver enable and unmask the interrupt";
        if (device.closed.isPresent()) {
            return Link.broken(
                    Hop.DEVICE_VECTOR,
                    taped(device.closed.get(), "close"),
                    "the VMM closed the device",
                    "add --at " + (device.closed.get() - 1) + " to see it before that call");
        }
        if (vector.isEmpty()) {
            return Link.broken(
                    Hop.DEVICE_VECTOR, wholeTape(), "the VMM never armed " + interrupt + " with an eventfd", remedy);
        }
        Step known = vector.get();
        if (!known.had()
                && vmm.log.vectors(device).stream()
                        .anyMatch(other -> other.eventfd().isPresent())) {
            return new Link(
                    Hop.DEVICE_VECTOR,
                    Link.State.IDLE,
                    Optional.of(taped(known)),
                    Optional.empty(),
                    interrupt
                            + " never had an eventfd, and others of the device have one: the guest masks it or does not use"
                            + " it",
                    List.of());
        }
        if (known.eventfd().isEmpty()) {
            return Link.broken(
                    Hop.DEVICE_VECTOR,
                    taped(known),
                    interrupt + " has no eventfd: the VMM took it away, as for a vector that the guest masks",
                    remedy);
        }
        return known.eventfd()
                .flatMap(vmm.log::mask)
                .map(mask -> Link.broken(
                        Hop.DEVICE_VECTOR,
                        taped(mask),
                        interrupt + " is masked through VFIO",
                        "unmask it: VFIO_IRQ_SET_ACTION_UNMASK"))
                .orElseGet(() -> Link.whole(Hop.DEVICE_VECTOR, taped(known), interrupt, "armed with an eventfd"));
    }

    private static Link irqfd(Step irqfd) {
        return Link.whole(Hop.IRQFD, taped(irqfd), irqfd.vm(), "feeds " + irqfd.gsi());
    }

    private Link noIrqfd(EventFdId event, Optional<Step> ended) {
        String eventfd = vmm.log.file(event);
        TapedVmm.@Nullable Unroutable beyond = vmm.unroutable.get(event);
        if (beyond != null) {
            return Link.broken(
                    Hop.IRQFD,
                    taped(beyond.at(), "KVM_IRQFD"),
                    eventfd + " was assigned to gsi " + beyond.gsi()
                            + ", which no routing table has: each signal is lost",
                    "use a GSI from 0 to " + Gsi.MAX);
        }
        String userspace = vmm.lastRead(event)
                .map(call -> ": the VMM reads " + eventfd + " itself (call " + call + ") and may inject the interrupt")
                .orElse("");
        return ended.map(one -> Link.broken(
                        Hop.IRQFD,
                        taped(one),
                        "the irqfd of " + eventfd + " to " + one.gsi() + " is gone: "
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

    private void ofGsi(Step irqfd, List<Link> links, List<String> remarks) {
        Optional<Step> target = vmm.log.target(irqfd.vm(), irqfd.gsi());
        Optional<Step> found = target.filter(step -> !step.routes().isEmpty());
        if (found.isEmpty()) {
            links.add(unrouted(irqfd, target));
            return;
        }
        Step routed = found.get();
        String routes = routed.routes().stream().map(TapedChains::text).collect(Collectors.joining(", "));
        links.add(Link.whole(Hop.GSI, taped(routed), irqfd.gsi().toString(), "routed to " + routes));
        if (routed.since() > irqfd.at()) {
            remarks.add("the irqfd was assigned at call " + irqfd.at() + " and " + irqfd.gsi()
                    + " was routed only at call " + routed.since()
                    + ": what the device signalled between is lost; set the route first");
        }
        if (routed.routes().get(0) instanceof Route.Msi msi) {
            ofMessage(msi.message(), routed, links);
        } else {
            ofPin((Route.Pin) routed.routes().get(0), routed, links);
        }
    }

    private static void ofPin(Route.Pin pin, Step routed, List<Link> links) {
        String text = "only the entry of the pin names it, which the guest writes";
        if (pin.chip() == Route.Chip.VGIC) {
            text = "the guest chooses it: GICD_IROUTER, or GICD_ITARGETSR of a GICv2";
            links.add(Link.whole(
                    Hop.GUEST_VECTOR, taped(routed), "INTID " + (Spi.FIRST + pin.pin()), "SPI " + pin.pin()));
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

    private static Link unrouted(Step irqfd, Optional<Step> removed) {
        String lost = ": each signal is lost";
        return removed.map(step -> Link.broken(
                        Hop.GSI,
                        taped(step),
                        irqfd.gsi() + " has an irqfd, and its route was removed" + lost,
                        step.at() > irqfd.at()
                                ? "keep the route while the irqfd is assigned; to mask, deassign the irqfd"
                                : "set the route before the irqfd is assigned"))
                .orElseGet(() -> Link.broken(
                        Hop.GSI,
                        taped(irqfd.at(), "KVM_IRQFD, and no route before or after it"),
                        irqfd.gsi() + " has an irqfd and never had a route" + lost,
                        "set the route before the irqfd is assigned"));
    }

    private void ofMessage(MsiMessage message, Step routed, List<Link> links) {
        if (!vmm.x86) {
            ofEvent(message, routed, links);
            return;
        }
        ApicMessage apic = ApicMessage.of(new CompatibilityMsi(message.address(), message.data()));
        Evidence evidence = taped(routed);
        String vector = "0x" + Integer.toHexString(apic.vector());
        links.add(Link.whole(
                Hop.GUEST_VECTOR,
                evidence,
                apic.mode().hasVector() ? vector : apic.mode().toString(),
                "delivery mode " + apic.mode()));
        links.add(vcpu(apic, evidence, routed.vm()));
    }

    /** vgic_msi_to_its() drops a message without device id, and one to an address that is of no ITS. */
    private void ofEvent(MsiMessage message, Step routed, List<Link> links) {
        Evidence evidence = taped(routed);
        VlpiObstacle obstacle = message.deviceId().isEmpty() ? VlpiObstacle.NO_DEVICE_ID : VlpiObstacle.NO_ITS;
        boolean reached = vmm.log
                .events(routed.vm(), Event.ItsAdded.class)
                .map(its -> message.address() - its.its())
                .anyMatch(offset -> offset >= 0 && offset < ITS_SIZE);
        if (message.deviceId().isEmpty() || !reached) {
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

    private Link vcpu(ApicMessage message, Evidence evidence, String vm) {
        List<VcpuId> vcpus = vmm.log.vcpus(vm);
        boolean wide = vmm.log.events(vm, Event.ApicIdsWidened.class).findAny().isPresent();
        String destination = "destination 0x" + Integer.toHexString(message.destination(wide));
        if (vcpus.size() == 1 && message.logical()) {
            return Link.whole(
                    Hop.VCPU,
                    Evidence.inferred("the VM has one vCPU"),
                    vcpus.get(0).toString(),
                    "logical " + destination);
        }
        if (message.logical()) {
            return Link.notShown(
                    Hop.VCPU,
                    "logical " + destination + " means one of " + vcpus.size()
                            + " vCPUs, and the guest sets their logical ids",
                    "/proc/irq/N/effective_affinity in the guest");
        }
        // As if in x2APIC mode: physical destinations do not depend on it, and the guest has set no logical id yet.
        List<LapicIds> meant = new Destinations<>(
                        vcpus.stream()
                                .map(vcpu -> LapicIds.x2apic(vcpu.number()))
                                .toList(),
                        wide,
                        true,
                        true)
                .meant(message);
        if (meant.isEmpty()) {
            return Link.broken(
                    Hop.VCPU,
                    evidence,
                    "physical " + destination + " means none of the VM's " + vcpus.size() + " vCPUs",
                    "route to the APIC id of a vCPU");
        }
        return Link.whole(
                Hop.VCPU,
                Evidence.inferred("the APIC id of a vCPU is the id in KVM_CREATE_VCPU, unless the guest changes it"),
                meant.stream().map(one -> "vcpu " + one.vcpuId()).collect(Collectors.joining(", ")),
                "physical " + destination);
    }

    // Remarks

    private void remarks(TapedVmm.Device device, Optional<Step> irqfd, List<String> remarks) {
        irqfd.map(Step::vm)
                .filter(vm -> !vmm.isKnownTo(vm, device))
                .ifPresent(vm -> remarks.add("the device's file is not in a KVM-VFIO device of " + vm
                        + ": KVM does not know that the VM has a device, which posting does not need and non-coherent"
                        + " DMA does"));
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
