/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.LinuxDevicesTest.IS_ARM64;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.SeenCalls;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Linux under QEMU with virtio-net, whose interrupts vhost sends: the stages by probes against the counts of the guest and
 * against QEMU's calls. The lab runs it only by name, as {@link LinuxDevicesTest}.
 */
@RealKvm
class LinuxDevicesOnVhostTest {
    private static final int PINGS = 20;
    private static final long LOOK_MILLIS = 100;
    private static final Path TUN = Path.of("/dev/net/tun");
    private static final Pattern TOOK = Pattern.compile("guest: took (virtio0-\\S+) (\\d+) (\\d+)");

    @TempDir
    private Path temporary;

    private Optional<ProcessHandle> vmm = Optional.empty();

    /** The interrupts that each of the guest's two processors took, by name, before and after some pings. */
    private record Pinged(Map<String, long[]> before, Map<String, long[]> after) {}

    @BeforeEach
    void requireDevices() {
        assumeTrue(Files.exists(Path.of("/sys/kernel/tracing/kprobe_events")), "needs kprobes: make lab has them");
        assumeTrue(Files.exists(TUN) && Files.exists(Path.of("/dev/vhost-net")), "needs vhost_net: make lab has it");
        Machine.assumeProgram("busybox");
        assumeTrue(Files.exists(Path.of("/guest/devices")), "needs a kernel that KVM can boot: make lab has it");
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        vmm.ifPresent(ProcessHandle::destroyForcibly);
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    private static SocketChannel connected(Path console, CompletableFuture<Cli.Ended> run) throws Exception {
        while (true) {
            assertThat(run.isDone()).as(() -> "QEMU has ended: " + run.join()).isFalse();
            SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
            try {
                channel.connect(UnixDomainSocketAddress.of(console));
                return channel;
            } catch (IOException e) {
                // It does not listen yet.
                channel.close();
                TimeUnit.MILLISECONDS.sleep(LOOK_MILLIS);
            }
        }
    }

    /** Reads the console to a line that contains a text. */
    private static List<String> until(BufferedReader console, String text) throws IOException {
        List<String> lines = new ArrayList<>();
        for (String line = console.readLine(); line != null; line = console.readLine()) {
            lines.add(line);
            if (line.contains(text)) {
                return lines;
            }
        }
        throw new AssertionError("the console ended before '" + text + "'; it printed " + lines);
    }

    private static Pinged ping(SocketChannel channel, BufferedReader console, int times) throws IOException {
        channel.write(ByteBuffer.wrap((times + "\n").getBytes(StandardCharsets.US_ASCII)));
        Map<String, long[]> before = new TreeMap<>();
        Map<String, long[]> after = new TreeMap<>();
        for (String line : until(console, "guest: pinged " + times)) {
            Matcher took = TOOK.matcher(line);
            if (took.find()) {
                long[] counts = {Long.parseLong(took.group(2)), Long.parseLong(took.group(3))};
                before.putIfAbsent(took.group(1), counts);
                after.put(took.group(1), counts);
            }
        }
        assertThat(after.keySet()).hasSize(2);
        return new Pinged(before, after);
    }

    private static long since(Map<String, long[]> earlier, Map<String, long[]> later, String name) {
        return later.get(name)[1] - earlier.get(name)[1];
    }

    private static Optional<Stages.Stage> found(Stages stages, String label) {
        return stages.stages().stream()
                .filter(stage -> stage.label().equals(label))
                .findFirst();
    }

    private static Stages.Stage stage(Stages stages, String label) {
        return found(stages, label).orElseThrow();
    }

    private static long count(Stages stages, String label) {
        return found(stages, label)
                .map(Stages.Stage::counted)
                .map(Long::valueOf)
                .orElse(0L);
    }

    /** No event of an arm64 kernel shows it. */
    private static void assertTakenByVcpu1(Stages stages) {
        if (!IS_ARM64) {
            assertThat(stage(stages, "taken").value())
                    .containsPattern(" by vcpu 1(; \\d+ were merged or are pending)?$");
        }
    }

    /** An interrupt between two looks at the guest's counts may belong to either side; usually there is none. */
    @Test
    void stagesOfEachVectorAreThoseOfTheGuestAndOfTheCalls() throws Exception {
        Path console = temporary.resolve("console");
        Path calls = temporary.resolve("calls");
        CompletableFuture<Cli.Ended> run = ProbedChainsContract.started(
                temporary.resolve("output"),
                new SeenCalls(temporary)
                        .ioctls(
                                calls,
                                LinuxDevicesTest.qemu(
                                        "ipv6.disable=1 device=virtio",
                                        "-name",
                                        "guest=web",
                                        "-chardev",
                                        "socket,id=console,server=on,path=" + console,
                                        "-serial",
                                        "chardev:console",
                                        "-netdev",
                                        "tap,id=net,ifname=lab0,script=no,downscript=no,vhost=on",
                                        "-device",
                                        "virtio-net-pci,netdev=net,romfile=")));
        vmm = ProbedChainsContract.child();
        Live live;
        Live killed;
        Pinged first;
        Pinged watched;
        Pinged last;
        long process;
        try (SocketChannel channel = connected(console, run);
                BufferedReader lines = new BufferedReader(Channels.newReader(channel, StandardCharsets.ISO_8859_1))) {
            process = vmm.orElseThrow().pid();
            until(lines, "guest: init");
            Files.writeString(Path.of("/proc/sys/net/ipv6/conf/lab0/disable_ipv6"), "1");
            Program.output(List.of("busybox", "ip", "addr", "add", "10.0.3.2/24", "dev", "lab0"));
            Program.output(List.of("busybox", "ip", "link", "set", "lab0", "up"));
            first = ping(channel, lines, 1);
            try (LiveWindow window = LiveProbesContract.watch(List.of(), process)) {
                watched = ping(channel, lines, PINGS);
                live = LiveProbesContract.ended(window, LiveProbesContract.host());
            }
            last = ping(channel, lines, 0);
            try (LiveWindow window = LiveProbesContract.watch(List.of(), process)) {
                ping(channel, lines, PINGS);
                vmm.get().destroyForcibly();
                run.join();
                killed = LiveProbesContract.ended(window, LiveProbesContract.host());
            }
        } finally {
            vmm.ifPresent(ProcessHandle::destroyForcibly);
            run.join();
        }
        assertThat(live.missing()).isEmpty();
        live.stages().forEach(LiveProbesContract::printed);
        SeenPaths seen = SeenPaths.of(calls);
        List<String> vectors = new ArrayList<>();
        for (Stages stages : live.stages()) {
            assertThat(stage(stages, "eventfd").value())
                    .containsPattern("^id \\d+, signalled by vhost \\(vhost-\\d+, ");
            assertThat(stage(stages, "irqfd").value()).isEqualTo("process " + process);
            int number = Integer.parseInt(stage(stages, "GSI").value().substring("gsi ".length()));
            assertThat(seen.irqfds(number)).isOne();
            String message = stage(stages, "delivered").value();
            assertThat(message).isEqualTo(seen.message(number).orElseThrow().toString());
            assertThat(stage(stages, "eventfd").value()).startsWith("id " + seen.eventfd(number) + ",");
            // On arm64 a worker raises the first message.
            long delivered = count(stages, "delivered") + (IS_ARM64 ? count(stages, "by a worker") : 0);
            assertThat(List.of(count(stages, "eventfd"), count(stages, "irqfd"), count(stages, "GSI")))
                    .containsOnly(delivered);
            assertThat(stages.loses()).isEmpty();
            long taken = IS_ARM64 ? delivered : count(stages, "taken");
            assertThat(taken).isBetween(1L, delivered);
            assertTakenByVcpu1(stages);
            vectors.add(message);
            // The vector whose count the guest's row has.
            List<String> names = watched.after().keySet().stream()
                    .filter(name -> since(watched.before(), watched.after(), name) <= taken
                            && taken <= since(first.after(), last.before(), name))
                    .toList();
            System.out.println(
                    "vhost: " + message + ", delivered " + delivered + ", taken " + taken + ", of the guest " + names);
            assertThat(names).isNotEmpty();
        }
        assertThat(new TreeSet<>(vectors)).hasSameSizeAs(vectors);
        for (String name : watched.after().keySet()) {
            System.out.println("vhost: " + name + " took " + since(watched.before(), watched.after(), name) + " of "
                    + since(first.after(), last.before(), name) + " on vCPU 1");
            assertThat(last.after().get(name)[0])
                    .as(name + " on vCPU 0")
                    .isEqualTo(first.before().get(name)[0]);
        }
        long used = watched.after().keySet().stream()
                .filter(name -> since(first.after(), last.before(), name) > 0)
                .count();
        assertThat(live.stages()).hasSize((int) used);
        assertThat(killed.notes())
                .contains("process " + process
                        + " of the guest ended during the watch, so its interrupts are counted until then");
        killed.stages().forEach(LiveProbesContract::printed);
        assertThat(killed.stages()).hasSize((int) used).allSatisfy(stages -> {
            assertThat(stage(stages, "irqfd").value()).isEqualTo("process " + process);
            assertThat(stage(stages, "eventfd").value())
                    .containsPattern("signalled by (vhost|the VMM|a process that is not in /proc) ");
            assertTakenByVcpu1(stages);
            assertThat(count(stages, "irqfd")).isPositive();
        });
    }

    /** The same guest on the library's emulated function: vhost signals its vectors, and this VMM sees no packet. */
    @Test
    void guestOfTinyVmmPingsThroughVhost() throws Exception {
        List<String> command = LinuxDevicesTest.tinyVmm("ipv6.disable=1 device=virtio", "--net", "lab0");
        Process tiny = new ProcessBuilder(command).redirectErrorStream(true).start();
        vmm = Optional.of(tiny.toHandle());
        BufferedReader console =
                new BufferedReader(new InputStreamReader(tiny.getInputStream(), StandardCharsets.ISO_8859_1));
        until(console, "guest: init");
        Program.output(List.of("busybox", "ip", "addr", "add", "10.0.3.2/24", "dev", "lab0"));
        Program.output(List.of("busybox", "ip", "link", "set", "lab0", "up"));
        for (int pings : new int[] {1, PINGS}) {
            tiny.getOutputStream().write((pings + "\n").getBytes(StandardCharsets.US_ASCII));
            tiny.getOutputStream().flush();
        }
        until(console, "guest: pinged 1");
        List<String> lines = until(console, "guest: pinged " + PINGS);
        lines.forEach(line -> System.out.println("tiny-vmm: " + line));
        assertThat(lines).anyMatch(line -> line.contains(PINGS + " packets received"));
        List<Long> took = lines.stream()
                .map(TOOK::matcher)
                .filter(Matcher::find)
                .filter(found -> found.group(1).contains("input"))
                .map(found -> Long.parseLong(found.group(3)))
                .toList();
        assertThat(took.get(1) - took.get(0)).as("interrupts of the answers").isGreaterThanOrEqualTo(PINGS);
    }
}
