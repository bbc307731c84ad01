/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Limits that matter to the interrupt path: those of a process, and the interrupt vectors of the host's CPUs. For one
 * thread.
 *
 * <p>Source: {@code proc_pid_limits()} in fs/proc/base.c, {@code task_cap()} in fs/proc/array.c, {@code
 * irq_domain_debug_show_one()} in kernel/irq/irqdomain.c with {@code x86_vector_debug_show()} and {@code
 * irq_matrix_debug_show()} in kernel/irq/matrix.c.
 */
public final class HostLimits {
    /** No limit. */
    public static final long UNLIMITED = Long.MAX_VALUE;

    private static final String VECTORS = "sys/kernel/debug/irq/domains/VECTOR";
    private static final int IPC_LOCK = 14;
    /** Nineteen twentieths of a limit. */
    private static final int NEARLY_PARTS = 20;

    private static final int MOST_DIGITS = 18;

    private final HostFiles tree;
    private final String process;

    /** A vector takes one. */
    private static final int FEW_FILES = 4;
    /** A guest's memory map may need as much for the BARs of another device. */
    private static final long LITTLE_MEMORY = 16 << 20;

    private static final int MOST_PART = 50;
    private static final int KIBI = 10;

    HostLimits(HostFiles tree) {
        this(tree, "proc/self/");
    }

    private HostLimits(HostFiles tree, String process) {
        this.tree = tree;
        this.process = process;
    }

    /** The limits of another process. A service or libvirt sets other limits for a VMM than a shell has. */
    public HostLimits of(VmProcess other) {
        return new HostLimits(tree, "proc/" + other.pid() + "/");
    }

    /** The soft limit of open files (RLIMIT_NOFILE): each vector takes an eventfd. */
    public Known<Long> openFiles() {
        return limit("Max open files");
    }

    /** The soft limit of locked memory in bytes (RLIMIT_MEMLOCK): VFIO pins the guest's memory. */
    public Known<Long> lockedMemory() {
        return limit("Max locked memory");
    }

    /** Lines {@code Max open files            1024                 4096                 files}: "%-25s %-20s ". */
    private Known<Long> limit(String name) {
        for (String line : HostKvm.lines(tree.text(process + "limits").orElse(""))) {
            if (line.startsWith(name + " ")) {
                String rest = line.substring(name.length()).strip();
                int space = rest.indexOf(' ');
                String soft = space < 0 ? rest : rest.substring(0, space);
                if (soft.equals("unlimited")) {
                    return new Known.Observed<>(UNLIMITED);
                }
                long value = decimal(soft);
                if (value >= 0) {
                    return new Known.Observed<>(value);
                }
            }
        }
        return tree.reading(process + "limits") == HostFiles.Reading.DENIED
                ? Sight.read(tree).refused(process + "limits")
                : new Known.Unknown<>(
                        "/" + process + "limits does not show " + name, HostKvm.absent(process + "limits"));
    }

    /** Whether the process may lock memory beyond its limit: CAP_IPC_LOCK. Empty if it is not shown. */
    public Optional<Boolean> locksAnyMemory() {
        return ThreadStat.hasCapability(tree.text(process + "status").orElse(""), IPC_LOCK);
    }

    /** The least number of free device vectors of a CPU on x86. */
    public Known<Long> vectorsLeft() {
        return vectorsLeftByCpu().map(cpus -> Collections.min(cpus.values()));
    }

    /**
     * The number of free device vectors of each CPU on x86; never empty. The debugfs file has a table below a line that
     * begins {@code | CPU | avl}.
     */
    public Known<Map<Integer, Long>> vectorsLeftByCpu() {
        Optional<String> text = tree.text(VECTORS);
        if (text.isEmpty()) {
            return tree.reading("sys/kernel/debug") == HostFiles.Reading.DENIED
                    ? Sight.read(tree).refused(VECTORS)
                    : new Known.Unknown<>(
                            Known.Reason.ABSENT,
                            "/" + VECTORS + " does not exist",
                            "boot a kernel with CONFIG_GENERIC_IRQ_DEBUGFS and mount debugfs");
        }
        Map<Integer, Long> cpus = new TreeMap<>();
        boolean table = false;
        List<String> lines = HostKvm.lines(text.get());
        for (String line : lines) {
            String row = line.strip();
            if (table) {
                int space = row.indexOf(' ');
                long cpu = space < 0 ? -1 : decimal(row.substring(0, space));
                long left =
                        space < 0 ? -1 : decimal(firstWord(row.substring(space).strip()));
                if (left >= 0 && cpu >= 0 && cpu < Integer.MAX_VALUE) {
                    cpus.put((int) cpu, left);
                }
            }
            table |= row.startsWith("| CPU | avl");
        }
        return !cpus.isEmpty()
                ? new Known.Observed<>(cpus)
                : new Known.Unknown<>("/" + VECTORS + " has an unknown format", "report the file's text");
    }

    /** A limit of the whole host, and how much of it is used. */
    public record Use(String of, long used, long max) {
        /** Whether little is left. */
        public boolean isNearlyUsed() {
            return used >= max / NEARLY_PARTS * (NEARLY_PARTS - 1);
        }
    }

    /** The limits of the process beside their use that leave it nothing: memory in bytes. iommufd counts that of all processes of a user. */
    public List<Use> usedUp() {
        List<Use> all = new ArrayList<>();
        long files = openFiles().known().orElse(UNLIMITED);
        int open = tree.list(process + "fd").size();
        if (open >= files - FEW_FILES) {
            all.add(new Use("open files", open, files));
        }
        long bytes = lockedMemory().known().orElse(UNLIMITED);
        String status = tree.text(process + "status").orElse("");
        long locked = Math.max(kibis(status, "VmLck"), kibis(status, "VmPin")) << KIBI;
        if (locked > 0
                && locked > bytes - LITTLE_MEMORY
                && locked >= bytes / MOST_PART * (MOST_PART - 1)
                && !locksAnyMemory().orElse(true)) {
            all.add(new Use("bytes of locked memory", locked, bytes));
        }
        return all;
    }

    private static long kibis(String status, String name) {
        String value = ThreadStat.line(status, name);
        return Math.max(0, decimal(value.replaceFirst("\\s*kB$", "")));
    }

    /** The limits of the whole host that files show: of open files, and of threads. */
    public List<Use> ofHost() {
        List<Use> all = new ArrayList<>();
        String[] files = tree.text("proc/sys/fs/file-nr").orElse("").split("\\s+");
        if (files.length == 3) {
            add(all, new Use("open files (fs.file-max)", decimal(files[0]), decimal(files[2])));
        }
        long requests = decimal(tree.text("proc/sys/fs/aio-nr").orElse(""));
        long max = decimal(tree.text("proc/sys/fs/aio-max-nr").orElse(""));
        add(all, new Use("asynchronous requests (fs.aio-max-nr)", requests, max));
        for (String unit : tree.list("sys/class/iommu")) {
            String domains = "sys/class/iommu/" + unit + "/intel-iommu/domains_";
            long supported = decimal(tree.text(domains + "supported").orElse(""));
            add(
                    all,
                    new Use(
                            "domains of " + unit,
                            decimal(tree.text(domains + "used").orElse("")),
                            supported));
        }
        // The fourth word is RUNNABLE/THREADS.
        String threads = tree.text("proc/loadavg").orElse("").replaceFirst("^(?:\\S+ ){3}\\d+/(\\d+) .*", "$1");
        for (String limit : List.of("threads-max", "pid_max")) {
            long limited = decimal(tree.text("proc/sys/kernel/" + limit).orElse(""));
            add(all, new Use("threads (kernel." + limit + ")", decimal(threads), limited));
        }
        return all;
    }

    private static void add(List<Use> all, Use use) {
        if (use.used >= 0 && use.max > 0) {
            all.add(use);
        }
    }

    private static String firstWord(String text) {
        int space = text.indexOf(' ');
        return space < 0 ? text : text.substring(0, space);
    }

    /** A decimal number, or -1. */
    private static long decimal(String text) {
        if (text.isEmpty() || text.length() > MOST_DIGITS) {
            return -1;
        }
        long value = 0;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c < '0' || c > '9') {
                return -1;
            }
            value = value * 10 + c - '0';
        }
        return value;
    }
}
