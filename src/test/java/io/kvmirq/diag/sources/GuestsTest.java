/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.screens.Capture;
import io.kvmirq.diag.sources.Guests.Guest;
import io.kvmirq.diag.sources.Guests.Vcpus;
import io.kvmirq.diag.sources.Guests.Worker;
import io.kvmirq.host.facts.CountedFiles;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The guests of hosts, and the threads that the kernel runs for them. */
class GuestsTest {
    private static final String THREAD = "proc/100/task/102/";
    private static final long KERNEL = 0x208040;
    private static final long USER = 0x400040;

    private static Guests of(RecordedHost host) {
        HostFiles tree = host.tree();
        return Guests.find(new HostFacts(tree));
    }

    private static Guest web(RecordedHost host) {
        Guests guests = of(host);
        assertThat(guests.all()).hasSize(1);
        return guests.all().get(0);
    }

    private static RecordedHost kernelThreads() throws IOException {
        return GuestHosts.of("vhost-kernel-threads");
    }

    @Test
    void workersAreKernelThreadsOrThreadsOfTheVmm() throws IOException {
        assertThat(web(kernelThreads()).workers())
                .containsExactly(
                        new Worker(105, 6, Optional.of("4-7"), true), new Worker(106, 1, Optional.empty(), true));
        assertThat(web(kernelThreads()).helpers()).containsExactly("kvm-pit 107");
        assertThat(web(GuestHosts.of("vhost-tasks")).workers())
                .containsExactly(new Worker(105, 6, Optional.empty(), false));
    }

    /** Neither the name nor the descriptors alone make a worker. */
    @Test
    void threadThatOnlyHasTheNameOfAWorkerIsNone() throws IOException {
        assertThat(of(kernelThreads()).notes())
                .contains(
                        "thread 108 is named vhost-100 but is not a helper of process 100 (web): the kernel did not start"
                                + " it",
                        "kernel thread 109 (vhost-99) is an orphan, because thread 99, which it serves, is gone");
        assertThat(of(GuestHosts.of("vhost-tasks")).notes())
                .contains("thread 106 is named vhost-100 but is not a helper of process 100 (web): the kernel did not"
                        + " start it");
        RecordedHost without = kernelThreads().remove("proc/100/fd/40").remove("proc/100/fd/41");
        assertThat(web(without).workers()).isEmpty();
        assertThat(of(without).notes())
                .anyMatch(note -> note.startsWith("thread 105 ") && note.endsWith("has no vhost file open"));
    }

    @Test
    void workerOfAThreadOfTheVmmIsItsWorker() throws IOException {
        RecordedHost host = kernelThreads().put("proc/110/stat", GuestHosts.stat(110, "vhost-102", 'S', KERNEL, 3));
        assertThat(web(host).workers()).extracting(Worker::tid).containsExactly(105, 106, 110);
        host.put("proc/99/task/99/comm", "dpdk\n");
        assertThat(of(host).notes())
                .contains("kernel thread 109 (vhost-99) serves process 99, which is not known to hold a VM");
    }

    /** State, wchan and blocking of the vCPU that does not run. */
    @ParameterizedTest
    @CsvSource({
        "R, 0, , 2, 0, 0",
        "S, kvm_vcpu_block, , 1, 1, 0",
        "S, futex_wait_queue, 0, 1, 0, 1",
        "S, 0, 1, 1, 1, 0",
        "S, 0, 0, 1, 0, 1",
        "S, 0, , 1, 0, 0",
        "T, do_signal_stop, 0, 1, 0, 1",
        "t, ptrace_stop, , 1, 0, 1",
        "D, io_schedule, 0, 1, 0, 0"
    })
    void vcpuIsRunningHaltedOrStopped(char state, String wchan, String blocking, int running, int halted, int stopped)
            throws IOException {
        RecordedHost host = kernelThreads()
                .put(THREAD + "stat", GuestHosts.stat(102, "CPU 1/KVM", state, USER, 3))
                .put(THREAD + "wchan", wchan);
        if (blocking != null) {
            host.put("sys/kernel/debug/kvm/100-5/blocking", blocking + "\n");
        }
        assertThat(web(host).vcpus()).isEqualTo(new Vcpus(2, running, halted, stopped));
    }

    @Test
    void vmWithoutItsMakerIsAnOrphan() throws IOException {
        assertThat(of(GuestHosts.of("vhost-tasks")).notes())
                .contains(
                        "VM 77-9 in debugfs is an orphan: thread 77, which created it, no longer has it open, and the VM lives"
                                + " until its last file is closed");
        RecordedHost host = kernelThreads().put("proc/300/comm", "helper\n").link("proc/300/fd/9", "anon_inode:kvm-vm");
        assertThat(of(host).notes())
                .contains(
                        "process 300 (helper) has a VM open but did not create it, so it is not a VMM, or the VMM passed it the"
                                + " VM's file");
        // Processes that are not shown may hold it.
        assertThat(of(GuestHosts.of("vhost-tasks").put("proc/1/comm", "init\n").deny("proc/1/fd"))
                        .notes())
                .noneMatch(note -> note.contains("orphan"))
                .anyMatch(note -> note.startsWith("the files of 1 process cannot be read"));
    }

    @Test
    void vcpuWhoseThreadHasNoNameIsNotShown() throws IOException {
        RecordedHost host =
                kernelThreads().put("proc/100/task/101/comm", "qemu\n").put(THREAD + "comm", "qemu\n");
        assertThat(web(host).vcpus().notShown()).isEqualTo(2);
    }

    /** The names of all threads are read, to find vCPUs and workers. The rest is read of few. */
    @Test
    void processWithTenThousandThreadsIsReadOnce() throws IOException {
        RecordedHost host = GuestHosts.of("vhost-tasks");
        for (int thread = 10_000; thread < 20_000; thread++) {
            String task = "proc/100/task/" + thread + "/";
            host.put(task + "comm", "pool\n")
                    .put(task + "stat", GuestHosts.stat(thread, "pool", 'S', USER, 0))
                    .put(task + "status", "State:\tS (sleeping)\nTracerPid:\t0\n");
        }
        List<String> read = new ArrayList<>();
        Capture.take(CountedFiles.of(host.tree(), read), Capture::analysis, true);
        Map<String, Long> kinds = read.stream()
                .filter(path -> path.startsWith("proc/100/task/"))
                .collect(Collectors.groupingBy(
                        path -> path.substring(path.lastIndexOf('/') + 1), Collectors.counting()));
        assertThat(kinds.get("comm")).isBetween(10_000L, 10_010L);
        assertThat(kinds.get("stat")).isLessThan(100);
        assertThat(kinds.get("status")).isLessThan(100);
        assertThat(read.size()).isLessThan(12_000);
        assertThat(web(host).vcpus().all()).isEqualTo(2);
    }

    @Test
    void damagedFilesCountNothing() throws IOException {
        for (String text : List.of("", "x", "105 (vhost-100", "105 (vhost-100) S 2", ")(")) {
            RecordedHost host = kernelThreads()
                    .put("proc/105/stat", text)
                    .put(THREAD + "stat", text)
                    .put("sys/kernel/debug/kvm/100-5/exits", text);
            assertThat(web(host).workers()).extracting(Worker::tid).containsExactly(106);
            assertThat(web(host).vcpus()).isEqualTo(new Vcpus(2, 1, 0, 0));
            assertThat(web(host).exits()).isEmpty();
        }
    }
}
