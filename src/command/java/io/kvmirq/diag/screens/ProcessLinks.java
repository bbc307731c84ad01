/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.FormClaims;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.sources.GuestLpis;
import io.kvmirq.diag.sources.VmmOptions;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.KernelChange;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.EventfdFile;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.GuestVector;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * The links of a chain that are in a process: from the eventfd to the vCPU. VFIO and KVM show none of them, so they are
 * inferred if only one possibility is left. For one use by one thread.
 */
final class ProcessLinks {
    private static final List<Remedy> BY_VMM = GuestRules.BY_VMM;
    private static final String NOT_SEEN =
            "start the guest; look on the host, not in a container; a copy of a host needs"
                    + " proc/PID of its VMM, so capture it while the guest runs";
    private static final String VCPUS = "proc/{process}/fd";
    private static final int MOST_NAMED = 8;
    /** More signals than a working reader leaves. */
    private static final long UNREAD = 1_000;

    private final HostFacts host;
    private final PciDevice device;
    private final List<String> users;
    private final Optional<VmmOptions> options;
    private final FormClaims forms;
    private final List<ArmedVector> armed;
    private final Map<ArmedVector, Integer> places = new HashMap<>();
    private @Nullable String used;
    private @Nullable Eventfds eventfds;

    /**
     * @param users the processes that have the device, with or without a VM
     * @param armed the vectors of the device that are armed, in their order
     */
    ProcessLinks(
            HostFacts host,
            PciDevice device,
            List<String> users,
            Optional<VmmOptions> options,
            FormClaims forms,
            List<ArmedVector> armed) {
        this.host = host;
        this.device = device;
        this.users = users;
        this.options = options;
        this.forms = forms;
        this.armed = armed;
        armed.forEach(one -> places.put(one, places.size()));
    }

    /** The reason why the rest of the chain is not shown, if processes without a VM have the device. */
    String usedWithoutVm() {
        String known = used;
        if (known == null) {
            known = describeUsers();
            used = known;
        }
        return known;
    }

    private String describeUsers() {
        StringBuilder shared = new StringBuilder();
        host.sharedEventfds(device)
                .forEach((vm, ids) -> shared.append(shared.length() == 0 ? "; of its eventfds, " : "; ")
                        .append(vm.name() + " (process " + vm.pid() + ") has open those with the eventfd-id ")
                        .append(Finding.some(ids, MOST_NAMED)));
        return "process " + String.join(", ", users)
                + " has the device or its group open and holds no VM: it is no VMM, or its VM is in another process"
                + shared;
    }

    /** The links of a device that no process with a VM is seen to have. */
    List<Link> ofNone() {
        List<Link> links = new ArrayList<>();
        Optional<Known.Unknown<Boolean>> hidden = host.hidesProcesses();
        String why = !users.isEmpty()
                ? usedWithoutVm()
                : hidden.map(Known.Unknown::why).orElse("no process is seen that has the device open");
        List<Remedy> remedies = !users.isEmpty()
                ? BY_VMM
                : List.of(Remedy.look(hidden.map(Known.Unknown::remedy).orElse(NOT_SEEN)));
        for (Hop<?> hop : List.of(Hop.VMM, Hop.EVENTFD, Hop.IRQFD, Hop.GSI, Hop.GUEST_VECTOR, Hop.VCPU)) {
            links.add(Link.notShown(hop, why, remedies)
                    .unseen(
                            users.isEmpty()
                                    ? hidden.stream().map(Known.Unknown::reason).toList()
                                    : List.of()));
        }
        return links;
    }

    /** The links in a process that holds a VM and the device, from the eventfd on. */
    List<Link> of(VmProcess process, SeenInterrupt interrupt) {
        List<Link> links = new ArrayList<>();
        Optional<GuestLpis.Lpi> lpi = forms.vlpi(interrupt, armed.size());
        OptionalInt target = lpi.map(GuestLpis.Lpi::target).orElseGet(() -> forms.commonTarget(armed.size()));
        GuestRules.Path path = new GuestRules.Path(
                new Fact.Facts(host),
                process,
                interrupt.armed().map(ArmedVector::count).orElse(0L),
                options.flatMap(VmmOptions::noLapics),
                options.flatMap(one ->
                        one.noIrqfd(device.address(), interrupt.id().kind().orElseThrow())),
                target);
        Optional<Link> none = Flaws.of(path, GuestRules.NO_EVENTFD);
        if (none.isPresent()) {
            return List.of(none.get());
        }
        links.add(eventfd(path, interrupt));
        Optional<Link> noIrqfd = Flaws.of(path, GuestRules.IRQFD);
        if (noIrqfd.isPresent()) {
            links.add(noIrqfd.get());
            return links;
        }
        links.add(Link.notShown(Hop.IRQFD, "KVM shows no irqfds", BY_VMM));
        links.add(Flaws.of(path, GuestRules.ROUTES)
                .orElseGet(() -> Link.notShown(Hop.GSI, "KVM shows no routes", BY_VMM)));
        links.add(lpi.map(one -> Link.whole(
                                Hop.GUEST_VECTOR,
                                Evidence.inferred(
                                        "VFIO gives the VM no other device, and guests give vector n event n"),
                                "LPI " + one.id(),
                                "a vLPI of the guest's ITS")
                        .with(Hop.GUEST_VECTOR, List.of(new GuestVector(one.id()))))
                .orElseGet(() -> Link.notShown(Hop.GUEST_VECTOR, "only the route names it", BY_VMM)));
        links.add(new Flaws().apply(path, GuestRules.VCPU).or(path.evidence(VCPUS), vcpu(process, target)));
        return links;
    }

    /** An eventfd in an epoll of the process rarely belongs to an irqfd. */
    private Link eventfd(GuestRules.Path path, SeenInterrupt interrupt) {
        VmProcess process = path.process();
        Eventfds known = eventfds;
        if (known == null || !known.of().equals(process)) {
            known = Eventfds.of(process);
            eventfds = known;
        }
        Optional<EventfdFile> own = own(known, interrupt);
        Optional<Link> flaw = known.unread().stream()
                .filter(one -> own.map(one::equals).orElseGet(() -> mayBeOf(one, interrupt)))
                .max((one, other) -> Long.compareUnsigned(one.count(), other.count()))
                .flatMap(one -> new Flaws()
                        .apply(
                                new GuestRules.Unread(new Fact.Facts(host), process.pid(), one, own.isPresent()),
                                GuestRules.UNREAD)
                        .flawed(Hop.EVENTFD, Optional.of(name(one)))
                        .map(link -> own.isPresent() ? link.with(Hop.EVENTFD, id(one)) : link));
        if (flaw.isPresent()) {
            return flaw.get();
        }
        List<EventfdFile> all = process.eventfds();
        Flaws counts = new Flaws();
        boolean counted = counts.look(path, GuestRules.COUNTS).isPresent();
        return counts.or(
                path.evidence(GuestRules.COUNTS.file()),
                all.size() == 1 && counted
                        ? Link.whole(
                                        Hop.EVENTFD,
                                        Evidence.inferred("it is the only eventfd of process " + process.pid()),
                                        name(all.get(0)),
                                        "descriptor " + all.get(0).fd() + " of process " + process.pid())
                                .with(Hop.EVENTFD, id(all.get(0)))
                        : Link.notShown(Hop.EVENTFD, known.text(), BY_VMM));
    }

    /** Remarks about eventfds of a process that nothing reads. */
    List<String> unread(VmProcess process) {
        List<String> remarks = new ArrayList<>();
        // eventfd_ctx_do_read() in irqfd_wakeup().
        Optional<Boolean> drains = host.has(KernelChange.IRQFD_EMPTIES);
        List<EventfdFile> full = !waitsByEpoll(process)
                ? List.of()
                : process.eventfds().stream()
                        .filter(one -> one.count() != 0 && !one.polled())
                        .toList();
        if (drains.orElse(false)) {
            full.forEach(one -> remarks.add("eventfd " + name(one) + " of process " + process.pid() + " has count "
                    + Long.toUnsignedString(one.count()) + ": nothing has read it"));
        } else if (drains.isEmpty() && !full.isEmpty()) {
            remarks.add("doubtful whether something reads eventfd " + name(full.get(0))
                    + " of process " + process.pid()
                    + (full.size() > 1 ? " and " + (full.size() - 1) + " more" : "")
                    + ": the kernel's release does not tell whether an irqfd resets the count");
        }
        return remarks;
    }

    /** No file shows that a process waits by poll(), as the main loop of QEMU does. */
    private static boolean waitsByEpoll(VmProcess process) {
        return process.eventfds().stream().anyMatch(EventfdFile::polled)
                && !process.command().startsWith("qemu")
                && !process.command().equals("kvm");
    }

    /** The kernel gives descriptors and ids in the order in which eventfds are made, and a VMM makes those of vectors in theirs. */
    private Optional<EventfdFile> own(Eventfds eventfds, SeenInterrupt interrupt) {
        List<EventfdFile> named = eventfds.named();
        if (named.size() == 1 && armed.size() == 1) {
            return Optional.of(named.get(0));
        }
        Integer place = interrupt.armed().map(places::get).orElse(null);
        return eventfds.isOrdered()
                        && place != null
                        && named.size() == armed.size()
                        && eventfds.of().devices().size() == 1
                ? Optional.of(named.get(place))
                : Optional.empty();
    }

    /**
     * The eventfds of a process that may be those of vectors: the ones in none of its epolls, if there are any.
     *
     * @param unread those of all with more signals than a working reader leaves
     * @param isOrdered whether each has an id, and the ids ascend with the descriptors
     * @param text the sentence that names them
     */
    private record Eventfds(
            VmProcess of, List<EventfdFile> named, List<EventfdFile> unread, boolean isOrdered, String text) {
        static Eventfds of(VmProcess process) {
            List<EventfdFile> all = process.eventfds();
            List<EventfdFile> unpolled =
                    all.stream().filter(one -> !one.polled()).toList();
            boolean some = !unpolled.isEmpty() && unpolled.size() < all.size();
            List<EventfdFile> named = some ? unpolled : all;
            List<Integer> ids =
                    named.stream().flatMap(one -> one.id().stream().boxed()).toList();
            String text = "VFIO does not show which one it signals; process " + process.pid() + " has the descriptor"
                    + (named.size() == 1 ? " " : "s ")
                    + Finding.some(named.stream().map(EventfdFile::fd).toList(), MOST_NAMED)
                    + (unpolled.isEmpty() ? ", all in its epolls" : some ? ", which are in none of its epolls" : "");
            boolean ordered = ids.size() == named.size()
                    && ids.equals(ids.stream().sorted().toList());
            List<EventfdFile> unread = all.stream()
                    .filter(one -> Long.compareUnsigned(one.count(), UNREAD) >= 0)
                    .toList();
            return new Eventfds(process, named, unread, ordered, text);
        }
    }

    /** Each handler of the host irq adds one signal, so only write(2) makes an eventfd full. */
    private static boolean mayBeOf(EventfdFile one, SeenInterrupt interrupt) {
        return Long.compareUnsigned(one.count(), GuestRules.FULL) >= 0
                || interrupt
                        .armed()
                        .filter(vector -> vector.count() >= one.count())
                        .isPresent();
    }

    private static List<EventFdId> id(EventfdFile one) {
        return one.id().stream().mapToObj(EventFdId::new).toList();
    }

    private static String name(EventfdFile one) {
        return one.id().isPresent() ? "id " + one.id().getAsInt() : "descriptor " + one.fd();
    }

    private static Link vcpu(VmProcess process, OptionalInt target) {
        if (target.isPresent()) {
            return Link.whole(
                    Hop.VCPU,
                    Evidence.inferred(
                            "the vLPIs in vgic-state have this target, and the VM has no other device of VFIO"),
                    List.of(target.getAsInt()),
                    "the guest's ITS sends it there");
        }
        return process.vcpus().size() == 1
                ? Link.notShown(
                        Hop.VCPU,
                        "vcpu " + process.vcpus().get(0).id()
                                + " is the only one of the VM, and no file shows that it gets the interrupt",
                        BY_VMM)
                : Link.notShown(
                        Hop.VCPU,
                        "the guest chooses one of " + process.vcpus().size() + " vCPUs in the message",
                        BY_VMM);
    }
}
