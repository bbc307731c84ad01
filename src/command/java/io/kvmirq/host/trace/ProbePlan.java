/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.trace.Btf.Kind;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Probes for one process on one kernel: the functions where an eventfd, its irqfd and the result of a delivery can be read,
 * with offsets from the kernel's BTF, and the histograms in which the kernel counts them. Immutable.
 *
 * <p>An irqfd is named by the address of its entry in the eventfd's wait queue and by the eventfd's id, because the kernel
 * uses the address of a removed one again. {@code irqfd_wakeup()} runs with interrupts
 * disabled and calls {@code kvm_arch_set_irq_inatomic()}, so the return of that function on the same CPU belongs to it.
 * A worker raises the others in {@code irqfd_inject()}, where its thread calls {@code kvm_set_irq()} first. KVM copies the
 * route of a GSI into the irqfd only if it is the only one: type 0 is a GSI without a route, or with several.
 *
 * <p>Source: {@code irqfd_wakeup()} in virt/kvm/eventfd.c, {@code kvm_arch_set_irq_inatomic()} in arch/x86/kvm/irq_comm.c
 * and arch/arm64/kvm/vgic/vgic-irqfd.c, {@code vfio_msihandler()} and {@code vfio_intx_handler()} in
 * drivers/vfio/pci/vfio_pci_intrs.c, {@code struct kvm_kernel_irqfd} in include/linux/kvm_irqfd.h; Documentation/trace/kprobetrace.rst and histogram.rst.
 *
 * @param name begins the names of all probes, such as {@code kvmirq_4711_123456_4026531836}
 * @param hostIrq the probe of VFIO's handler of messages; not known on a host without it
 * @param intx a probe of the same name in its handler of INTx; not known on a kernel that keeps the eventfd elsewhere
 * @param wakeup the probe where an irqfd takes a signal
 * @param delivered the probe where KVM has delivered it, or not
 * @param worker the probe where a worker begins to raise it
 * @param raised the probe where KVM has raised it, or not
 * @param queued the probe where the VGIC of arm64 queues an interrupt for a vCPU, if it is enabled; not known on x86
 */
record ProbePlan(
        String name,
        Known<String> hostIrq,
        Known<String> intx,
        String wakeup,
        String delivered,
        String worker,
        String raised,
        Known<String> queued) {
    /** The group of our probes. */
    static final String GROUP = "kvmirq";

    static final String HOST_IRQ = "_host_irq";
    static final String WAKEUP = "_wakeup";
    static final String DELIVERED = "_delivered";
    static final String WORKER = "_worker";
    static final String RAISED = "_raised";
    static final String QUEUED = "_queued";
    /** The synthetic event: a delivery and its irqfd. */
    static final String SENT = "_sent";
    /** The synthetic event: the result of a worker, with its eventfd. */
    static final String BY_WORKER = "_by_worker";
    /** The synthetic event: a vCPU for which a worker had a vector, with the eventfd. */
    static final String TO_VCPU = "_to_vcpu";
    /** The synthetic event: a worker asked no chip, because its GSI has no route. */
    static final String UNROUTED = "_unrouted";

    static final String HANDLERS = "irq,id";
    static final String IRQFDS = "wait,id,gsi";
    static final String VMS = "wait,id,pid";
    static final String ROUTES = "wait,id,type";
    /** A histogram has at most three keys. An eventfd feeds one irqfd of a VM. */
    static final String MESSAGES = "id,address,data";

    static final String RESULTS = "wait,id,ret";
    static final String RAISES = "id,ret";
    static final String VCPUS = "id,vcpu,vec";
    static final String CALLERS = "id,common_pid";
    static final String FUNCTION = "own";
    static final String WAITERS = "id,next,other";
    static final String CPU = "common_cpu";
    static final String EVENTFD = "id";
    /** A worker raises the GSI of an irqfd without a resamplefd, and lowers it at once. */
    private static final String PULSED = " if resampler == 0";

    /** The kernel's own event where KVM injects a vector. */
    static final String INJECTED = "kvm/kvm_inj_virq";

    /** The kernel's own event where a guest ends an interrupt, on x86. */
    static final String ENDED = "kvm/kvm_eoi";

    static final String ENDS = "common_pid,vector";

    /** The kernel's own event where a LAPIC gets a vector, on x86. */
    static final String ACCEPTED = "kvm/kvm_apic_accept_irq";

    static final String THREAD = "common_pid";

    private static final String IRQFD = "kvm_kernel_irqfd";
    /** EPOLLIN: the eventfd was signalled. It is also woken when it is closed. */
    static final String SIGNALLED = " if events & 1";

    /** Handlers of interrupts and softirqs run in any thread. */
    private static final String BY_THREADS = " && !(common_flags & 24)";

    static final String IN_HANDLERS = " && common_flags & 8";

    /** A vCPU has SGIs and PPIs of its own, such as those of its timer. */
    private static final String SHARED = " if vec >= 32";

    /** Fixed or lowest priority: the other delivery modes have no vector. */
    private static final String WITH_VECTOR = " if dm < 512";

    /** Where KVM asks a chip, on x86. */
    static final List<String> CHIPS = List.of("kvm/kvm_pic_set_irq", "kvm/kvm_ioapic_set_irq", "kvm/kvm_msi_set_irq");

    private static final String TRACEPOINTS = "use --live=tracepoints";

    private static final int WAKEUP_PARAMETERS = 4;

    /** A trigger: its event as GROUP/NAME, and the line. */
    record Trigger(String event, String line) {}

    /** Arguments of a probe whose first parameter is an entry of the irqfd: that of the wait queue, or the work. */
    private record Layout(Btf kvm, long entry) {
        Known<String> at(String path, int bits) {
            return member(IRQFD, path, bits).map(offset -> String.format(Locale.ROOT, "%+d($arg1)", offset - entry));
        }

        Known<String> behind(String pointer, String type, String path) {
            return at(pointer, Long.SIZE)
                    .then(at -> member(type, path, Integer.SIZE).map(offset -> "+" + offset + "(" + at + ")"));
        }

        /** A member of the irqfd that waits for the same eventfd behind this one. */
        Known<String> next(String path) {
            String entry = "wait.entry.next";
            return at(entry, Long.SIZE)
                    .then(next -> member(IRQFD, entry, Long.SIZE).then(from -> member(IRQFD, path, Long.SIZE)
                            .map(offset -> String.format(Locale.ROOT, "%+d(%s)", offset - from, next))));
        }

        /** Both halves of a message's address, read at once: a histogram has three keys. */
        Known<String> address() {
            String low = "irq_entry.msi.address_lo";
            return member(IRQFD, low, Integer.SIZE).then(at -> member(IRQFD, "irq_entry.msi.address_hi", Integer.SIZE)
                    .then(high -> high == at + Integer.BYTES
                            ? at(low, Integer.SIZE)
                            : new Known.Unknown<>(
                                    "this kernel's halves of a message's address are not adjacent", TRACEPOINTS)));
        }

        Known<Long> member(String type, String path, int bits) {
            return kvm.member(Kind.STRUCT, type, path)
                    .then(member -> member.isWhole() && member.bits() == bits
                            ? new Known.Observed<>(member.offset())
                            : new Known.Unknown<>(
                                    "this kernel's " + type + "." + path + " has " + member.bits() + " bits, expected "
                                            + bits,
                                    TRACEPOINTS));
        }
    }

    /**
     * Plans probes for a kernel.
     *
     * @param name begins the names of all probes
     * @param types those of KVM
     * @param vfio those of {@code vfio_pci_core}
     * @return the plan, or what the kernel does not have
     */
    static Known<ProbePlan> plan(String name, Known<Btf> types, Known<Btf> vfio) {
        return types.then(kvm -> hasParameters(kvm, "irqfd_wakeup", WAKEUP_PARAMETERS)
                .then(yes -> hasParameters(kvm, "kvm_arch_set_irq_inatomic", 1))
                .then(yes -> hasParameters(kvm, "irqfd_inject", 1))
                .then(yes -> hasParameters(kvm, "kvm_set_irq", 1))
                .then(yes -> kvm.member(Kind.STRUCT, IRQFD, "wait"))
                .then(wait -> wakeup(name, new Layout(kvm, wait.offset())))
                .then(wakeup -> worker(name, kvm)
                        .map(worker -> new ProbePlan(
                                name,
                                hostIrq(name, vfio),
                                intx(name, vfio),
                                wakeup,
                                result(name + DELIVERED, kvm, "kvm_arch_set_irq_inatomic"),
                                worker,
                                result(name + RAISED, kvm, "kvm_set_irq"),
                                queued(name, kvm)))));
    }

    private static Known<String> queued(String name, Btf kvm) {
        Layout types = new Layout(kvm, 0);
        return hasParameters(kvm, "vgic_queue_irq_unlock", 2)
                .then(yes -> types.member("vgic_irq", "intid", Integer.SIZE))
                .then(intid -> types.member("vgic_irq", "target_vcpu", Long.SIZE)
                        .then(target -> types.member("kvm_vcpu", "vcpu_id", Integer.SIZE)
                                .map(id -> "p:" + GROUP + "/" + name + QUEUED + " " + in(kvm, "kvm")
                                        + "vgic_queue_irq_unlock vec=+" + intid + "($arg2):u32 vcpu=+" + id + "(+"
                                        + target + "($arg2)):u32")));
    }

    private static String result(String event, Btf kvm, String function) {
        return "r:" + GROUP + "/" + event + " " + in(kvm, "kvm") + function + " ret=$retval:s32";
    }

    private static Known<String> worker(String name, Btf kvm) {
        return kvm.member(Kind.STRUCT, IRQFD, "inject")
                .map(inject -> new Layout(kvm, inject.offset()))
                .then(irqfd -> irqfd.behind("eventfd", "eventfd_ctx", "id").then(id -> irqfd.at("resampler", Long.SIZE)
                        .map(resampler -> "p:" + GROUP + "/" + name + WORKER + " " + in(kvm, "kvm") + "irqfd_inject id="
                                + id + ":s32 resampler=" + resampler + ":u64")));
    }

    private static Known<Boolean> hasParameters(Btf btf, String function, int fewest) {
        return btf.parameters(function)
                .then(parameters -> parameters.size() < fewest
                        ? new Known.Unknown<>(
                                "this kernel's " + function + " has " + parameters.size() + " parameters, expected "
                                        + fewest,
                                TRACEPOINTS)
                        : new Known.Observed<>(true));
    }

    /** A function of a module has its name in front. One of a driver that is built in has none. */
    private static String in(Btf types, String module) {
        return types.isOfModule() ? module + ":" : "";
    }

    private static Known<String> wakeup(String name, Layout irqfd) {
        String function = in(irqfd.kvm(), "kvm") + "irqfd_wakeup events=$arg4:u64 wait=$arg1:u64";
        Known<String> probe = new Known.Observed<>("p:" + GROUP + "/" + name + WAKEUP + " " + function);
        for (Map.Entry<String, Known<String>> entry : List.of(
                Map.entry("id=%s:s32", irqfd.behind("eventfd", "eventfd_ctx", "id")),
                Map.entry("pid=%s:s32", irqfd.behind("kvm", "kvm", "userspace_pid")),
                Map.entry("gsi=%s:s32", irqfd.at("gsi", Integer.SIZE)),
                Map.entry("type=%s:u32", irqfd.at("irq_entry.type", Integer.SIZE)),
                Map.entry("address=%s:u64", irqfd.address()),
                Map.entry("data=%s:u32", irqfd.at("irq_entry.msi.data", Integer.SIZE)),
                // As wide as that of kvm_inj_virq, with which it is matched.
                Map.entry("vector=%s:b8@0/32", irqfd.at("irq_entry.msi.data", Integer.SIZE)))) {
            probe = probe.then(before ->
                    entry.getValue().map(at -> before + " " + entry.getKey().replace("%s", at)));
        }
        return probe.map(before -> before + waiters(irqfd).known().orElse(""));
    }

    /** The function of the next waiter, which is an irqfd if it is that of this one, and the creator of its VM. */
    private static Known<String> waiters(Layout irqfd) {
        return irqfd.at("wait.func", Long.SIZE).then(own -> irqfd.next("wait.func")
                .then(next -> irqfd.next("kvm").then(vm -> irqfd.member("kvm", "userspace_pid", Integer.SIZE)
                        .map(pid -> " own=" + own + ":u64 next=" + next + ":u64 other=+" + pid + "(" + vm + "):s32"))));
    }

    /** Whether the probe of the wakeup shows the next waiter. */
    boolean showsWaiters() {
        return wakeup.contains(" next=");
    }

    private static Known<String> hostIrq(String name, Known<Btf> types) {
        return types.then(vfio -> hasParameters(vfio, "vfio_msihandler", 2)
                .then(yes -> vfio.member(Kind.STRUCT, "eventfd_ctx", "id"))
                .map(id -> handler(name, vfio, "vfio_msihandler", "$arg2", id)));
    }

    /** The handler of INTx may find no eventfd: then there is no id to read, and the trigger leaves it out. */
    private static String handler(String name, Btf vfio, String function, String eventfd, Btf.Member id) {
        return "p:" + GROUP + "/" + name + HOST_IRQ + " " + in(vfio, "vfio_pci_core") + function
                + " irq=$arg1:s32 eventfd=" + eventfd + ":u64 id=+" + id.offset() + "(" + eventfd + "):s32";
    }

    /** The second parameter of the handler is the context of INTx, or before it knew its device, the device. */
    private static Known<String> intx(String name, Known<Btf> types) {
        String context = "vfio_pci_irq_ctx";
        return types.then(vfio -> hasParameters(vfio, "vfio_intx_handler", 2)
                .then(yes -> vfio.member(Kind.STRUCT, context, "vdev").known().isPresent()
                        ? new Known.Observed<>("$arg2")
                        : pointer(vfio, "vfio_pci_core_device", "ctx").map(ctx -> "+" + ctx + "($arg2)"))
                .then(at -> pointer(vfio, context, "trigger").map(trigger -> "+" + trigger + "(" + at + ")"))
                .then(trigger -> vfio.member(Kind.STRUCT, "eventfd_ctx", "id")
                        .map(id -> handler(name, vfio, "vfio_intx_handler", trigger, id))));
    }

    private static Known<Long> pointer(Btf types, String type, String member) {
        return types.member(Kind.STRUCT, type, member)
                .then(found -> found.pointer()
                        ? new Known.Observed<>(found.offset())
                        : new Known.Unknown<>(
                                "this kernel's " + type + "." + member + " is not a pointer", TRACEPOINTS));
    }

    /** The probes, as {@code kprobe_events} takes them. */
    List<String> probes() {
        List<String> probes = new ArrayList<>();
        hostIrq.known().ifPresent(probes::add);
        if (!probes.isEmpty()) {
            intx.known().ifPresent(probes::add);
        }
        probes.addAll(List.of(wakeup, delivered, worker, raised));
        queued.known().ifPresent(probes::add);
        return probes;
    }

    /** The synthetic events, as {@code synthetic_events} takes them. */
    List<String> synthetics() {
        return List.of(
                name + SENT + " u64 wait; s32 id; s32 ret",
                name + BY_WORKER + " s32 id; s32 ret",
                name + TO_VCPU + " s32 id; u32 vcpu; " + (queued.known().isPresent() ? "u32" : "u8") + " vec",
                name + UNROUTED + " s32 id");
    }

    /**
     * The triggers in the order in which they begin: from the vCPU to the device, so that a later stage counts all that an
     * earlier one counts.
     *
     * <p>The kernel clears a variable when an expression reads it, and only then. A worker of an irqfd without a resamplefd
     * calls {@code kvm_set_irq()} a second time, to lower the GSI: {@code r} is clear then.
     *
     * @param injected the fields of {@link #INJECTED}
     * @param events those of KVM
     */
    List<Trigger> triggers(Injected injected, Collection<String> events) {
        String woken = GROUP + "/" + name + WAKEUP;
        String onWorker = ":onmatch(" + GROUP + "." + name + WORKER + ").trace(" + name;
        String ofWorker = "hist:keys=" + THREAD + onWorker;
        boolean isAccepted = events.contains(ACCEPTED);
        List<Trigger> triggers = new ArrayList<>();
        if (events.contains(ENDED)) {
            triggers.add(new Trigger(ENDED, "hist:keys=" + ENDS));
        }
        if (injected.isThere()) {
            triggers.add(new Trigger(INJECTED, "hist:keys=" + injected.keys() + injected.condition()));
        }
        triggers.add(new Trigger(GROUP + "/" + name + WORKER, "hist:keys=" + THREAD + ":r=id,v=id"));
        triggers.add(new Trigger(GROUP + "/" + name + WORKER, "hist:keys=" + EVENTFD + PULSED));
        triggers.add(new Trigger("synthetic/" + name + UNROUTED, "hist:keys=" + EVENTFD));
        CHIPS.stream()
                .filter(events::contains)
                .forEach(chip -> triggers.add(new Trigger(chip, "hist:keys=" + THREAD + ":asked=" + THREAD + "-$v")));
        triggers.add(new Trigger("synthetic/" + name + BY_WORKER, "hist:keys=" + RAISES));
        triggers.add(new Trigger(
                GROUP + "/" + name + RAISED,
                "hist:keys=" + THREAD + ":raised=" + THREAD + "-$r" + onWorker + BY_WORKER + ",$r,ret)"));
        triggers.add(new Trigger(
                GROUP + "/" + name + RAISED,
                "hist:keys=" + THREAD + ":spent=" + THREAD + "-$v" + onWorker + UNROUTED + ",$v)"));
        String event = queued.known().map(yes -> GROUP + "/" + name + QUEUED).orElse("");
        if (isAccepted || !event.isEmpty()) {
            triggers.add(new Trigger("synthetic/" + name + TO_VCPU, "hist:keys=" + VCPUS));
        }
        if (isAccepted) {
            triggers.add(new Trigger(ACCEPTED, ofWorker + TO_VCPU + ",$r,apicid,vec)" + WITH_VECTOR));
        }
        triggers.add(
                new Trigger(woken, "hist:keys=" + CPU + ":w=wait,i=id" + (event.isEmpty() ? "" : ",q=id") + SIGNALLED));
        if (!event.isEmpty()) {
            triggers.add(new Trigger(event, ofWorker + TO_VCPU + ",$r,vcpu,vec)" + SHARED));
            // KVM has cached the ITS translation, so no worker is needed.
            triggers.add(new Trigger(
                    event,
                    "hist:keys=" + CPU + ":onmatch(" + GROUP + "." + name + WAKEUP + ").trace(" + name + TO_VCPU
                            + ",$q,vcpu,vec)" + SHARED + IN_HANDLERS));
        }
        triggers.addAll(List.of(
                new Trigger("synthetic/" + name + SENT, "hist:keys=" + RESULTS),
                new Trigger(
                        GROUP + "/" + name + DELIVERED,
                        "hist:keys=" + CPU + ":onmatch(" + GROUP + "." + name + WAKEUP + ").trace(" + name + SENT
                                + ",$w,$i,ret)"),
                new Trigger(woken, "hist:keys=" + CALLERS + SIGNALLED + BY_THREADS),
                new Trigger(woken, "hist:keys=" + MESSAGES + SIGNALLED),
                new Trigger(woken, "hist:keys=" + VMS + SIGNALLED),
                new Trigger(woken, "hist:keys=" + ROUTES + SIGNALLED),
                new Trigger(woken, "hist:keys=" + IRQFDS + SIGNALLED)));
        if (showsWaiters()) {
            triggers.add(new Trigger(woken, "hist:keys=" + FUNCTION + SIGNALLED));
            triggers.add(new Trigger(woken, "hist:keys=" + WAITERS + SIGNALLED));
        }
        hostIrq.known()
                .ifPresent(probe -> triggers.add(
                        new Trigger(GROUP + "/" + name + HOST_IRQ, "hist:keys=" + HANDLERS + " if eventfd != 0")));
        return triggers;
    }
}
