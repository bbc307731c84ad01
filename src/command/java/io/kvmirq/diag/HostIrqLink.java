/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.IntxLine;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.VcpuFile;
import io.kvmirq.vfio.IrqKind;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The link of a host irq that VFIO has armed: whether the kernel has disabled it, and which CPU it interrupts. For one
 * use by one thread.
 *
 * <p>Source: {@code note_interrupt()} in kernel/irq/spurious.c, {@code irq_spurious_proc_show()} in kernel/irq/proc.c,
 * {@code irq_debug_show()} in kernel/irq/debugfs.c, Documentation/core-api/irq/irq-affinity.rst.
 */
final class HostIrqLink {
    private static final String CPUS = "sys/devices/system/cpu/";
    /** The limit of unhandled interrupts of 100 000, above which {@code note_interrupt()} disables the line. */
    private static final long MOST_UNHANDLED = 99_900;
    /** A smaller number means a few stray interrupts of a shared line. */
    private static final long MANY_UNHANDLED = 1_000;
    /** Interrupts a second, on average since the host booted. */
    private static final long STORM = 100_000;

    private static final int MOST_VCPUS = 1024;
    private static final String DEBUGFS = "sys/kernel/debug/irq/irqs/";
    /** {@code msi_domain_debug_show()} in kernel/irq/msi.c. */
    private static final Pattern ADDRESS =
            Pattern.compile("address_hi: 0x([0-9a-f]{8})\\s+address_lo: 0x([0-9a-f]{8})");

    private final HostFacts host;
    private final HostFiles files;
    private final PciDevice device;
    /** The CPUs to which all vCPUs are pinned; empty if one may run anywhere. */
    private final BitSet pinned;

    private final Optional<BitSet> online;
    /** The CPUs of a vCPU that no file shows. */
    private Optional<String> unpinned = Optional.empty();

    HostIrqLink(HostFacts host, PciDevice device, Optional<VmProcess> vmm) {
        this.host = host;
        this.files = host.files();
        this.device = device;
        this.online = cpus(CPUS + "online");
        this.pinned = vmm.map(this::pinned).orElseGet(BitSet::new);
    }

    /**
     * The link of one of its interrupts.
     *
     * @param posted whether its entry is posted; then the CPU of the host irq is not checked
     */
    Link of(ArmedVector vector, boolean posted) {
        Looks looks = new Looks(files);
        String path = "proc/irq/" + vector.irq().number() + "/";
        boolean disabled = debugfs(looks, vector);
        if (!disabled) {
            spurious(looks, vector, path);
        }
        if (!posted) {
            affinity(looks, path);
        }
        if (vector.kind() != IrqKind.INTX
                && !device.messageIrqs().isEmpty()
                && !device.messageIrqs().contains(vector.irq())) {
            looks.doubt(
                    "sys/bus/pci/devices/" + device.address() + "/msi_irqs",
                    "VFIO has armed it, and it is none of the irqs of the device's messages");
        }
        if (vector.kind() == IrqKind.INTX
                && looks.text(DeviceLink.DEVICES + device.address() + "/irq", text -> text.matches("\\d{1,9}"))
                        .isPresent()
                && device.irq() > 0
                && device.irq() != vector.irq().number()) {
            looks.doubt(
                    "sys/bus/pci/devices/" + device.address() + "/irq",
                    "VFIO has armed it for the pin, and sysfs names irq " + device.irq() + " of the device");
        }
        counts(looks, vector);
        thread(looks, vector);
        return looks.link(
                        Hop.HOST_IRQ,
                        Evidence.observed("/proc/interrupts"),
                        String.valueOf(vector.irq().number()),
                        "chip " + vector.chip() + ", handled "
                                + (vector.count() == 1 ? "once" : vector.count() + " times") + " by the host")
                .numbered(List.of((long) vector.irq().number()));
    }

    /** Whether a message to the address is an interrupt. On arm64 only 0 is certainly not the address of an ITS. */
    static boolean reachesCpu(boolean arm, long address) {
        return arm ? address != 0 : address >> 20 == CompatibilityMsi.BASE;
    }

    /** True if it shows that the irq is disabled. */
    private boolean debugfs(Looks looks, ArmedVector vector) {
        String file = DEBUGFS + vector.irq().number();
        boolean shows = !files.list(DEBUGFS.substring(0, DEBUGFS.length() - 1)).isEmpty();
        String text = looks.text(file, shows, one -> one.contains("ddepth:")).orElse("");
        Matcher address = ADDRESS.matcher(text);
        if (vector.kind() != IrqKind.INTX && address.find()) {
            long at = Long.parseUnsignedLong(address.group(1) + address.group(2), 16);
            if (!reachesCpu(host.isArm(), at)) {
                looks.broken(
                        file,
                        String.format(
                                "the address of its message is 0x%x: the device writes it to memory, and not to a CPU",
                                at),
                        enable(vector));
            }
        }
        if (text.contains("IRQS_SPURIOUS_DISABLED")) {
            looks.broken(file, nobodyCared(vector), enable(vector));
            return true;
        }
        boolean disabled = text.contains("IRQD_IRQ_DISABLED")
                || text.lines().anyMatch(line -> line.matches("ddepth:\\s+[1-9]\\d*"));
        if (disabled && vector.kind() == IrqKind.INTX) {
            looks.doubt(
                    file,
                    "the line is disabled at the interrupt controller: right only while the guest handles an interrupt"
                            + " of it, or masks it");
        } else if (disabled) {
            looks.broken(file, "the irq is disabled in the kernel, though VFIO has armed it", enable(vector));
        }
        if (text.contains("IRQS_PENDING") && vector.kind() != IrqKind.INTX && !disabled) {
            looks.doubt(file, "the device has sent it, and the kernel keeps it pending: its handler has not run");
        }
        chip(looks, vector, file, text, disabled);
        if (text.contains("IRQD_AFFINITY_SET") && text.contains("IRQD_SETAFFINITY_PENDING")) {
            looks.doubt(file, "a change of its affinity waits for its next interrupt");
        }
        return disabled;
    }

    private static void chip(Looks looks, ArmedVector vector, String file, String text, boolean disabled) {
        if (text.contains("IRQD_MANAGED_SHUTDOWN")) {
            looks.broken(
                    file,
                    "the kernel has shut the irq down, since all CPUs of its affinity are offline",
                    Remedy.command("set the CPUs online, or give the irq others"));
        } else if (text.contains("IRQD_ACTIVATED") && !text.contains("IRQD_IRQ_STARTED") && !disabled) {
            looks.doubt(file, "the kernel has not started the irq, though VFIO has armed it");
        } else if (text.contains("IRQD_IRQ_MASKED") && vector.kind() != IrqKind.INTX && !disabled) {
            looks.doubt(file, "the irq is masked at the interrupt controller, though VFIO has armed it");
        }
    }

    private static String nobodyCared(ArmedVector vector) {
        return "the kernel has disabled the irq: no handler took its interrupts (\"irq "
                + vector.irq().number() + ": nobody cared\")";
    }

    private static Remedy enable(ArmedVector vector) {
        return Remedy.of(
                Change.COMMAND,
                vector.kind() == IrqKind.INTX
                        ? "find the device that asserts the line (dmesg), give it a driver or remove it, and restart the"
                                + " guest; MSI in the guest needs no line"
                        : "restart the guest, which requests the irq again",
                Takes.VMM_RESTART,
                "the guest is interrupted");
    }

    private void spurious(Looks looks, ArmedVector vector, String path) {
        String file = path + "spurious";
        OptionalLong counted = files.number(file, "count ");
        OptionalLong ignored = files.number(file, "unhandled ");
        OptionalLong lately = files.number(file, "last_unhandled ");
        if (counted.isEmpty() || ignored.isEmpty() || lately.isEmpty()) {
            looks.absent(file);
            return;
        }
        long count = counted.getAsLong();
        long unhandled = ignored.getAsLong();
        long last = lately.getAsLong();
        if (unhandled > MOST_UNHANDLED) {
            looks.broken(file, nobodyCared(vector), enable(vector));
        } else if (unhandled >= MANY_UNHANDLED && unhandled * 2 > count) {
            looks.doubt(
                    file,
                    "no handler took " + unhandled + " of its last " + count + " interrupts: after " + MOST_UNHANDLED
                            + " of 100000 the kernel disables it",
                    enable(vector));
        } else if (count == 0
                && unhandled == 0
                && last > 0
                && vector.count() >= MOST_UNHANDLED
                && !files.text(DEBUGFS + vector.irq().number()).orElse("").contains("istate:")) {
            // Both are reset when it is disabled, and when a driver requests it again; since Linux 6.0 also when most
            // were handled. The flags in debugfs decide, where they are shown.
            Optional<PciDevice> asserts = Stream.concat(
                            Stream.of(device), IntxLine.of(host, device).neighbours().stream())
                    .filter(one -> one.config().isIntxAsserted())
                    .findFirst();
            if (vector.kind() == IrqKind.INTX
                    && (asserts.isPresent() || !host.isSince(6, 0).orElse(true))) {
                looks.broken(
                        file,
                        nobodyCared(vector)
                                + asserts.map(one -> "; " + one.address() + " asserts the line")
                                        .orElse(""),
                        enable(vector));
            } else {
                looks.doubt(
                        file,
                        "interrupts of it were not handled, and its counts were reset: the kernel may have disabled it",
                        Remedy.look(
                                "look at its count in /proc/interrupts twice: while it grows, the kernel has not disabled"
                                        + " it; dmesg | grep 'nobody cared'"));
            }
        }
    }

    // The CPU

    private void affinity(Looks looks, String path) {
        Optional<BitSet> asked = cpus(looks, path + "smp_affinity_list");
        Optional<BitSet> effective = cpus(looks, path + "effective_affinity_list");
        Optional<BitSet> used = effective.or(() -> asked);
        String file = path + (effective.isPresent() ? "effective_affinity_list" : "smp_affinity_list");
        if (used.isEmpty()) {
            return;
        }
        if (online.isEmpty()) {
            looks.absent(CPUS + "online");
            return;
        }
        if (!used.get().intersects(online.get())) {
            looks.broken(
                    file,
                    "it interrupts CPU " + CpuList.name(used.get()) + ", which is offline",
                    affine(path, online.get()));
            return;
        }
        if (asked.isPresent() && effective.isPresent() && !asked.get().intersects(effective.get())) {
            looks.doubt(
                    file,
                    "it interrupts CPU " + CpuList.name(effective.get()) + ", and its affinity is "
                            + CpuList.name(asked.get()) + ": the change waits for its next interrupt");
        }
        BitSet quiet = new BitSet();
        String kept = "";
        for (String kind : List.of("isolated", "nohz_full")) {
            BitSet cpus = kept(looks, kind);
            quiet.or(cpus);
            kept = kept.isEmpty() && effective.isPresent() && contains(cpus, effective.get()) ? kind : kept;
        }
        // Administrators use both: an irq on the CPU of a pinned vCPU, and irqs kept away from isolated vCPUs.
        if (!kept.isEmpty() && !contains(pinned, effective.get())) {
            BitSet housekeeping = (BitSet) online.get().clone();
            housekeeping.andNot(quiet);
            looks.doubt(
                    CPUS + kept,
                    "it interrupts CPU " + CpuList.name(effective.get()) + ", which is " + kept,
                    affine(path, housekeeping));
        }
        unpinned.ifPresent(why -> looks.unseen(why, host.forDebugfs(Guests.NAMES)));
        if (!pinned.isEmpty() && !pinned.intersects(used.get()) && !contains(quiet, pinned)) {
            looks.doubt(
                    file,
                    "it interrupts CPU " + CpuList.name(used.get()) + ", and all vCPUs are pinned to CPU "
                            + CpuList.name(pinned) + ": each interrupt wakes another CPU",
                    affine(path, pinned));
        }
        looks.text(
                DeviceLink.DEVICES + device.address() + "/numa_node",
                !files.list("sys/devices/system/node").isEmpty(),
                text -> text.matches("-?\\d{1,5}"));
        OptionalInt node = device.numaNode();
        Optional<BitSet> near = node.isPresent()
                ? cpus(looks, "sys/devices/system/node/node" + node.getAsInt() + "/cpulist")
                : Optional.empty();
        if (pinned.isEmpty()
                && effective.isPresent()
                && near.filter(set -> !set.isEmpty() && !set.intersects(used.get()))
                        .isPresent()) {
            looks.doubt(
                    file,
                    "it interrupts CPU " + CpuList.name(used.get()) + ", and the device is at node " + node.getAsInt()
                            + ", CPU " + CpuList.name(near.get()),
                    affine(path, near.get()));
        }
    }

    private static Remedy affine(String path, BitSet cpus) {
        return Remedy.of(
                Change.COMMAND,
                "echo " + CpuList.list(cpus) + " > /" + path + "smp_affinity_list",
                "irqbalance changes it back");
    }

    private BitSet pinned(VmProcess process) {
        BitSet all = new BitSet();
        for (VcpuFile vcpu : process.vcpus().subList(0, Math.min(process.vcpus().size(), MOST_VCPUS))) {
            OptionalInt thread = VmmLink.thread(host, process, vcpu);
            Optional<BitSet> allowed = thread.isEmpty()
                    ? Optional.empty()
                    : KernelHelpers.allowed(files, "proc/" + process.pid() + "/task/" + thread.getAsInt())
                            .flatMap(CpuList::parse);
            // Many VMMs name none of these threads.
            boolean named = thread.isPresent()
                    || process.vcpus().stream()
                            .anyMatch(one -> VmmLink.thread(host, process, one).isPresent());
            if (allowed.isEmpty() && named) {
                unpinned = Optional.of("the CPUs that vcpu " + vcpu.id() + " may run on");
            }
            if (allowed.isEmpty() || online.isEmpty() || contains(allowed.get(), online.get())) {
                return new BitSet();
            }
            all.or(allowed.get());
        }
        return all;
    }

    /** The CPUs that the kernel keeps free of other work: of the files, only {@code isolated} is always there. */
    private BitSet kept(Looks looks, String kind) {
        boolean exists = kind.equals("isolated")
                || files.text("proc/cmdline")
                        .filter(text -> text.contains(kind + "="))
                        .isPresent();
        // The file of an empty set has a line end, and (null) where the kernel made no set (drivers/base/cpu.c,
        // print_cpus_nohz_full).
        boolean none = files.bytes(CPUS + kind, HostFiles.LONGEST_TEXT + 1)
                .map(one -> new String(one, StandardCharsets.US_ASCII))
                .filter(text -> text.strip().equals("(null)") || text.startsWith("\n"))
                .isPresent();
        return looks.text(
                        CPUS + kind, exists, text -> none || CpuList.parse(text).isPresent())
                .flatMap(CpuList::parse)
                .orElseGet(BitSet::new);
    }

    private static Optional<BitSet> cpus(Looks looks, String path) {
        return looks.text(path, text -> CpuList.parse(text).isPresent()).flatMap(CpuList::parse);
    }

    private Optional<BitSet> cpus(String path) {
        return files.text(path).flatMap(CpuList::parse);
    }

    private static boolean contains(BitSet all, BitSet some) {
        BitSet rest = (BitSet) some.clone();
        rest.andNot(all);
        return rest.isEmpty() && !some.isEmpty();
    }

    // Counts

    private void counts(Looks looks, ArmedVector vector) {
        OptionalLong uptime = looks.text("proc/uptime", text -> text.matches("\\d{1,10}\\.\\d\\d .*"))
                .map(text -> text.split("[. ]")[0])
                .filter(text -> text.matches("[1-9]\\d{0,9}"))
                .map(text -> OptionalLong.of(Long.parseLong(text)))
                .orElse(OptionalLong.empty());
        if (uptime.isPresent() && vector.count() / uptime.getAsLong() >= STORM) {
            looks.doubt(
                    "proc/interrupts",
                    "it came " + vector.count() / uptime.getAsLong()
                            + " times a second since the host booted: a storm");
        }
    }

    /** With threadirqs, or a kernel of PREEMPT_RT, the handler is a thread of the kernel. */
    private void thread(Looks looks, ArmedVector vector) {
        boolean threads = looks.text("proc/cmdline", text -> text.matches("\\P{Cntrl}+"))
                        .filter(text -> text.contains("threadirqs"))
                        .isPresent()
                || looks.text("proc/version", text -> text.startsWith("Linux version "))
                        .filter(text -> text.contains("PREEMPT_RT"))
                        .isPresent();
        if (!threads) {
            return;
        }
        String name = "irq/" + vector.irq().number() + "-";
        for (String pid : files.list("proc")) {
            String file = "proc/" + pid + "/stat";
            Optional<ThreadStat> stat =
                    pid.matches("\\d{1,9}") ? files.text(file).flatMap(ThreadStat::parse) : Optional.empty();
            if (stat.filter(one -> one.name().startsWith(name)).isPresent()) {
                char state = stat.get().state();
                if (state == 'D') {
                    looks.doubt(
                            file,
                            "the thread of its handler (" + pid + ") sleeps uninterruptibly",
                            Remedy.look("look again: a moment is harmless; cat /proc/" + pid + "/stack"));
                } else if ("TtZX".indexOf(state) >= 0) {
                    looks.broken(
                            file,
                            "the thread of its handler (" + pid + ") does not run: its state is " + state,
                            Remedy.look("cat /proc/" + pid + "/stack"));
                }
                return;
            }
        }
        looks.unseen("the thread of its handler, which no file shows", HostKvm.AS_ROOT);
    }
}
