/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.Cli;
import io.kvmirq.contract.VcpuPhasesContract.Runner;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * The vCPUs of a guest, as the page of the command shows them: one runs, and one is preempted by it. In the lab, on two
 * processors.
 */
@Tag("contract")
@Tag(RealKvm.TAG)
class VcpuScreenContract {
    private static final Path INSTANCES = Path.of("/sys/kernel/tracing/instances");
    private static final Path APICV = Path.of("/sys/module/kvm_intel/parameters/enable_apicv");
    private static final String SECOND = "\nvcpu 1 ";

    /** Whether the instance of a command records. A new one does at once, before its events are chosen. */
    static boolean records(Process command, String on) {
        String[] names = INSTANCES.toFile().list((parent, name) -> name.startsWith("kvmirq-" + command.pid() + "-"));
        return names.length == 1
                && List.of(names).stream().allMatch(name -> {
                    try {
                        return Files.readString(INSTANCES.resolve(name).resolve("tracing_on"))
                                        .startsWith(on)
                                && Files.readString(INSTANCES.resolve(name).resolve("events/sched/sched_switch/enable"))
                                        .startsWith("1");
                    } catch (IOException e) {
                        return false;
                    }
                });
    }

    /** Begins a watch of this process. Its instance records when it returns. */
    static Process watch(Runner runner) throws IOException {
        String pid = String.valueOf(ProcessHandle.current().pid());
        Process explain = Cli.jvm().start("explain", "--vm", pid, "--vcpus", "--live", "10");
        runner.until(() -> !explain.isAlive() || records(explain, "1"));
        return explain;
    }

    static String outOf(Process explain) throws IOException, InterruptedException {
        String out = new String(explain.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        System.out.println(out);
        assertThat(explain.waitFor())
                .as(new String(explain.getErrorStream().readAllBytes(), StandardCharsets.UTF_8))
                .isZero();
        return out;
    }

    static void enter(Runner runner, GuestMemory memory) throws InterruptedException {
        memory.mapping().put(VcpuPhasesContract.REACHED, new byte[1]);
        runner.enter();
        runner.until(() -> memory.mapping().getByte(VcpuPhasesContract.REACHED) != 0);
    }

    @Test
    void commandPrintsWhatThePageShows() throws Exception {
        String throttle = VcpuPhasesContract.setAside();
        String out;
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (GuestMemory memory = vm.addMemory(0, 0x10000);
                    Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1))) {
                memory.mapping().put(VcpuPhasesContract.START, VcpuPhasesContract.SPIN);
                first.x86().enableLapic();
                second.x86().enableLapic();
                Runner running = new Runner(first);
                Runner preempted = new Runner(second);
                // Files show the thread of a vCPU when it has run.
                for (Runner runner : List.of(running, preempted)) {
                    enter(runner, memory);
                    runner.leave();
                }
                Process explain = watch(running);
                enter(preempted, memory);
                VcpuPhasesContract.runFirst(running.tid);
                enter(running, memory);
                running.until(() -> !explain.isAlive() || records(explain, "0"));
                running.end();
                preempted.end();
                out = outOf(explain);
            }
        } finally {
            VcpuPhasesContract.restore(throttle);
        }
        Block shown = Page.of("src/docs/command.md").first("console lab");
        assertThat(shown.command()).matches("kvmirq explain --vm \\d+ --vcpus --live 10");
        for (boolean firstPart : new boolean[] {true, false}) {
            Block.assertShownExceptNumbers(part(ofThisHost(shown.output()), firstPart), part(out, firstPart));
        }
    }

    /** The page is of a host without APIC virtualization. */
    private static String ofThisHost(String output) throws IOException {
        boolean virtual = Files.exists(APICV) && Files.readString(APICV).startsWith("Y");
        return virtual ? output.replaceAll("not in use: DISABLED, ABSENT", "in use") : output;
    }

    private static String part(String text, boolean first) {
        int second = text.indexOf(SECOND);
        assertThat(second).as(text).isPositive();
        return first ? text.substring(0, second) : text.substring(second + 1);
    }
}
