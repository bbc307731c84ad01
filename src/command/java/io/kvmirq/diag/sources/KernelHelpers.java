/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Threads that the kernel runs for a VM: vhost's and KVM's workers. The kernel names them after the thread that asked
 * for them. Any thread may set such a name, so {@link ThreadStat#flags} decide whether it is a kernel thread.
 *
 * <p>Source: {@code vhost_worker_create()} in drivers/vhost/vhost.c, where the worker is a kernel thread before Linux 6.4 and
 * a thread of the VMM since; {@code kvm_create_pit()} in arch/x86/kvm/i8254.c; {@code kvm_mmu_post_init_vm()} in
 * arch/x86/kvm/mmu/mmu.c; {@code PF_KTHREAD} and {@code PF_USER_WORKER} in include/linux/sched.h.
 */
public final class KernelHelpers {
    /** The names that the kernel gives them. */
    public static final String NAME = "(?:vhost-|kvm-pit/|kvm-nx-lpage-recovery-)\\d{1,9}";

    /** The begin of the {@code stat} of such a thread, or of a thread that handles an irq. */
    public static final Pattern STAT = Pattern.compile("^\\d+ \\((" + NAME + "\\)|(irq/\\d+-)).*", Pattern.DOTALL);

    private static final Pattern OWNED = Pattern.compile("(vhost|kvm-pit|kvm-nx-lpage-recovery)[-/](\\d{1,9})");
    private static final String NUMBER = "\\d{1,9}";

    /**
     * A kernel thread that has such a name.
     *
     * @param kind such as {@code vhost}
     * @param owner the thread that its name names
     */
    record Named(int tid, String kind, int owner, ThreadStat stat) {}

    private KernelHelpers() {}

    /** Processes without descriptors that have such a name: kernel threads, and other threads with such a name. */
    static List<Named> ofHost(HostFiles files) {
        List<Named> named = new ArrayList<>();
        for (String pid : files.list("proc")) {
            if (pid.matches(NUMBER) && files.list("proc/" + pid + "/fd").isEmpty()) {
                named(files, "proc/" + pid + "/stat", Integer.parseInt(pid)).ifPresent(named::add);
            }
        }
        return named;
    }

    /** Threads of a VMM that have such a name. */
    static List<Named> ofProcess(HostFiles files, VmProcess vmm) {
        List<Named> named = new ArrayList<>();
        String tasks = "proc/" + vmm.pid() + "/task";
        for (String tid : files.list(tasks)) {
            if (tid.matches(NUMBER)
                    && files.text(tasks + "/" + tid + "/comm")
                            .filter(name -> !name.isEmpty()) // else its stat has the name
                            .map(name -> OWNED.matcher(name).matches())
                            .orElse(true)) {
                named(files, tasks + "/" + tid + "/stat", Integer.parseInt(tid)).ifPresent(named::add);
            }
        }
        return named;
    }

    private static Optional<Named> named(HostFiles files, String path, int tid) {
        Optional<ThreadStat> stat = files.text(path).flatMap(ThreadStat::parse);
        Matcher name = OWNED.matcher(stat.map(ThreadStat::name).orElse(""));
        return stat.isPresent() && name.matches()
                ? Optional.of(new Named(tid, name.group(1), Integer.parseInt(name.group(2)), stat.get()))
                : Optional.empty();
    }

    /** The affinity of a thread, such as {@code 0-3,8}. Empty if it is not shown. */
    public static Optional<String> allowed(HostFiles files, String directory) {
        return files.text(directory + "/status")
                .map(status -> ThreadStat.line(status, "Cpus_allowed_list"))
                .filter(cpus -> !cpus.isEmpty());
    }
}
