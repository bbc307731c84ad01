/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.SeenCalls;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The chain of a device by probes and by the calls of its VMM, as {@link ProbedChainsContract} compares them, while Debian's
 * kernel drives the device: on x86 and on arm64. The lab runs it only by name, as {@link LinuxDevicesTest}.
 */
@RealKvm
class LinuxDevicesOnProbesTest {
    private static final int SENT = 5;
    private static final int MOST_VECTORS = 8;

    @TempDir
    private Path temporary;

    @BeforeEach
    void requireProbes() {
        assumeTrue(Files.exists(Path.of("/sys/kernel/tracing/kprobe_events")), "needs kprobes: make lab has them");
        assumeTrue(!Machine.hasVlpis(), "needs a GICv3: a vLPI passes no probe");
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    private static List<String> tinyVmm(String device, String append) {
        List<String> program = VfioKillContract.java();
        program.addAll(List.of(
                "-cp",
                System.getProperty("java.class.path")
                        + File.pathSeparator
                        + Machine.root().resolve("target/examples"),
                "tinyvmm.TinyVmm",
                "--kernel",
                "/guest/kernel",
                "--initramfs",
                "/guest/devices",
                "--interrupts",
                "0",
                "--device",
                device,
                "--append",
                "panic=-1 quiet noxsave " + append,
                "--paths",
                "yes"));
        return program;
    }

    private static long[] handled(String device) {
        return IntStream.range(0, MOST_VECTORS)
                .mapToLong(vector -> LiveProbesContract.handled("vfio-msix[" + vector + "](" + device + ")"))
                .toArray();
    }

    /** The vectors that the host handled at least so often since then. */
    private static List<Integer> used(String device, long[] since) {
        long[] now = handled(device);
        return IntStream.range(0, MOST_VECTORS)
                .filter(vector -> now[vector] >= since[vector] + SENT)
                .boxed()
                .toList();
    }

    /** QEMU reads the eventfd in its main loop and sends the message itself: the guest loses nothing. */
    @Test
    void interruptsThatQemuSendsItselfAreNoLoss() throws Exception {
        assumeTrue(!LinuxDevicesTest.IS_ARM64, "needs x86: the option is of MSI-X on x86");
        String address = LinuxDevicesTest.address(LinuxDevicesTest.NVME);
        List<String> program = LinuxDevicesTest.qemu(
                "device=nvme reads=100000 boot=1", "-device", "vfio-pci,host=" + address + ",x-no-kvm-msix=on");
        CompletableFuture<Cli.Ended> run = ProbedChainsContract.started(temporary.resolve("output"), program);
        ProcessHandle vmm = ProbedChainsContract.child().orElseThrow();
        Live live;
        HostFacts after;
        try {
            ProbedChainsContract.await(
                    run, () -> !used(address, new long[MOST_VECTORS]).isEmpty());
            try (LiveWindow window = LiveProbesContract.watch(List.of(PciAddress.parse(address)), vmm.pid())) {
                long[] before = handled(address);
                ProbedChainsContract.await(run, () -> !used(address, before).isEmpty());
                after = LiveProbesContract.host();
                live = LiveProbesContract.ended(window, after);
            }
        } finally {
            ProbedChainsContract.end(vmm, address);
            run.join();
        }
        List<Stages> ofHandlers = live.stages().stream()
                .filter(stages -> stages.stages().get(0).label().equals("host irq"))
                .toList();
        assertThat(ofHandlers).isNotEmpty().allSatisfy(stages -> {
            LiveProbesContract.printed(stages);
            assertThat(stages.loses()).isEmpty();
            assertThat(stages.doubt().orElse(""))
                    .contains("signals that no irqfd consumed: the VMM may have read them");
        });
    }

    /** The driver uses some vectors only. On arm64 only the guest knows the interrupt of a message. */
    @ParameterizedTest
    @CsvSource({"QEMU, nvme", "QEMU, e1000e", "tiny-vmm, nvme", "tiny-vmm, e1000e"})
    void chainsOfUsedVectorsAreThoseOfTheCalls(String name, String driver) throws Exception {
        String address =
                LinuxDevicesTest.address(driver.equals("nvme") ? LinuxDevicesTest.NVME : LinuxDevicesTest.E1000E);
        String append = "device=" + driver + " reads=100000 boot=1 pings=10000";
        Path log = temporary.resolve("log");
        Path output = temporary.resolve("output");
        List<String> program = name.equals("QEMU")
                ? LinuxDevicesTest.qemu(
                        append, ("-device vfio-pci,host=" + address + ProbedChainsContract.QEMU_TRACE + log).split(" "))
                : tinyVmm(address, append);
        Path calls = temporary.resolve("calls");
        CompletableFuture<Cli.Ended> run =
                ProbedChainsContract.started(output, new SeenCalls(temporary).ioctls(calls, program));
        ProcessHandle vmm = ProbedChainsContract.child().orElseThrow();
        PciAddress device = PciAddress.parse(address);
        Live live;
        List<InterruptPath> probed = new ArrayList<>();
        List<Map<Hop<?>, String>> seen = new ArrayList<>();
        List<Map<Hop<?>, String>> own = new ArrayList<>();
        try {
            ProbedChainsContract.await(
                    run, () -> !used(address, new long[MOST_VECTORS]).isEmpty());
            List<Integer> vectors;
            HostFacts after;
            try (LiveWindow window = LiveProbesContract.watch(List.of(device), vmm.pid())) {
                long[] before = handled(address);
                ProbedChainsContract.await(run, () -> !used(address, before).isEmpty());
                vectors = used(address, before);
                after = LiveProbesContract.host();
                live = LiveProbesContract.ended(window, after);
            }
            LiveChains chains = LiveChains.of(live, after);
            for (int vector : vectors) {
                probed.add(chains.of(DeviceChains.read(after, after.pci(device).orElseThrow(), vector)));
                seen.add(SeenPaths.of(calls).of(address, "MSI-X " + vector, vmm.pid()));
                own.add(
                        name.equals("QEMU")
                                ? ProbedChainsContract.ofQemu(log, "MSI-X ", vector)
                                : ProbedChainsContract.ofTinyVmm(output, address, "MSI-X " + vector));
            }
        } finally {
            ProbedChainsContract.end(vmm, address);
            run.join();
        }
        live.missing().forEach(unknown -> System.out.println("not shown: " + unknown));
        System.out.println(
                "lost " + live.lost() + ", events " + live.events() + live.irqs() + ", notes " + live.notes());
        live.stages().forEach(LiveProbesContract::printed);
        List<Hop<?>> hops = new ArrayList<>(ProbedChainsContract.HOPS);
        if (LinuxDevicesTest.IS_ARM64) {
            hops.removeAll(List.of(Hop.GUEST_VECTOR, Hop.VCPU));
        }
        assertThat(ProbedChainsContract.differences("calls", name + " " + driver, hops, probed, seen))
                .isEmpty();
        assertThat(own).allSatisfy(numbers -> assertThat(numbers).containsKeys(Hop.DEVICE_VECTOR, Hop.GSI));
        hops.retainAll(own.get(0).keySet());
        assertThat(ProbedChainsContract.differences(name + "'s own", name + " " + driver, hops, probed, own))
                .isEmpty();
        assertThat(probed).isNotEmpty().allSatisfy(chain -> assertThat(LiveProbesContract.value(chain, Hop.IRQFD))
                .isEqualTo("process " + vmm.pid()));
        assertThat(live.stages()).isNotEmpty().allSatisfy(stages -> assertThat(stages.loses())
                .isEmpty());
    }
}
