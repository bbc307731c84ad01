/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.cli.Cli;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.TinyVmm;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.concurrent.SynchronousQueue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** {@code explain --live} and the kernel's own tracepoints. Where tracefs is not mounted, only the commands see it. */
class LiveIT {
    private static final String MOUNTED =
            "[ -d /sys/kernel/tracing/instances ] || mount -t tracefs tracefs /sys/kernel/tracing || exit 1; ";

    private static final String NONE_LOST = "\"lost\":0,";

    private static final int MOST_WATCHED = 10;

    private static final String IN_USER_SPACE =
            "{\"name\":\"phase\",\"value\":\"in user space\",\"evidence\":{\"kind\":\"observed\",";

    private static final String INSTANCES = "/sys/kernel/tracing/instances/";

    @BeforeEach
    void tracefs() throws Exception {
        Machine.assumeX86();
        Machine.assumeRoot("tracefs");
        Machine.assumeSucceeds("unshare", "-m", "sh", "-c", MOUNTED + "[ -d /sys/kernel/tracing/events/kvm ]");
    }

    private static String shell(String command) throws Exception {
        Program.Ended ended = Program.run(List.of("unshare", "-m", "sh", "-c", MOUNTED + command));
        assertThat(ended.code()).as(ended.said()).isZero();
        return ended.said();
    }

    private static String instances() throws Exception {
        return shell("ls " + INSTANCES);
    }

    private static Cli cli() {
        return Cli.jvm()
                .under("env", "--default-signal=INT", "unshare", "-m", "sh", "-c", MOUNTED + "exec \"$@\"", "sh");
    }

    /** Started, and watching. */
    private static Process watching(String... more) throws IOException {
        return watching(cli(), "600", more);
    }

    private static Process watching(Cli cli, String live, String... more) throws IOException {
        String[] arguments = new String[more.length + 5];
        System.arraycopy(
                new String[] {
                    "explain", "--vm", String.valueOf(ProcessHandle.current().pid()), "--live", live
                },
                0,
                arguments,
                0,
                5);
        System.arraycopy(more, 0, arguments, 5, more.length);
        Process process = cli.start(arguments);
        BufferedReader err = process.errorReader(StandardCharsets.UTF_8);
        String line = err.readLine();
        if (line == null || !line.contains("watching for 600 s")) {
            throw new AssertionError(
                    line + " " + new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
        }
        return process;
    }

    private static Process watchingVcpus() throws IOException {
        Cli withDebugfs = Cli.jvm()
                .under(
                        "env",
                        "--default-signal=INT",
                        "unshare",
                        "-m",
                        "sh",
                        "-c",
                        MOUNTED + "mount -t debugfs debugfs /sys/kernel/debug; exec \"$@\"",
                        "sh");
        return watching(withDebugfs, "600", "--vcpus", "--json");
    }

    private static String ended(Process process) throws Exception {
        Program.signal("INT", process.pid());
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return out;
    }

    private static String endedBy(String signal, Process process, int exitCode) throws Exception {
        Program.signal(signal, process.pid());
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        assertThat(process.exitValue()).as(out).isEqualTo(exitCode);
        return out;
    }

    /** The document's count of an event by threads of this process. VMs of other processes raise its whole count. */
    private static int ofGuest(String document, String event) {
        Matcher count = Pattern.compile(
                        "\"event\":\"" + event + "\",\"count\":(\\d+),\"inHandlers\":\\d+,\"ofGuest\":(\\d+),")
                .matcher(document);
        assertThat(count.find()).as(document).isTrue();
        int own = Integer.parseInt(count.group(2));
        assertThat(Integer.parseInt(count.group(1))).as(document).isGreaterThanOrEqualTo(own);
        return own;
    }

    @Test
    @RealKvm
    void eventsAreCountedAsTheyWereFired() throws Exception {
        int messages = 57;
        int edges = 23;
        VcpuId first = new VcpuId(0);
        String out = "";
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(first);
                    EventFd event = EventFd.create(kernel)) {
                vcpu.x86().enableLapic();
                Gsi gsi = vm.routes().add(MsiMessage.to(first, new InterruptVector(0x31)));
                try (Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
                    assertThat(irqfd).isNotNull();
                    // Events of busy VMs overwrite those of this one.
                    for (int watched = 0; watched < MOST_WATCHED && !out.contains(NONE_LOST); watched++) {
                        // Not every kernel has kprobes.
                        Process process = watching(cli(), "600,tracepoints", "--json");
                        for (int i = 0; i < messages; i++) {
                            event.signal();
                        }
                        for (int i = 0; i < edges; i++) {
                            vm.x86().setLine(new Gsi(5), i % 2 == 0);
                        }
                        out = endedBy("INT", process, Cli.ENDED_BY_SIGINT);
                        assertThat(ofGuest(out, "kvm_msi_set_irq")).isLessThanOrEqualTo(messages);
                        assertThat(instances()).doesNotContain("kvmirq-" + process.pid() + "-");
                    }
                }
            }
        }
        assertThat(out).contains("\"missing\":[]");
        assumeTrue(out.contains(NONE_LOST), "needs a machine whose other VMs leave room for events in the buffer");
        assertThat(ofGuest(out, "kvm_msi_set_irq")).as(out).isEqualTo(messages);
        assertThat(ofGuest(out, "kvm_apic_accept_irq")).as(out).isEqualTo(messages);
        assertThat(ofGuest(out, "kvm_set_irq")).as(out).isEqualTo(edges);
    }

    /** Each run ends at once, since it was told to before it began. */
    @Test
    @RealKvm
    void runsOfAVcpuAreCountedAndItsPhaseIsSeen() throws Exception {
        int runs = 137;
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                run(vcpu);
                String out = "";
                // A thread that moves to another CPU may be unknown, and is never seen in KVM_RUN.
                for (int watched = 0; watched < MOST_WATCHED && !out.contains(IN_USER_SPACE); watched++) {
                    Process process = watchingVcpus();
                    for (int i = 0; i < runs; i++) {
                        run(vcpu);
                    }
                    out = ended(process);
                    assertThat(instances()).doesNotContain("kvmirq-" + process.pid() + "-");
                    assertThat(out)
                            .contains("\"missing\":[]", NONE_LOST)
                            .contains("\"value\":\"KVM_RUN entered: " + runs + ", halts ended: 0\"")
                            .doesNotContain("\"running\"", "\"preempted\"", "\"blocked\"");
                }
                assertThat(out).contains(IN_USER_SPACE);
            }
        }
    }

    /** A console where the first letter and the first end of a line wait: the vCPU that writes them is in user space. */
    private static final class Gate extends OutputStream {
        private final SynchronousQueue<Boolean> reached = new SynchronousQueue<>();
        private final SynchronousQueue<Boolean> opened = new SynchronousQueue<>();
        private String left = "h\n";

        @Override
        public void write(int letter) throws IOException {
            if (!left.isEmpty() && letter == left.charAt(0)) {
                left = left.substring(1);
                try {
                    reached.put(true);
                    opened.take();
                } catch (InterruptedException e) {
                    throw new IOException(e);
                }
            }
        }
    }

    /**
     * The small guest of tiny-vmm leaves KVM_RUN for each letter, for two registers of its device, and three times for each
     * interrupt. It halts at most once for each. The last entry may not come: the machine ends meanwhile.
     */
    @Test
    @RealKvm(fullIrqchip = true)
    void runsAndHaltsOfTinyVmmAreThoseOfItsDevices() throws Exception {
        int interrupts = 1000;
        String hello = "hello from 16 bits\n";
        Gate gate = new Gate();
        FutureTask<TinyVmm.Ended> vmm = new FutureTask<>(() -> TinyVmm.run(
                gate, InputStream.nullInputStream(), "--vcpus", "1", "--interrupts", String.valueOf(interrupts)));
        Thread thread = new Thread(vmm, "tiny-vmm");
        thread.setDaemon(true);
        thread.start();
        gate.reached.take();
        Process first = watchingVcpus();
        gate.opened.put(true);
        gate.reached.take();
        assertThat(ended(first))
                .contains("\"missing\":[]", NONE_LOST)
                .contains("\"value\":\"KVM_RUN entered: " + (hello.length() - 1) + ", halts ended: 0\"")
                .doesNotContain("\"running\"", "\"preempted\"", "\"blocked\"");
        Process second = watchingVcpus();
        gate.opened.put(true);
        TinyVmm.Ended ended = vmm.get();
        assertThat(ended.out()).startsWith(hello).contains("; " + interrupts + " interrupts sent, ", " 0 lost");
        String out = ended(second);
        assertThat(out).contains("\"missing\":[]", NONE_LOST);
        Matcher counts = Pattern.compile("\"value\":\"KVM_RUN entered: (\\d+), halts ended: (\\d+)\"")
                .matcher(out);
        assertThat(counts.find()).as(out).isTrue();
        int exits = 2 + 3 * interrupts;
        assertThat(Integer.parseInt(counts.group(1))).as(out).isBetween(exits, exits + 1);
        assertThat(Integer.parseInt(counts.group(2))).as(out).isLessThanOrEqualTo(interrupts + 1);
    }

    private static void run(Vcpu vcpu) {
        vcpu.kick();
        assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
    }

    /** Three runs: one is killed, one goes on, and the third removes what the first left, and nothing else. */
    @Test
    @RealKvm
    void nextRunRemovesWhatAKilledOneLeft() throws Exception {
        String foreign = "kvmirq-of-somebody-else";
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel)) {
            assertThat(vm.fd()).isNotNull();
            Process running = watching();
            Process killed = watching();
            String left = "kvmirq-" + killed.pid() + "-";
            killed.destroyForcibly().waitFor();
            shell("mkdir " + INSTANCES + foreign);
            try {
                assertThat(instances()).contains(left);
                Cli.Ended next = cli().execute(
                                "explain",
                                "--vm",
                                String.valueOf(ProcessHandle.current().pid()),
                                "--live",
                                "1");
                assertThat(next.exited(0).out())
                        .contains("  note: removed " + INSTANCES + left, ", which a killed kvmirq had left\n");
                assertThat(instances()).doesNotContain(left).contains("kvmirq-" + running.pid() + "-", foreign);
            } finally {
                shell("rmdir " + INSTANCES + foreign);
                endedBy("TERM", running, Cli.ENDED_BY_SIGTERM);
            }
            assertThat(instances()).doesNotContain("kvmirq-" + running.pid() + "-");
        }
    }

    /** A killed run's instance that somebody reads cannot be removed, and that is said. */
    @Test
    @RealKvm
    void instanceInUseIsNotRemovedAndTold() throws Exception {
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel)) {
            assertThat(vm.fd()).isNotNull();
            Process killed = watching();
            killed.destroyForcibly().waitFor();
            String left = INSTANCES + "kvmirq-" + killed.pid() + "-";
            Process reader = new ProcessBuilder(
                            "unshare",
                            "-m",
                            "sh",
                            "-c",
                            MOUNTED + "exec 3< $(echo " + left + "*)/trace_pipe; echo open; read end")
                    .start();
            try {
                assertThat(reader.inputReader().readLine()).isEqualTo("open");
                String[] again = {
                    "explain", "--vm", String.valueOf(ProcessHandle.current().pid()), "--live", "1"
                };
                assertThat(cli().execute(again).exited(0).out())
                        .contains("was left by a killed kvmirq and cannot be removed: another process has one of its"
                                + " files open\n");
                reader.getOutputStream().close();
                reader.waitFor();
                assertThat(cli().execute(again).exited(0).out()).contains("  note: removed " + left);
            } finally {
                reader.destroy();
            }
        }
    }
}
