/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.screens.Watcher.Event;
import io.kvmirq.diag.screens.Watcher.Row;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.diag.sources.StillHost;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.KernelImage;
import io.kvmirq.host.trace.FakeTracefs;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import java.util.function.LongSupplier;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Changes that are planted in the files of a host, each of which is told within two ticks. */
class WatcherTest {
    private static final String DEVICE = "0000:00:02.0";
    private static final String INTERRUPTS = "proc/interrupts";
    private static final String CONFIG = "sys/bus/pci/devices/" + DEVICE + "/config";
    private static final String CMDLINE = "proc/100/cmdline";
    private static final long SECOND = 1_000_000_000;

    @TempDir
    private Path root;

    private final AtomicLong nanos = new AtomicLong();
    private RecordedHost host;
    private Function<HostFacts, Optional<Stages.Counted>> probes = same -> Optional.empty();
    private Watcher watcher;

    @BeforeEach
    void begin() throws IOException {
        host = GuestHosts.of("amd-pit");
        String rows = host.tree().text(INTERRUPTS).orElseThrow();
        host.put(INTERRUPTS, rows + "\nPIN:          0          0   Posted-interrupt notification event\n")
                .put("sys/kernel/debug/kvm/100-5/exits", "50000\n")
                .put("sys/kernel/debug/kvm/100-5/irq_injections", "100\n")
                .put("sys/bus/pci/devices/" + DEVICE + "/power_state", "D0\n");
        for (int irq = 27; irq <= 31; irq++) {
            host.put("proc/irq/" + irq + "/effective_affinity_list", "0\n");
        }
        host.writeTo(root);
        watcher = watcher(nanos::get, Runnable::run);
        assertThat(watcher.tick().events()).isEmpty();
    }

    private Watcher watcher(LongSupplier clock, Executor executor) {
        return watcher(clock, executor, process -> true);
    }

    private Watcher watcher(LongSupplier clock, Executor executor, Predicate<VmProcess> guests) {
        return new Watcher(HostFiles.at(root), clock, executor, guests, path -> true, KernelPaths.none(), probes);
    }

    @AfterEach
    void end() {
        watcher.close();
    }

    private Watcher.Tick tick() {
        nanos.addAndGet(SECOND);
        return watcher.tick();
    }

    /** In place, as the kernel changes a file. */
    private void write(String path, String text) throws IOException {
        Files.writeString(root.resolve(path), text);
    }

    private String text(String path) throws IOException {
        return Files.readString(root.resolve(path));
    }

    /** The changes of two ticks, and none after them. */
    private List<Event> seen() {
        List<Event> events = new ArrayList<>(tick().events());
        events.addAll(tick().events());
        for (int i = 0; i < 4; i++) {
            assertThat(tick().events()).isEmpty();
        }
        return events;
    }

    private Event vector(String what, int vector, String text) {
        return new Event(what, "web", DEVICE, "MSI-X " + vector, text);
    }

    private void master(boolean on) {
        try {
            byte[] config = Files.readAllBytes(root.resolve(CONFIG));
            config[4] = (byte) (on ? config[4] | 4 : config[4] & ~4);
            Files.write(root.resolve(CONFIG), config);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void unchangedMachineTellsNothing() {
        for (int i = 0; i < 60; i++) {
            assertThat(tick().events()).isEmpty();
        }
        assertThat(tick().rows().get(0).history()).as("of the last minute").hasSize(60);
    }

    /** A look takes so long that none is due for minutes. */
    @Test
    void changeInKernelMemoryIsReasonToLook() throws IOException {
        KernelImage image = new KernelImage("7.2", Vendor.AMD);
        long vm = image.vm(100);
        long eventfd = image.eventfd(1);
        image.irq(27, eventfd, 24, 0x10, 0x101, 0x41);
        long irqfd = image.irqfd(vm, eventfd, 24, 27, MsiMessage.to(new VcpuId(0), new InterruptVector(0x51)));
        Path core = image.write(root.resolve("kcore"));
        probes = host -> {
            nanos.addAndGet(60 * SECOND);
            return Optional.empty();
        };
        watcher.close();
        watcher = new Watcher(
                HostFiles.at(root),
                nanos::get,
                Runnable::run,
                process -> true,
                path -> true,
                KernelPaths.open(image.files(), core),
                probes);
        image.put(irqfd, "kvm_kernel_irqfd", "kvm", 0);
        image.write(core);
        for (Watcher.Tick tick : List.of(tick(), tick())) {
            assertThat(tick.scan())
                    .as("the first look, and one that opens a torn memory")
                    .isPresent();
            assertThat(tick.events()).isEmpty();
        }
        for (long kvm : new long[] {vm, 0, vm}) {
            image.put(irqfd, "kvm_kernel_irqfd", "kvm", kvm);
            image.write(core);
            nanos.addAndGet(3600 * SECOND);
            assertThat(tick().events()).as("the memory is whole or torn").isEmpty();
        }
        for (int i = 0; i < 5; i++) {
            assertThat(tick().scan()).as("nothing changed").isEmpty();
        }
        image.deassign(irqfd);
        image.write(core);
        Watcher.Tick gone = tick();
        assertThat(gone.scan()).as("the irqfd is gone").isPresent();
        assertThat(gone.events()).extracting(Event::what).contains("irqfd");
        assertThat(tick().scan()).as("it was told").isEmpty();
    }

    /** The kernel makes the files of an irq anew when a driver takes its vectors again. */
    @Test
    void fileThatIsMadeAgainIsReadAgain() throws IOException {
        Path file = root.resolve("proc/irq/29/effective_affinity_list");
        Files.writeString(file, "");
        assertThat(tick().events()).as("the file that is open has an end").isEmpty();
        Files.delete(file);
        Files.writeString(file, "1\n");
        assertThat(seen()).as("of the irq before").isEmpty();
        Files.writeString(file, "0\n");
        assertThat(seen()).containsExactly(vector("affinity", 2, "host irq 29 moved from CPU 1 to CPU 0"));
    }

    @Test
    void affinityThatMovesIsToldAtItsVector() throws IOException {
        write("proc/irq/29/effective_affinity_list", "1\n");
        Watcher.Tick tick = tick();
        assertThat(tick.events()).containsExactly(vector("affinity", 2, "host irq 29 moved from CPU 0 to CPU 1"));
        assertThat(tick.rows())
                .filteredOn(row -> row.marked().contains("cpu"))
                .extracting(Row::irq)
                .containsExactly(29);
        for (int i = 0; i < 4; i++) {
            tick = tick();
        }
        assertThat(tick.rows()).as("of 5 ticks").anyMatch(row -> row.marked().contains("cpu"));
        assertThat(tick().rows()).noneMatch(row -> row.marked().contains("cpu"));
    }

    @Test
    void busMasterThatIsSwitchedOffIsAFlawUntilItIsOn() throws IOException {
        assertThat(tick().rows().get(0).flaw()).isEqualTo("pit_reinj inhibits AVIC");
        master(false);
        assertThat(seen())
                .filteredOn(event -> event.what().equals("flaw"))
                .hasSize(5)
                .allMatch(event -> event.text().startsWith("device broken: bus mastering is off"));
        assertThat(tick().rows().get(0).flaw()).startsWith("5 of 5 vectors: device broken: bus mastering");
        master(true);
        assertThat(seen())
                .filteredOn(event -> event.what().equals("flaw"))
                .hasSize(5)
                .allMatch(event -> event.text().startsWith("repaired: device broken: bus mastering"));
    }

    @Test
    void doubtThatTheNextLookDoesNotShowIsNotTold() throws IOException {
        String idle = "sys/fs/cgroup/machine.slice/machine-qemu-1-web.scope/cpu.idle";
        master(false);
        seen();
        master(true);
        write(idle, "1\n");
        assertThat(tick().events()).as("in doubt, once").isEmpty();
        write(idle, "0\n");
        assertThat(seen()).extracting(Event::text).allMatch(text -> text.startsWith("repaired: device broken"));
        for (int i = 0; i < 2; i++) {
            write(idle, "1\n");
            assertThat(tick().events()).as("in doubt, once, again").isEmpty();
            write(idle, "0\n");
            assertThat(seen()).isEmpty();
        }
        write(idle, "1\n");
        assertThat(seen()).as("in doubt, twice").isNotEmpty();
        for (int i = 0; i < 2; i++) {
            write(idle, "0\n");
            assertThat(tick().events()).as("not in doubt, once").isEmpty();
            write(idle, "1\n");
            assertThat(seen()).as("in doubt as before").isEmpty();
        }
    }

    /** The threads of vCPUs wait for another one when a look comes; a guest that exits is not paused. */
    @Test
    void guestThatExitsIsNotPaused() throws IOException {
        for (Path task :
                host.tree().list("proc/100/task").stream().map(Path::of).toList()) {
            if (!task.toString().equals("100")) {
                write("proc/100/task/" + task + "/wchan", "futex_wait_queue");
            }
        }
        for (int exits = 1; exits <= 4; exits++) {
            write("sys/kernel/debug/kvm/100-5/exits", 50_000 + exits + "\n");
            assertThat(tick().events()).as("it exits").isEmpty();
        }
        assertThat(seen())
                .extracting(Event::text)
                .allMatch(text -> text.contains("the guest may be paused"))
                .isNotEmpty();
    }

    @Test
    void powerStateIsToldOfTheDevice() throws IOException {
        write("sys/bus/pci/devices/" + DEVICE + "/power_state", "D3hot\n");
        assertThat(seen()).contains(new Event("power", "web", DEVICE, "", "from D0 to D3hot"));
    }

    @Test
    void vectorThatTheGuestDisarmsAndArmsIsTold() throws IOException {
        String rows = text(INTERRUPTS);
        write(INTERRUPTS, rows.replaceFirst("vfio-msix\\[3]\\S+", ""));
        assertThat(seen()).contains(vector("armed", 3, "VFIO has disarmed it")).allMatch(e -> e.interrupt()
                .equals("MSI-X 3"));
        write(INTERRUPTS, rows);
        assertThat(seen()).contains(vector("armed", 3, "VFIO has armed it")).allMatch(e -> e.interrupt()
                .equals("MSI-X 3"));
    }

    @Test
    void inhibitIsToldWhenItEndsAndBegins() throws IOException {
        String before = text(CMDLINE);
        write(CMDLINE, before.replace("delay", "discard"));
        assertThat(seen()).contains(new Event("inhibited", "web", "", "", "cleared: pit_reinj inhibits AVIC"));
        write(CMDLINE, before);
        assertThat(seen()).contains(new Event("inhibited", "web", "", "", "pit_reinj inhibits AVIC"));
    }

    @Test
    void guestThatGoesAndComesIsToldOnce() throws IOException {
        Path fds = root.resolve("proc/100/fd");
        Path away = root.resolve("proc/100/away");
        Files.move(fds, away);
        assertThat(seen()).contains(new Event("gone", "web", "", "", "process 100 no longer has a VM open"));
        Files.move(away, fds);
        assertThat(seen()).contains(new Event("came", "web", "", "", "process 100 has a VM open"));
        watcher.close();
        watcher = watcher(nanos::get, Runnable::run, process -> process.pid() != 100);
        watcher.tick();
        Files.move(fds, away);
        assertThat(seen()).as("of another guest").isEmpty();
    }

    @Test
    void stormIsToldWhenItBeginsAndEnds() throws IOException {
        String rows = text(INTERRUPTS);
        String storm = rows.replaceFirst(" 28:          0", " 28:     300000");
        write(INTERRUPTS, storm);
        assertThat(tick().events()).containsExactly(vector("storm", 1, "host irq 28 fires 300000 times per second"));
        write(INTERRUPTS, rows.replaceFirst(" 28:          0", " 28:     360000"));
        assertThat(tick().events()).as("at 60000 it is not over").isEmpty();
        assertThat(tick().events())
                .containsExactly(vector("storm", 1, "host irq 28 now fires only 0 times per second"));
        write(INTERRUPTS, rows.replaceFirst(" 28:          0", " 28:     660000"));
        assertThat(tick().events()).extracting(Event::what).containsExactly("storm");
        write(INTERRUPTS, rows.replaceFirst("CPU1", "CPU2"));
        assertThat(tick().events()).as("other CPUs: the counts begin again").isEmpty();
        write(INTERRUPTS, rows.replaceFirst("vfio-msix\\[1]\\S+", ""));
        assertThat(seen()).extracting(Event::what).doesNotContain("storm");
        write(INTERRUPTS, rows);
        assertThat(seen())
                .as("the storm ended with its vector")
                .extracting(Event::what)
                .doesNotContain("storm");
    }

    @Test
    void ratesAreOfTheTimeThatPassed() throws IOException {
        write(
                INTERRUPTS,
                text(INTERRUPTS)
                        .replaceFirst(" 28:          0", " 28:         50")
                        .replaceFirst("PIN:          0", "PIN:          5"));
        write("sys/kernel/debug/kvm/100-5/exits", "50300\n");
        write("sys/kernel/debug/kvm/100-5/irq_injections", "120\n");
        nanos.addAndGet(SECOND);
        Watcher.Tick tick = tick();
        assertThat(tick.seconds()).isEqualTo(2);
        Row guest = tick.rows().get(0);
        assertThat(guest.isGuest()).isTrue();
        assertThat(guest.rate()).isEqualTo(25);
        assertThat(guest.exits()).isEqualTo(150);
        assertThat(guest.injected()).isEqualTo(10);
        assertThat(tick.rows())
                .filteredOn(row -> row.irq() == 28)
                .extracting(Row::rate)
                .containsExactly(25.0);
        assertThat(tick.totals()).containsEntry("PIN", 2.5);
        assertThat(tick.cpus()).isEqualTo(Map.of(0, 25.0));
        write("sys/kernel/debug/kvm/100-5/exits", "3\n");
        write("sys/kernel/debug/kvm/100-5/irq_injections", "3\n");
        guest = tick().rows().get(0);
        assertThat(List.of(guest.exits(), guest.injected())).as("was reset").containsOnly(0.0);
        Path exits = root.resolve("sys/kernel/debug/kvm/100-5/exits");
        Files.delete(exits);
        assertThat(tick().rows().get(0).exits()).as("not shown").isNegative();
        Files.writeString(exits, "50000\n");
        assertThat(tick().rows().get(0).exits()).as("not known since when").isNegative();
        assertThat(tick().rows().get(0).exits()).isZero();
        Path vm = exits.getParent();
        Path away = root.resolve("away");
        Files.move(vm, away);
        tick();
        Files.move(away, vm);
        guest = tick().rows().get(0);
        assertThat(List.of(guest.exits(), guest.injected())).as("of a new VM").containsOnly(0.0);
    }

    /** An open file of KVM's counters would keep the VM. */
    @Test
    void countersOfKvmAreNotKeptOpen() throws IOException {
        tick();
        List<String> open = new ArrayList<>();
        try (Stream<Path> fds = Files.list(Path.of("/proc/self/fd"))) {
            for (Path fd : fds.toList()) {
                if (Files.exists(fd)) {
                    open.add(Files.readSymbolicLink(fd).toString());
                }
            }
        }
        String top = root.toRealPath().toString();
        assertThat(open)
                .contains(top + "/" + INTERRUPTS, top + "/proc/irq/27/effective_affinity_list")
                .noneMatch(file -> file.startsWith(top + "/sys/kernel/debug"));
        watcher.close();
    }

    /** A look takes a second, and the next one is due ten seconds later, or with a change. */
    @Test
    void lookComesAtOnceWithAChangeOfADeviceOrItsVmm() throws IOException {
        watcher.close();
        write("proc/100/stat", "100 (CPU) T 0) S 1 100 100");
        AtomicInteger looks = new AtomicInteger();
        watcher = watcher(() -> nanos.addAndGet(SECOND), task -> {
            looks.incrementAndGet();
            task.run();
        });
        for (int i = 0; i < 3; i++) {
            watcher.tick();
        }
        looks.set(0);
        byte[] config = Files.readAllBytes(root.resolve(CONFIG));
        int express = PciCapabilities.parse(config).capability(0x10);
        for (int status : new int[] {6, express + 0x0a, express + 0x12, express + 0x1a}) {
            config[status] ^= 0x20;
            config[status + 1] ^= 0x20;
        }
        Files.write(root.resolve(CONFIG), config);
        watcher.tick();
        write("proc/100/stat", "100 (CPU) T 0) R 1 100 100");
        watcher.tick();
        assertThat(looks).as("after a status, and a state that is no stop").hasValue(0);
        write("proc/100/stat", "100 (CPU) T 0) T 1 100 100");
        watcher.tick();
        assertThat(looks).as("after a stop").hasValue(1);
        master(false);
        assertThat(watcher.tick().events()).extracting(Event::what).contains("flaw");
        assertThat(looks).as("after bus mastering went off").hasValue(2);
        watcher.tick();
        assertThat(looks).hasValue(2);
        write("proc/100/stat", "100 (CPU) T 0) R 1 100 100");
        watcher.tick();
        write("proc/100/stat", "100 (CPU) T 0) t 1 100 100");
        watcher.tick();
        assertThat(looks).as("after it went on, and a stop by a debugger").hasValue(4);
        write("sys/bus/pci/devices/" + DEVICE + "/power_state", "D3cold\n");
        master(true);
        watcher.tick();
        assertThat(looks).as("a read of its configuration would wake it").hasValue(4);
    }

    private FakeTracefs handled(FakeTracefs tracefs, long signals, long taken, long unread) throws IOException {
        write("proc/100/fdinfo/20", "pos:\t0\neventfd-count: " + Long.toHexString(unread) + "\neventfd-id: 1\n");
        return tracefs.text("_host_irq/hist", "")
                .text("_wakeup/hist", "")
                .counts("_host_irq", "irq,id", new long[] {27, 1, signals})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 1, 24, taken});
    }

    /** A loss is that of the interrupts between two looks. Without an interrupt between them it stays. */
    @Test
    void lossIsToldWhenItBeginsAndEnds() throws IOException {
        watcher.close();
        FakeTracefs tracefs = handled(new FakeTracefs(), 100, 100, 0);
        StillHost machine = new StillHost() {
            @Override
            public HostFiles files() {
                return HostFiles.at(root);
            }

            @Override
            public Optional<Known<Probes>> probes(Set<Integer> threads) {
                return Optional.of(tracefs.begin());
            }
        };
        try (LiveWindow window = LiveWindow.ofProbes(machine, new HostFacts(machine.files()))) {
            probes = window::counted;
            watcher = watcher(() -> 0, Runnable::run);
            for (int i = 0; i < 3; i++) {
                assertThat(watcher.tick().events()).isEmpty();
            }
            handled(tracefs, 120, 100, 20);
            assertThat(seen()).containsExactly(vector("loses", 0, "irqfd: 20 signals that no irqfd consumed"));
            handled(tracefs, 150, 130, 0);
            assertThat(seen())
                    .containsExactly(vector("loses", 0, "repaired: irqfd: 20 signals that no irqfd consumed"));
            assertThat(watcher.tick().rows())
                    .filteredOn(row -> row.irq() == 27)
                    .flatExtracting(Row::stages)
                    .extracting(stage -> stage.label() + " " + stage.counted())
                    .startsWith("host irq 150", "eventfd 150", "irqfd 130");
            handled(tracefs, 170, 130, 20);
            assertThat(seen()).containsExactly(vector("loses", 0, "irqfd: 20 signals that no irqfd consumed"));
            String armed = text(INTERRUPTS);
            for (String rows : List.of(armed.replaceFirst("vfio-msix\\[0]\\S+", ""), armed)) {
                write(INTERRUPTS, rows);
                assertThat(seen()).extracting(Event::what).contains("armed").doesNotContain("loses");
            }
            assertThat(watcher.tick().rows())
                    .filteredOn(row -> row.irq() == 27)
                    .as("armed again, and nothing counted since")
                    .flatExtracting(Row::stages)
                    .isEmpty();
            Stages.Counted counted =
                    window.counted(new HostFacts(machine.files())).orElseThrow();
            assertThatThrownBy(() -> counted.processes().clear()).isInstanceOf(UnsupportedOperationException.class);
            assertThatThrownBy(() -> counted.vcpus().clear()).isInstanceOf(UnsupportedOperationException.class);
        }
    }

    /** Files that a VMM changes meanwhile tell of two moments. */
    @Test
    void flawThatALookShowsDuringAChangeMustBeInTheNextOne() throws IOException {
        watcher.close();
        List<Runnable> looks = new ArrayList<>();
        watcher = watcher(() -> nanos.addAndGet(SECOND), looks::add);
        watcher.tick();
        watcher.tick();
        master(false);
        looks.remove(0).run();
        assertThat(watcher.tick().events()).isEmpty();
        looks.remove(0).run();
        assertThat(watcher.tick().events()).extracting(Event::what).contains("flaw");
    }

    /** A tick reads it meanwhile: the look is taken again, so that the next tick tells it. */
    @Test
    void changeThatComesDuringALookIsToldByTheNextTick() throws IOException {
        watcher.close();
        Deque<Runnable> looks = new ArrayDeque<>();
        Deque<Runnable> during = new ArrayDeque<>();
        watcher = watcher(
                () -> {
                    if (!during.isEmpty()) {
                        during.remove().run();
                    }
                    return nanos.addAndGet(SECOND);
                },
                looks::add);
        watcher.tick();
        watcher.tick();
        during.add(() -> {}); // the look begins
        during.add(() -> {
            master(false);
            assertThat(watcher.tick().events()).isEmpty();
        });
        looks.remove().run();
        assertThat(watcher.tick().events()).extracting(Event::what).contains("flaw");
    }
}
