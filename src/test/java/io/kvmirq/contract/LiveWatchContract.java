/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.LiveProbesContract.handled;
import static io.kvmirq.contract.LiveProbesContract.host;
import static io.kvmirq.contract.LiveProbesContract.left;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.screens.Watcher;
import io.kvmirq.diag.screens.Watcher.Event;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.Program;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.io.BufferedReader;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Watches with probes while a device sends messages: stages, losses that are made on purpose, and nothing left in tracefs. */
@VfioContract
class LiveWatchContract extends VfioSuite {
    private static final int SENT = 20;
    private static final int VECTORS = 2;
    private static final Pattern IRQFD =
            Pattern.compile("\"interrupt\":\"MSI-X 0\",(?:(?!\"interrupt\").)*?\"label\":\"irqfd\",\"count\":(\\d+)");

    private final Deque<Runnable> looks = new ArrayDeque<>();
    private final Undo made = new Undo();
    private long nanos;
    private PciAddress nic;
    private Hardware hardware;
    private List<ForwardedIrq> irqs = List.of();

    @SuppressWarnings("NullAway.Init")
    LiveWatchContract() {}

    @BeforeEach
    void forward() {
        LiveProbesContract.requireProbes(world);
        nic = vfio.address(E1000E);
        Kernel own = made.add(Kernel.over(vfio.kernel()));
        Vm vm = made.add(Vm.create(own));
        vm.x86().createIrqchip();
        made.add(vm.createVcpu(new VcpuId(0))).x86().enableLapic();
        VfioDevice device = made.add(VfioDevice.open(own, nic, made.add(KvmVfio.create(vm))));
        hardware = vfio.hardwareOf(E1000E, Numbers.of(device.fd()));
        device.config().enableMemory();
        device.config().enableBusMaster();
        hardware.start();
        irqs = made.add(Forwarding.create(vm, device))
                .forwardAll(device.msix(0, VECTORS), i -> MsiMessage.to(new VcpuId(0), new InterruptVector(0x41 + i)));
        made.add((AutoCloseable) device::reset); // QEMU's e1000e counts 128 us from its last message
    }

    @AfterEach
    void nothingIsLeft() throws IOException {
        made.close();
        assertThat(left()).isEmpty();
    }

    private void send(int vector) {
        for (int i = 0; i < SENT; i++) {
            long before = handled(vector);
            hardware.send(vector);
            eventually("the host handled it", () -> handled(vector) > before);
        }
    }

    /** A tick, a second after the last one, and then a look. */
    private Watcher.Tick tick(Watcher watcher) {
        nanos += TimeUnit.SECONDS.toNanos(1);
        Watcher.Tick tick = watcher.tick();
        while (!looks.isEmpty()) {
            looks.remove().run();
        }
        System.out.println("lab-watch: " + tick.events());
        return tick;
    }

    /** The changes of two ticks. */
    private List<Event> told(Watcher watcher) {
        List<Event> events = new ArrayList<>(tick(watcher).events());
        events.addAll(tick(watcher).events());
        return events;
    }

    private static long irqfd(Watcher.Tick tick, int vector) {
        return tick.rows().stream()
                .filter(row -> row.interrupt().equals("MSI-X " + vector))
                .flatMap(row -> row.stages().stream())
                .filter(stage -> stage.label().equals("irqfd"))
                .mapToLong(stage -> stage.count().orElse(0))
                .sum();
    }

    private Event loses(int vector, String text) {
        return new Event("loses", "java", nic.toString(), "MSI-X " + vector, text);
    }

    /** The clock stands while it looks, so that a look is always due. */
    @Test
    void lossIsToldAtItsVectorAndItsEnd() {
        LiveWindow probes = made.add(LiveWindow.ofProbes(LiveHost.thisMachine(), host()));
        Watcher watcher = made.add(new Watcher(
                LiveHost.thisMachine().files(),
                () -> nanos,
                looks::add,
                process -> true,
                path -> true,
                KernelPaths.none(),
                probes::counted));
        for (int round = 1; round <= 2; round++) {
            send(0);
            send(1);
            assertThat(told(watcher)).isEmpty();
            Watcher.Tick tick = tick(watcher);
            for (int vector = 0; vector < VECTORS; vector++) {
                assertThat(irqfd(tick, vector)).isEqualTo(handled(vector)).isGreaterThanOrEqualTo((long) round * SENT);
            }
        }
        long first = handled(1);
        irqs.get(1).mask();
        long before = handled(1); // the device may send a message late, whose signal KVM has consumed or not
        send(1);
        List<Event> lost = told(watcher);
        assertThat(lost)
                .singleElement()
                .isIn(LongStream.rangeClosed(first, before)
                        .mapToObj(from -> loses(1, "irqfd: " + (handled(1) - from) + " signals that no irqfd consumed"))
                        .toList());
        String loss = lost.get(0).text();
        assertThat(told(watcher)).as("no message since").isEmpty();
        irqs.get(1).unmask();
        send(0);
        send(1);
        assertThat(told(watcher)).containsExactly(loses(1, "repaired: " + loss));
        assertThat(told(watcher)).isEmpty();
    }

    /** @param early whether the signal comes as soon as the first probe is set */
    @ParameterizedTest
    @CsvSource({"TERM,false,143", "INT,true,130"})
    void signalRemovesTheProbes(String signal, boolean early, int code) throws IOException, InterruptedException {
        Process watch = Cli.jvm().start("watch", "--live", "--json", "--interval", "0.2");
        try (BufferedReader lines = watch.inputReader()) {
            if (early) {
                while (left().isEmpty()) {
                    assertThat(watch.isAlive()).isTrue();
                    TimeUnit.MILLISECONDS.sleep(1);
                }
            } else {
                long first = counted(lines, 0);
                assertThat(counted(lines, first)).isGreaterThan(first);
                assertThat(left()).isNotEmpty();
            }
            Program.signal(signal, watch.pid());
            lines.lines().forEach(same -> {});
            assertThat(watch.waitFor()).isEqualTo(code);
            assertThat(left()).isEmpty();
        } finally {
            watch.destroyForcibly().waitFor();
        }
    }

    /** Sends messages until a document counts more than {@code before}. */
    private long counted(BufferedReader lines, long before) throws IOException {
        while (true) {
            Matcher irqfd = IRQFD.matcher(Objects.requireNonNull(lines.readLine(), "the watch ended"));
            if (irqfd.find() && Long.parseLong(irqfd.group(1)) > before) {
                return Long.parseLong(irqfd.group(1));
            }
            send(0);
        }
    }
}
