/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.FormClaims;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.LinkRow;
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
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * A chain's links in a process: from the eventfd to the vCPU. VFIO and KVM show none of them, so they are inferred if
 * only one possibility is left. For one use by one thread.
 */
final class ProcessLinks {
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
        armed.forEach(vector -> places.put(vector, places.size()));
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
        List<String> clauses = new ArrayList<>();
        clauses.add(LinkRow.text("process.no-vm", String.join(", ", users)));
        host.sharedEventfds(device).forEach((vm, ids) -> {
            String shared = LinkRow.text("process.shared", vm.name(), vm.pid(), Finding.some(ids, MOST_NAMED));
            clauses.add(clauses.size() == 1 ? LinkRow.text("process.shares", shared) : shared);
        });
        return String.join("; ", clauses);
    }

    /** The links of a device that no process with a VM is seen to have. */
    List<Link> ofNone() {
        List<Link> links = new ArrayList<>();
        Optional<Known.Unknown<Boolean>> hidden = host.hidesProcesses();
        for (Hop<?> hop : List.of(Hop.VMM, Hop.EVENTFD, Hop.IRQFD, Hop.GSI, Hop.GUEST_VECTOR, Hop.VCPU)) {
            links.add(
                    !users.isEmpty()
                            ? LinkRow.of("process.other", usedWithoutVm()).unseen(hop)
                            : hidden.map(why -> Link.notShown(hop, why))
                                    .orElseGet(() -> LinkRow.of("process.none").unseen(hop)));
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
                options.flatMap(given ->
                        given.noIrqfd(device.address(), interrupt.id().kind().orElseThrow())),
                target);
        Optional<Link> none = Flaws.check(path, GuestRules.NO_EVENTFD);
        if (none.isPresent()) {
            return List.of(none.get());
        }
        links.add(eventfd(path, interrupt));
        Optional<Link> noIrqfd = Flaws.check(path, GuestRules.IRQFD);
        if (noIrqfd.isPresent()) {
            links.add(noIrqfd.get());
            return links;
        }
        links.add(LinkRow.of("irqfd.not-shown").unseen());
        links.add(Flaws.check(path, GuestRules.ROUTES)
                .orElseGet(() -> LinkRow.of("gsi.not-shown").unseen()));
        links.add(lpi.map(found -> LinkRow.of("guest-vector.lpi")
                        .seen(
                                Evidence.inferred(
                                        "the VM has no other VFIO device, and guests map vector n to event n"),
                                "LPI " + found.id())
                        .with(Hop.GUEST_VECTOR, List.of(new GuestVector(found.id()))))
                .orElseGet(() -> LinkRow.of("guest-vector.not-shown").unseen()));
        links.add(new Flaws().apply(path, GuestRules.VCPU).or(path.evidence(VCPUS), vcpu(process, target)));
        return links;
    }

    /** An eventfd in an epoll of the process rarely belongs to an irqfd. */
    private Link eventfd(GuestRules.Path path, SeenInterrupt interrupt) {
        VmProcess process = path.process();
        Eventfds known = eventfds;
        if (known == null || !known.of().equals(process)) {
            known = Eventfds.read(process);
            eventfds = known;
        }
        Optional<EventfdFile> own = own(known, interrupt);
        Optional<Link> flaw = known.unread().stream()
                .filter(file -> own.map(file::equals).orElseGet(() -> mayBeOf(file, interrupt)))
                .max((file, other) -> Long.compareUnsigned(file.count(), other.count()))
                .flatMap(file -> new Flaws()
                        .apply(
                                new GuestRules.Unread(new Fact.Facts(host), process.pid(), file, own.isPresent()),
                                GuestRules.UNREAD)
                        .flawed(Hop.EVENTFD, Optional.of(name(file)))
                        .map(link -> own.isPresent() ? link.with(Hop.EVENTFD, id(file)) : link));
        if (flaw.isPresent()) {
            return flaw.get();
        }
        List<EventfdFile> all = process.eventfds();
        Flaws counts = new Flaws();
        boolean counted = counts.ask(path, GuestRules.COUNTS).isPresent();
        return counts.or(
                path.evidence(GuestRules.COUNTS.file()),
                all.size() == 1 && counted
                        ? LinkRow.of("eventfd.only", all.get(0).fd(), process.pid())
                                .seen(
                                        Evidence.inferred("it is the only eventfd of process " + process.pid()),
                                        name(all.get(0)))
                                .with(Hop.EVENTFD, id(all.get(0)))
                        : known.link());
    }

    /** Remarks about eventfds of a process that nothing reads. */
    List<String> unread(VmProcess process) {
        List<String> remarks = new ArrayList<>();
        // eventfd_ctx_do_read() in irqfd_wakeup().
        Optional<Boolean> drains = host.has(KernelChange.IRQFD_EMPTIES);
        List<EventfdFile> full = !waitsByEpoll(process)
                ? List.of()
                : process.eventfds().stream()
                        .filter(eventfd -> eventfd.count() != 0 && !eventfd.polled())
                        .toList();
        if (drains.orElse(false)) {
            full.forEach(file -> remarks.add(
                    LinkRow.text("eventfd.unread", name(file), process.pid(), Long.toUnsignedString(file.count()))));
        } else if (drains.isEmpty() && !full.isEmpty()) {
            remarks.add(
                    full.size() == 1
                            ? LinkRow.text("eventfd.perhaps-unread", name(full.get(0)), process.pid())
                            : LinkRow.text(
                                    "eventfd.perhaps-unread-more", name(full.get(0)), process.pid(), full.size() - 1));
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
     * @param link the one that names them
     */
    private record Eventfds(
            VmProcess of, List<EventfdFile> named, List<EventfdFile> unread, boolean isOrdered, Link link) {
        static Eventfds read(VmProcess process) {
            List<EventfdFile> all = process.eventfds();
            List<EventfdFile> unpolled =
                    all.stream().filter(file -> !file.polled()).toList();
            boolean partly = !unpolled.isEmpty() && unpolled.size() < all.size();
            List<EventfdFile> named = partly ? unpolled : all;
            List<Integer> ids =
                    named.stream().flatMap(file -> file.id().stream().boxed()).toList();
            String fds = Finding.some(named.stream().map(EventfdFile::fd).toList(), MOST_NAMED);
            LinkRow row = LinkRow.of(
                    named.size() == 1 ? "eventfd.one-of" : "eventfd.some-of",
                    process.pid(),
                    unpolled.isEmpty()
                            ? LinkRow.text("eventfd.polled", fds)
                            : partly ? LinkRow.text("eventfd.not-polled", fds) : fds);
            boolean ordered = ids.size() == named.size()
                    && ids.equals(ids.stream().sorted().toList());
            List<EventfdFile> unread = all.stream()
                    .filter(file -> Long.compareUnsigned(file.count(), UNREAD) >= 0)
                    .toList();
            return new Eventfds(process, named, unread, ordered, row.unseen());
        }
    }

    /** Each handler of the host irq adds one signal, so only write(2) makes an eventfd full. */
    private static boolean mayBeOf(EventfdFile file, SeenInterrupt interrupt) {
        return Long.compareUnsigned(file.count(), GuestRules.FULL_COUNT) >= 0
                || interrupt
                        .armed()
                        .filter(vector -> vector.count() >= file.count())
                        .isPresent();
    }

    private static List<EventFdId> id(EventfdFile file) {
        return file.id().stream().mapToObj(EventFdId::new).toList();
    }

    private static String name(EventfdFile file) {
        return file.id().isPresent() ? "id " + file.id().getAsInt() : "descriptor " + file.fd();
    }

    private static Link vcpu(VmProcess process, OptionalInt target) {
        if (target.isPresent()) {
            return LinkRow.of("vcpu.its")
                    .seen(
                            Evidence.inferred(
                                    "the vLPIs in vgic-state have this target, and the VM has no other VFIO device"),
                            List.of(target.getAsInt()));
        }
        int vcpus = process.vcpus().size();
        return vcpus == 1
                ? LinkRow.of("vcpu.one", process.vcpus().get(0).id()).unseen()
                : LinkRow.of("vcpu.some", vcpus).unseen();
    }
}
