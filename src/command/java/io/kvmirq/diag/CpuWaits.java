/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import java.util.BitSet;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Checks whether the threads of vCPUs wait for CPUs that other threads use. For one use by one thread.
 *
 * <p>Source: {@code proc_pid_schedstat()} in fs/proc/base.c.
 */
final class CpuWaits {
    /** A tick, in ns. */
    private static final long TICK = 10_000_000;
    /** The limit of a thread's wait, in percent of the time in which it was ready to run. */
    private static final int MOST_WAITED = 33;
    /** Waits for a CPU below this time are ignored, in ns. */
    private static final long SHORT = 100_000_000;

    private final HostFacts host;
    private final HostFiles files;
    private final VmProcess process;
    private final Flaws looks;

    CpuWaits(HostFacts host, VmProcess process, Flaws looks) {
        this.host = host;
        this.files = host.files();
        this.process = process;
        this.looks = looks;
    }

    /** A thread that may run on only one CPU waits while other threads run on it. */
    void look(String name, String directory, String status) {
        String allowed = ThreadStat.line(status, "Cpus_allowed_list");
        // Skipped on a host with one CPU.
        boolean one = allowed.matches("\\d{1,5}");
        boolean pinned = one
                && files.text("sys/devices/system/cpu/online")
                        .filter(online -> online.strip().equals(allowed))
                        .isEmpty();
        boolean ready = ThreadStat.line(status, "State").startsWith("R");
        boolean runnable = !one && ready;
        String file = directory + "schedstat";
        Optional<String> text = files.text(file);
        if (text.isEmpty()) {
            if (pinned || ready) {
                looks.absent(file);
            }
            return;
        }
        String[] words = text.get().strip().split("\\s+");
        if (words.length < 2 || !words[0].matches("\\d{1,18}") || !words[1].matches("\\d{1,18}")) {
            looks.absent(file);
            return;
        }
        long ran = Long.parseLong(words[0]);
        long waited = Long.parseLong(words[1]);
        if (ran == 0 && waited == 0 && ready) {
            neverRan(name, file);
            return;
        }
        long share = ran + waited == 0 ? 0 : Math.round(100.0 * waited / (ran + waited));
        if (!pinned && !runnable || waited < SHORT || share < MOST_WAITED) {
            return;
        }
        if (runnable) {
            starved(name, file, allowed, share);
            return;
        }
        String says = name + " may run on CPU " + allowed + " only, and waited for it " + share
                + " % of the time in which it had something to do";
        Remedy remedy = Remedy.command("give it a CPU of its own: taskset -cp CPU "
                + directory.replaceAll("\\D+", " ").strip().replaceAll(".* ", ""));
        // A sleeping thread does not wait now, and a short-lived process did not keep it waiting.
        Optional<String> other = ready ? running(Integer.parseInt(allowed), waited / 2 / TICK) : Optional.empty();
        if (other.isPresent()) {
            looks.broken(file, says + ": process " + other.get() + " runs there", remedy);
        } else {
            looks.doubt(file, says + " since it began", remedy);
        }
    }

    /** All times are 0 if the kernel does not measure them ({@code sched_info_on()}). */
    private void neverRan(String name, String file) {
        boolean taken = Stream.concat(
                        Stream.of("proc/" + process.pid() + "/"),
                        host.threads(process.pid()).stream()
                                .limit(VmmLink.MOST_THREADS)
                                .map(thread -> "proc/" + process.pid() + "/task/" + thread + "/"))
                .anyMatch(directory -> files.text(directory + "schedstat")
                        .filter(text -> text.matches("[1-9]\\d* .*"))
                        .isPresent());
        if (taken) {
            looks.doubt(
                    file,
                    name + " is ready to run, and has never had a CPU",
                    Remedy.look("look again: a moment is harmless; then: taskset -cp, chrt -p of the thread"));
        } else {
            looks.unseen("/" + file + " has no times", "boot the host with delayacct");
        }
    }

    /** Another process runs on each CPU of its affinity: this shows the cause of the wait. */
    private void starved(String name, String file, String allowed, long share) {
        Optional<BitSet> cpus = CpuList.parse(allowed);
        CpuList.parse(files.text("sys/devices/system/cpu/online").orElse(""))
                .ifPresent(online -> cpus.ifPresent(all -> all.and(online)));
        if (cpus.filter(all -> !all.isEmpty()
                        && all.stream().allMatch(cpu -> running(cpu, 0).isPresent()))
                .isPresent()) {
            looks.doubt(
                    file,
                    name + " is ready to run, and waited for a CPU " + share
                            + " % of the time in which it had something to do: other processes run on each CPU that it may"
                            + " use, " + allowed,
                    Remedy.command(
                            "give the guest CPUs of its own, or more of them: taskset -acp CPUS " + process.pid()));
        }
    }

    /**
     * Another process that runs on a CPU now, as its first thread shows.
     *
     * @param ticks the least CPU time of the process
     */
    private Optional<String> running(int cpu, long ticks) {
        String self = files.link("proc/self").orElse("");
        String own = String.valueOf(process.pid());
        Optional<String> hidden = Optional.empty();
        for (String pid : files.list("proc")) {
            Optional<ThreadStat> stat = pid.matches("\\d{1,9}") && !pid.equals(self) && !pid.equals(own)
                    ? files.text("proc/" + pid + "/stat").flatMap(ThreadStat::parse)
                    : Optional.empty();
            // A process may end meanwhile.
            if (stat.isEmpty()
                    && pid.matches("\\d{1,9}")
                    && files.reading("proc/" + pid + "/stat") != HostFiles.Reading.ABSENT) {
                hidden = Optional.of("proc/" + pid + "/stat");
            }
            // Kernel threads run only for moments.
            if (stat.filter(one -> one.isRunnable() && one.cpu() == cpu && !one.isOfKernel() && one.ticks() >= ticks)
                    .isPresent()) {
                return Optional.of(pid + " (" + stat.get().name() + ")");
            }
        }
        hidden.ifPresent(looks::absent);
        return Optional.empty();
    }
}
