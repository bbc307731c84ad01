/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.host.facts.Fact;
import io.kvmirq.host.trace.Btf.Kind;
import java.util.ArrayList;
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
 *
 * <p>Source: {@code irqfd_wakeup()} in virt/kvm/eventfd.c, {@code kvm_arch_set_irq_inatomic()} in arch/x86/kvm/irq_comm.c
 * and arch/arm64/kvm/vgic/vgic-irqfd.c, {@code vfio_msihandler()} in drivers/vfio/pci/vfio_pci_intrs.c, {@code struct
 * kvm_kernel_irqfd} in include/linux/kvm_irqfd.h; Documentation/trace/kprobetrace.rst and histogram.rst.
 *
 * @param name begins the names of all probes, such as {@code kvmirq_4711_123456_4026531836}
 * @param hostIrq the probe of VFIO's handler; not known on a host without it
 * @param wakeup the probe where an irqfd takes a signal
 * @param delivered the probe where KVM has delivered it, or not
 */
record ProbePlan(String name, Fact<String> hostIrq, String wakeup, String delivered) {
    /** The group of our probes. */
    static final String GROUP = "kvmirq";

    static final String HOST_IRQ = "_host_irq";
    static final String WAKEUP = "_wakeup";
    static final String DELIVERED = "_delivered";
    /** The synthetic event: a delivery with the irqfd that asked for it. */
    static final String SENT = "_sent";

    static final String HANDLERS = "irq,id";
    static final String IRQFDS = "wait,id,gsi";
    static final String VMS = "wait,id,pid";
    static final String ROUTES = "wait,id,type";
    /** A histogram has at most three keys. An eventfd feeds one irqfd of a VM. */
    static final String MESSAGES = "id,address,data";

    static final String RESULTS = "wait,id,ret";
    static final String CALLERS = "id,common_pid";
    static final String CPU = "common_cpu";
    static final String EVENTFD = "id";
    /** The kernel's own event where KVM injects a vector. */
    static final String INJECTED = "kvm/kvm_inj_virq";

    static final String THREAD = "common_pid";

    private static final String IRQFD = "kvm_kernel_irqfd";
    /** EPOLLIN: the eventfd was signalled. It is also woken when it is closed. */
    static final String SIGNALLED = " if events & 1";

    /** Handlers of interrupts and softirqs run in any thread. */
    private static final String BY_THREADS = " && !(common_flags & 24)";

    static final String IN_HANDLERS = " && common_flags & 8";

    private static final String TRACEPOINTS = "use --live=tracepoints";

    private static final int WAKEUP_PARAMETERS = 4;

    /** A trigger: its event as GROUP/NAME, and the line. */
    record Trigger(String event, String line) {}

    /** Arguments of the probe of {@code irqfd_wakeup()}, whose first parameter is the irqfd's wait queue entry. */
    private record Layout(Btf kvm, long entry) {
        Fact<String> at(String path, int bits) {
            return member(IRQFD, path, bits).map(offset -> String.format(Locale.ROOT, "%+d($arg1)", offset - entry));
        }

        Fact<String> behind(String pointer, String type, String path) {
            return at(pointer, Long.SIZE)
                    .then(at -> member(type, path, Integer.SIZE).map(offset -> "+" + offset + "(" + at + ")"));
        }

        /** Both halves of a message's address, read at once: a histogram has three keys. */
        Fact<String> address() {
            String low = "irq_entry.msi.address_lo";
            return member(IRQFD, low, Integer.SIZE).then(at -> member(IRQFD, "irq_entry.msi.address_hi", Integer.SIZE)
                    .then(high -> high == at + Integer.BYTES
                            ? at(low, Integer.SIZE)
                            : new Fact.Unknown<>(
                                    "this kernel's halves of an address of a message are apart", TRACEPOINTS)));
        }

        Fact<Long> member(String type, String path, int bits) {
            return kvm.member(Kind.STRUCT, type, path)
                    .then(one -> one.isWhole() && one.bits() == bits
                            ? new Fact.Known<>(one.offset())
                            : new Fact.Unknown<>(
                                    "this kernel's " + type + "." + path + " has " + one.bits() + " bits, expected "
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
    static Fact<ProbePlan> of(String name, Fact<Btf> types, Fact<Btf> vfio) {
        return types.then(kvm -> hasParameters(kvm, "irqfd_wakeup", WAKEUP_PARAMETERS)
                .then(yes -> hasParameters(kvm, "kvm_arch_set_irq_inatomic", 1))
                .then(yes -> kvm.member(Kind.STRUCT, IRQFD, "wait"))
                .then(wait -> wakeup(name, new Layout(kvm, wait.offset())))
                .map(wakeup -> new ProbePlan(
                        name,
                        hostIrq(name, vfio),
                        wakeup,
                        "r:" + GROUP + "/" + name + DELIVERED + " " + in(kvm, "kvm")
                                + "kvm_arch_set_irq_inatomic ret=$retval:s32")));
    }

    private static Fact<Boolean> hasParameters(Btf btf, String function, int fewest) {
        return btf.parameters(function)
                .then(parameters -> parameters.size() < fewest
                        ? new Fact.Unknown<>(
                                "this kernel's " + function + " has " + parameters.size() + " parameters, expected "
                                        + fewest,
                                TRACEPOINTS)
                        : new Fact.Known<>(true));
    }

    /** A function of a module has its name in front. One of a driver that is built in has none. */
    private static String in(Btf types, String module) {
        return types.isOfModule() ? module + ":" : "";
    }

    private static Fact<String> wakeup(String name, Layout irqfd) {
        String function = in(irqfd.kvm(), "kvm") + "irqfd_wakeup events=$arg4:u64 wait=$arg1:u64";
        Fact<String> probe = new Fact.Known<>("p:" + GROUP + "/" + name + WAKEUP + " " + function);
        for (Map.Entry<String, Fact<String>> one : List.of(
                Map.entry("id=%s:s32", irqfd.behind("eventfd", "eventfd_ctx", "id")),
                Map.entry("pid=%s:s32", irqfd.behind("kvm", "kvm", "userspace_pid")),
                Map.entry("gsi=%s:s32", irqfd.at("gsi", Integer.SIZE)),
                Map.entry("type=%s:u32", irqfd.at("irq_entry.type", Integer.SIZE)),
                Map.entry("address=%s:u64", irqfd.address()),
                Map.entry("data=%s:u32", irqfd.at("irq_entry.msi.data", Integer.SIZE)),
                // As wide as that of kvm_inj_virq, with which it is matched.
                Map.entry("vector=%s:b8@0/32", irqfd.at("irq_entry.msi.data", Integer.SIZE)))) {
            probe = probe.then(before ->
                    one.getValue().map(at -> before + " " + one.getKey().replace("%s", at)));
        }
        return probe;
    }

    private static Fact<String> hostIrq(String name, Fact<Btf> types) {
        return types.then(vfio -> hasParameters(vfio, "vfio_msihandler", 2)
                .then(yes -> vfio.member(Kind.STRUCT, "eventfd_ctx", "id"))
                .map(id -> "p:" + GROUP + "/" + name + HOST_IRQ + " " + in(vfio, "vfio_pci_core")
                        + "vfio_msihandler irq=$arg1:s32 id=+" + id.offset() + "($arg2):s32"));
    }

    /** The probes, as {@code kprobe_events} takes them. */
    List<String> probes() {
        return hostIrq.known()
                .map(first -> List.of(first, wakeup, delivered))
                .orElseGet(() -> List.of(wakeup, delivered));
    }

    /** The synthetic event, as {@code synthetic_events} takes it. */
    String synthetic() {
        return name + SENT + " u64 wait; s32 id; s32 ret";
    }

    /**
     * The triggers in the order in which they begin: from the vCPU to the device, so that a later stage counts all that an
     * earlier one counts.
     *
     * @param injected the fields of {@link #INJECTED}
     */
    List<Trigger> triggers(Injected injected) {
        String woken = GROUP + "/" + name + WAKEUP;
        List<Trigger> triggers = new ArrayList<>();
        if (injected.isThere()) {
            triggers.add(new Trigger(INJECTED, "hist:keys=" + injected.keys() + injected.condition()));
        }
        triggers.addAll(List.of(
                new Trigger(woken, "hist:keys=" + CPU + ":w=wait,i=id" + SIGNALLED),
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
        hostIrq.known()
                .ifPresent(probe -> triggers.add(new Trigger(GROUP + "/" + name + HOST_IRQ, "hist:keys=" + HANDLERS)));
        return triggers;
    }
}
