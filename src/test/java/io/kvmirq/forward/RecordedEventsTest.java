/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.events.Events;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.Warnings;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jdk.jfr.Configuration;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What JDK Flight Recorder gets of each step, and what it costs a program that records nothing. */
class RecordedEventsTest {
    private static final Path SETTINGS = Machine.root().resolve("src/docs/kvmirq.jfc");
    private static final VcpuId FIRST = new VcpuId(0);
    private static final MsiMessage MESSAGE = MsiMessage.to(FIRST, new InterruptVector(0x41));
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");

    @TempDir
    private Path directory;

    private final List<RecordedEvent> events = new ArrayList<>();
    private int number;

    private interface Steps {
        void run() throws Exception;
    }

    /** The library's events while the steps run. */
    private void record(Configuration settings, Steps steps) throws Exception {
        Path file = directory.resolve(number++ + ".jfr");
        try (Recording recording = new Recording(settings)) {
            recording.start();
            steps.run();
            recording.stop();
            recording.dump(file);
        }
        RecordingFile.readAllEvents(file).stream()
                .filter(event -> event.getEventType().getName().startsWith("kvmirq."))
                .forEach(events::add);
    }

    private void record(Steps steps) throws Exception {
        record(Configuration.create(SETTINGS), steps);
    }

    private List<RecordedEvent> events(String name) {
        return events.stream()
                .filter(event -> event.getEventType().getName().equals("kvmirq." + name))
                .toList();
    }

    private RecordedEvent event(String name) {
        List<RecordedEvent> found = events(name);
        assertThat(found).as(name).hasSize(1);
        assertThat(found.get(0).getEventType().getCategoryNames()).containsExactly("kvmirq");
        return found.get(0);
    }

    /** The values of fields, of one event or of several. */
    private List<String> values(String name, String... fields) {
        return events(name).stream()
                .map(event -> Stream.of(fields)
                        .map(field -> String.valueOf(event.<@Nullable Object>getValue(field)))
                        .collect(Collectors.joining(" ")))
                .toList();
    }

    private static int fd(Object handle) {
        return Integer.parseInt(
                handle.toString().replaceAll("\\D*\\(fd (\\d+)\\).*", "$1").replaceAll(".*\\D", ""));
    }

    // The steps

    /** A VM, a vCPU that reads a port for ever, and an eventfd. */
    private record Guest(Undo open, Kernel kernel, Vm vm, Vcpu vcpu, EventFd event) implements AutoCloseable {
        static Guest on(Kernel kernel) {
            Undo open = new Undo();
            open.add(kernel);
            Vm vm = open.add(Vm.create(kernel));
            vm.x86().createIrqchip();
            AssembledGuest guest = open.add(new AssembledGuest(vm, "loop: in al, 0xe0; jmp loop"));
            return new Guest(open, kernel, vm, guest.vcpu, open.add(EventFd.create(kernel)));
        }

        @Override
        public void close() {
            open.close();
        }
    }

    private static void maskAndUnmask(Guest guest) {
        Gsi gsi = guest.vm().routes().add(MESSAGE);
        try (Irqfd irqfd = guest.vm().assignIrqfd(guest.event(), gsi)) {
            irqfd.mask();
            irqfd.unmask();
        }
        guest.vm().routes().replace(gsi, MsiMessage.to(FIRST, new InterruptVector(0x42)));
        guest.vm().routes().remove(gsi);
    }

    private static void runAndKick(Guest guest) {
        assertThat(guest.vcpu().run().reason()).isEqualTo(VcpuExit.Reason.IO);
        assertThat(guest.vcpu().run().reason()).isEqualTo(VcpuExit.Reason.IO);
        guest.vcpu().kick();
        assertThat(guest.vcpu().run().reason()).isEqualTo(VcpuExit.Reason.INTR);
    }

    private static void pause(Guest guest) throws InterruptedException {
        CountDownLatch exited = new CountDownLatch(1);
        VcpuThreads.Owner owner = new VcpuThreads.Owner() {
            @Override
            public boolean exited(Vcpu vcpu, VcpuExit exit) {
                exited.countDown();
                return true;
            }

            @Override
            public void failed(Vcpu vcpu, Throwable failure) {}
        };
        try (VcpuThreads threads = VcpuThreads.start(List.of(guest.vcpu()), owner)) {
            exited.await();
            threads.pause();
            threads.pause(Duration.ofSeconds(10));
            threads.resume();
        }
    }

    private static void forgetRoute(Guest guest) {
        guest.vm().assignIrqfd(guest.event(), new Gsi(40)).close();
    }

    private static void forward() throws Exception {
        FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
        fake.pciDevice(NIC.toString(), 7).express().msix(4).add();
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (EventLoop loop = EventLoop.create(kernel);
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice nic = VfioDevice.open(kernel, NIC, kvmVfio);
                    Forwarding forwarding = Forwarding.builder(vm, nic)
                            .userspace(Userspace.of(loop, new Userspace.Injector() {
                                @Override
                                public void message(MsiMessage message) {}

                                @Override
                                public void line(Gsi gsi, boolean high) {}
                            }))
                            .build()) {
                ForwardedIrq irq =
                        forwarding.forwardAll(nic.msix(0, 2), i -> MESSAGE).get(1);
                assertThatThrownBy(() -> forwarding.forward(nic.msix().get(1), MESSAGE))
                        .isInstanceOf(KernelException.class);
                irq.moveTo(Mechanism.USERSPACE);
                irq.trigger();
                irq.trigger();
                loop.poll(Duration.ZERO);
                irq.moveTo(Mechanism.IRQFD);
            }
        }
    }

    /** A GICv4 tells no one whether a vLPI was pending. */
    private static void maskVlpi() throws Exception {
        FakeKernel fake = new FakeKernel(Profile.parse("gicv4"));
        fake.pciDevice(ForwardWorld.NIC.toString(), 15)
                .msix(LostSearch.VECTORS)
                .express()
                .add();
        try (Undo made = new Undo()) {
            Kernel kernel = made.add(fake.open());
            SearchGuest guest = new SearchGuest(fake, kernel, Profile.parse("gicv4"), new Random(0), made);
            VfioDevice device =
                    made.add(VfioDevice.open(kernel, ForwardWorld.NIC, made.add(KvmVfio.create(guest.vm()))));
            Forwarding forwarding = made.add(Forwarding.create(guest.vm(), device));
            forwarding.forward(device.msix().get(0), guest.message(0, 0)).mask();
        }
    }

    private static void all(Guest guest) throws Exception {
        try (guest) {
            maskAndUnmask(guest);
            forgetRoute(guest);
            runAndKick(guest);
            pause(guest);
        }
        forward();
        maskVlpi();
    }

    @BeforeEach
    void needsTheModule() {
        assertThat(ModuleLayer.boot().findModule("jdk.jfr")).isPresent();
    }

    // Each event

    @OnBothKernels
    void irqfdsAndRoutes(Kernels kernels) throws Exception {
        try (Guest guest = Guest.on(kernels.open())) {
            record(() -> maskAndUnmask(guest));
            String operands = fd(guest.vm()) + " " + fd(guest.event()) + " 24";
            assertThat(values("IrqfdAssigned", "vm", "eventfd", "gsi")).containsExactly(operands);
            assertThat(values("IrqfdMasked", "vm", "eventfd", "gsi")).containsExactly(operands);
            assertThat(values("IrqfdUnmasked", "vm", "eventfd", "gsi")).containsExactly(operands);
            int defaults = guest.vm().routes().routes().size();
            assertThat(values("RoutesChanged", "vm", "routes", "added", "removed", "replaced"))
                    .containsExactly(
                            fd(guest.vm()) + " " + (defaults + 1) + " 1 0 0",
                            fd(guest.vm()) + " " + (defaults + 1) + " 0 0 1",
                            fd(guest.vm()) + " " + defaults + " 0 1 0");
            assertThat(event("IrqfdMasked").getStackTrace().getFrames())
                    .anySatisfy(frame -> assertThat(frame.getMethod().getName()).isEqualTo("maskAndUnmask"));
        }
    }

    @OnBothKernels
    void manyIrqfdsAreAnEventEach(Kernels kernels) throws Exception {
        try (Guest guest = Guest.on(kernels.open())) {
            EventFd second = guest.open().add(EventFd.create(guest.kernel()));
            List<Gsi> gsis = List.of(new Gsi(5), new Gsi(6));
            record(() -> Irqfd.closeAll(guest.vm().assignIrqfds(List.of(guest.event(), second), gsis)));
            assertThat(values("IrqfdAssigned", "eventfd", "gsi"))
                    .containsExactly(fd(guest.event()) + " 5", fd(second) + " 6");
        }
    }

    @OnBothKernels
    void vcpus(Kernels kernels) throws Exception {
        record(() -> {
            try (Guest guest = Guest.on(kernels.open())) {
                runAndKick(guest);
            }
        });
        assertThat(values("VcpuCreated", "vcpu")).containsExactly("0");
        assertThat(values("VcpuExits", "vcpu", "reason", "count")).containsExactly("0 INTR 1", "0 IO 2");
        assertThat(values("VcpuKicked", "vcpu")).containsExactly("0", "0"); // the second by close
    }

    /** A recording that ends before the vCPU gets the counts of its own time. */
    @OnBothKernels
    void exitsAreCountedForEachRecording(Kernels kernels) throws Exception {
        try (Guest guest = Guest.on(kernels.open())) {
            runAndKick(guest);
            record(() -> runAndKick(guest));
            assertThat(values("VcpuExits", "reason", "count")).containsExactly("INTR 1", "IO 2");
            runAndKick(guest);
            record(() -> {
                runAndKick(guest);
                runAndKick(guest);
            });
            assertThat(values("VcpuExits", "reason", "count")).containsExactly("INTR 1", "IO 2", "INTR 2", "IO 4");
        }
    }

    @OnBothKernels
    void pauseLastsUntilTheResume(Kernels kernels) throws Exception {
        try (Guest guest = Guest.on(kernels.open())) {
            record(() -> pause(guest));
            RecordedEvent pause = event("VcpusPaused");
            assertThat(pause.getLong("vcpus")).isOne();
            assertThat(pause.getDuration()).isPositive();
            assertThat(pause.getDuration("stopped")).isPositive();
        }
    }

    @OnBothKernels
    void mistakeHasTheTextOfItsWarning(Kernels kernels) throws Exception {
        try (Guest guest = Guest.on(kernels.open())) {
            List<String> said = new ArrayList<>();
            record(() -> said.addAll(Warnings.of(() -> forgetRoute(guest))));
            assertThat(said).hasSize(1);
            assertThat(values("Mistake", "text")).isEqualTo(said);
        }
    }

    @Test
    void forwardedInterrupts() throws Exception {
        record(RecordedEventsTest::forward);
        assertThat(values("ForwardingBegun", "device", "interrupt", "gsi", "mechanism"))
                .containsExactly(NIC + " MSI-X 0 of " + NIC + " 24 irqfd", NIC + " MSI-X 1 of " + NIC + " 25 irqfd");
        assertThat(values("InterruptMoved", "interrupt", "mechanism"))
                .containsExactly("MSI-X 1 of " + NIC + " userspace", "MSI-X 1 of " + NIC + " irqfd");
        long eventfd = events("ForwardingBegun").get(1).getLong("eventfd");
        assertThat(values("InterruptRelayed", "eventfd", "signals")).containsExactly(eventfd + " 2");
        assertThat(values("ForwardingRefused", "device", "interrupts", "errno")).containsExactly(NIC + " 1 EINVAL");
        assertThat(event("ForwardingRefused").getString("reason")).contains("MSI-X 1", "forwarded");
        assertThat(values("ForwardingEnded", "interrupt", "gsi"))
                .containsExactlyInAnyOrder("MSI-X 0 of " + NIC + " 24", "MSI-X 1 of " + NIC + " 25");
        assertThat(events("SpuriousInterrupt")).isEmpty();
    }

    @Test
    void signalForAPossibleVlpiMayBeSpurious() throws Exception {
        record(RecordedEventsTest::maskVlpi);
        assertThat(values("SpuriousInterrupt", "device", "mechanism")).containsExactly(ForwardWorld.NIC + " irqfd");
    }

    // All of them, or none

    private static Set<String> declared() {
        return Stream.of(Events.Type.values())
                .map(type -> "kvmirq."
                        + Stream.of(type.name().split("_"))
                                .map(word -> word.charAt(0) + word.substring(1).toLowerCase(Locale.ROOT))
                                .collect(Collectors.joining()))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    @Test
    void settingsOfThePageEnableEachEvent() throws Exception {
        Set<String> enabled = Pattern.compile("event name=\"(.*?)\"")
                .matcher(Files.readString(SETTINGS))
                .results()
                .map((MatchResult found) -> found.group(1))
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(enabled).isEqualTo(declared()).hasSize(15);
    }

    @Test
    void eachEventIsProvoked() throws Exception {
        record(() -> all(Guest.on(Kernels.FAKE.open())));
        assertThat(events.stream().map(event -> event.getEventType().getName()).collect(Collectors.toSet()))
                .isEqualTo(declared());
    }

    @Test
    void recordingWithoutTheSettingsHasNone() throws Exception {
        record(Configuration.getConfiguration("profile"), () -> all(Guest.on(Kernels.FAKE.open())));
        assertThat(events).isEmpty();
    }

    /** The program loads at most one class of jdk.jfr, the one that says whether there is a recorder. */
    @ParameterizedTest
    @ValueSource(strings = {"-Dany=thing", "--limit-modules=java.base,java.logging"})
    void programThatRecordsNothingLoadsNoEvent(String option) throws Exception {
        String loaded = Program.output(List.of(
                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                option,
                "-Xlog:class+load",
                "-cp",
                System.getProperty("java.class.path") + File.pathSeparator + Artifacts.KVMIRQ.classes(),
                Recordless.class.getName()));
        assertThat(loaded).contains("io.kvmirq.events.Events ", "all steps done");
        assertThat(loaded.lines()
                        .filter(line ->
                                line.contains("] jdk.jfr.") || line.contains("io.kvmirq.events.Events$Recorder")))
                .hasSize(option.startsWith("--limit") ? 0 : 1)
                .allMatch(line -> line.contains("jdk.jfr.FlightRecorder "));
    }

    /** The steps, in a process of its own. */
    static final class Recordless {
        private Recordless() {}

        public static void main(String[] arguments) throws Exception {
            try (Guest guest = Guest.on(new FakeKernel(Profile.parse("6.18")).open())) {
                maskAndUnmask(guest);
                runAndKick(guest);
                pause(guest);
            }
            forward();
            System.out.println("all steps done");
        }
    }
}
