/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.cli.Cli;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.path.Hop;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.SeenCalls;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code kvmirq list} and {@code explain} on a host with a known set-up: a device of {@code kvmirq forward}, one of
 * QEMU, and two of this process. The VMM's system calls are the witness. What was reported is a row of the lab's table.
 */
@VfioContract
class ExplainContract extends VfioSuite {
    private static final int VECTORS = 5;
    private static final int FIRST_VECTOR = 0x40;
    private static final long LONGEST_SECONDS = 300;
    private static final String DEVICES = "/sys/bus/pci/devices/";
    private static final Path UNSAFE = Path.of("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");

    @TempDir
    private Path temporary;

    private final Undo made = new Undo();

    @BeforeEach
    void requireRealFiles() {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: the fake shows no processes and irqs");
    }

    /** Programs of a test that failed. */
    @AfterEach
    void end() {
        ProcessHandle.current().children().forEach(child -> {
            child.destroyForcibly();
            child.onExit().join();
        });
    }

    /** An answer of the command. */
    private record Said(int code, String text) {
        static Said of(Object... arguments) {
            // KernelMemoryContract has what memory shows.
            Cli.Ended ended =
                    Cli.run(Stream.concat(Stream.of(arguments).map(String::valueOf), Stream.of("--no-kernel-memory"))
                            .toArray(String[]::new));
            return new Said(ended.exitCode(), ended.out() + ended.err());
        }

        private Optional<String> group(String pattern) {
            Matcher matcher = Pattern.compile(pattern, Pattern.MULTILINE).matcher(text);
            return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
        }

        /** The words before the colon of a link that is ok, or that has a number and files that were not read. */
        String value(String hop) {
            return group("^  " + hop + " +(?:ok|not shown(?= +\\d+:)) +([^:\\n]+)")
                    .orElse("none");
        }

        /** Each link with its state. */
        List<String> links() {
            return Pattern.compile(
                            "^  (\\w[\\w ]{0,12}\\w) +(ok|broken|doubtful|not shown|not used) ", Pattern.MULTILINE)
                    .matcher(text)
                    .results()
                    .map(link -> link.group(1) + " " + link.group(2))
                    .toList();
        }

        /** The text of the first broken link. */
        String broken() {
            return group("^  [^ ].* broken +(.+?)(?: \\[.*)?$").orElse("none");
        }

        /** Asserts where the chain fails, and adds a row to the table. */
        Said fails(String fault, String by, int expected) {
            assertThat(code).as(text).isEqualTo(expected);
            return shows(fault, by, group("^first broken link: (.*) \\(exit").orElse("none"));
        }

        /** Adds a row: what broke, what was read, and the answer. */
        Said shows(String fault, String by, String answer) {
            String row = fault + "\t" + by + "\t" + answer + "\n";
            String directory = System.getProperty("kvmirq.test.summary");
            if (directory != null) {
                Path file = Path.of(directory, System.getProperty("kvmirq.test.run") + ".explain");
                try {
                    Files.writeString(file, row, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
            return this;
        }
    }

    /** The host's irq of a vector that VFIO has armed, as the kernel lists it. */
    private static String irq(String handler) {
        try {
            return VfioKillContract.interrupts().stream()
                    .filter(row -> row.contains(handler))
                    .map(row -> row.strip().split(":", 2)[0])
                    .findFirst()
                    .orElse("none");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Waits until a program has armed an interrupt; one that starts under emulation is slow. */
    private static void awaitInterrupt(String handler, CompletableFuture<Said> program) throws InterruptedException {
        long since = System.nanoTime();
        while (irq(handler).equals("none")) {
            assertThat(program.isDone()).as("the program has ended").isFalse();
            assertThat(TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - since))
                    .as("seconds until %s is armed", handler)
                    .isLessThan(LONGEST_SECONDS);
            TimeUnit.MILLISECONDS.sleep(20);
        }
    }

    private static ProcessHandle child() {
        return ProcessHandle.current().children().findFirst().orElseThrow();
    }

    /** Runs a program whose calls are written to a file. */
    private CompletableFuture<Said> seen(Path calls, List<String> program) throws Exception {
        return ProbedChainsContract.started(
                        temporary.resolve("output"), new SeenCalls(temporary).ioctls(calls, program))
                .thenApply(end -> new Said(end.exitCode(), end.out()));
    }

    // What works

    /** The command, whose device sends nothing itself, is stopped while it has the device, and goes on then. */
    @Test
    void deviceOfForwardIsExplained() throws Exception {
        assumeFalse(world.isArm64(), "needs a second JVM, too slow under arm64's emulation: make lab runs this");
        String nic = vfio.place(E1000E).address();
        Path calls = temporary.resolve("calls");
        List<String> program = VfioKillContract.java();
        program.addAll(List.of(
                "-cp", System.getProperty("java.class.path"), "io.kvmirq.cli.Main", "forward", nic, "--selftest"));
        CompletableFuture<Said> run = seen(calls, program);
        awaitInterrupt("vfio-msix[4](" + nic, run);
        ProcessHandle forward = child();
        Program.signal("STOP", forward.pid());
        List<Integer> armed = IntStream.range(0, VECTORS)
                .filter(vector -> !irq("vfio-msix[" + vector + "](" + nic).equals("none"))
                .boxed()
                .toList();
        assertThat(armed).isNotEmpty();
        int vector = armed.get(armed.size() - 1);
        String irq = irq("vfio-msix[" + vector + "](" + nic);
        Said list = Said.of("list", "--all");
        armed.forEach(number -> assertThat(list.text())
                .containsPattern(
                        irq("vfio-msix[" + number + "](" + nic) + " +" + nic + " +MSI-X " + number + " +java "));
        Said live = Said.of("explain", nic, vector).fails("device that may not send, of a stopped VMM", "files", 18);
        assertThat(live.text()).contains(nic + "  MSI-X " + vector + "  → java (process " + forward.pid() + ")");
        assertThat(live.value("host irq")).isEqualTo(irq);
        assertThat(live.broken()).startsWith("D0: bus mastering is off");
        assertThat(live.text()).containsPattern("VMM +broken .* stopped");
        assertThat(SeenPaths.of(calls).of(nic, "MSI-X " + vector, forward.pid()))
                .containsEntry(Hop.HOST_IRQ, live.value("host irq"))
                .containsKey(Hop.EVENTFD);
        Program.signal("CONT", forward.pid());
        Said ended = run.get();
        assertThat(ended.code()).as(ended.text()).isZero();
        int gsi = Integer.parseInt(
                ended.group("MSI-X 3 .*gsi (\\d+) +→ .* irqfd ").orElseThrow());
        assertThat(SeenCalls.ioctls(calls))
                .filteredOn(call -> call.request() == Uapi.KVM_IRQFD)
                .extracting(call -> call.argument().getInt(Uapi.KvmIrqfd.GSI))
                .contains(gsi);
    }

    /**
     * Firmware of 64 KiB for QEMU that gives a PCI device in slot 2 three messages of MSI-X, masks the second, and
     * halts.
     *
     * <pre>
     * x86, at the last 256 bytes below 4 GiB          arm64, at address 0
     *     memory in BAR 3 and its decoding, by              movz x0, #0x3f01, lsl #16   // configuration of slot 2
     *       ports 0xcf8 and 0xcfc                           movz w1, #0x1000, lsl #16   // BAR 3
     *     lgdt, protected mode, flat segments               ...
     *     mov edi, 0xfeb00000            // BAR 3       1:  str w4, [x1]                // GITS_TRANSLATER
     * 3:  stosd of 0xfee00000, 0, 0x40 + n, n & 1           str wzr, str w3 (n), str w5 (n & 1)
     *     loop 3 times                                      loop 3 times
     *     MSI-X enable at 0xa0                              MSI-X enable at 0xa0
     * 4:  hlt                                           2:  wfi
     *     jmp 4b                                            b 2b
     * </pre>
     */
    private byte[] firmware() {
        return firmware(world.isArm64());
    }

    static byte[] firmware(boolean arm64) {
        final int size = 0x1_0000;
        byte[] rom = new byte[size];
        if (arm64) {
            put(
                    rom,
                    0,
                    "20e0a7d20100a252011c00b9c200805202080079030080522401a15204088072240000b93f0400b9230800b965000012"
                            + "250c00b921400091630400117f0c007101ffff540100b05201a000b97f2003d5ffffff17");
            return rom;
        }
        put(
                rom,
                size - 0x100,
                "fabb7cff2e668b07baf80c6685c0741166ef2e668b4704bafc0c66ef83c308ebe32e660f011676ff0f20c0400f22c0"
                        + "66ea37ffffff080066b810008ed88ec0fcbf0000b0fe31c9b80000e0feab31c0ab8d4140ab89c82401ab4180f903"
                        + "72e866baf80cb8a0100080ef66bafc0cb800000080eff4ebfd170090ffffff1c1000800000b0fe041000800600"
                        + "000000000000" + "0000000000000000" + "ffff0000009bcf00" + "ffff00000093cf00");
        put(rom, size - 0x10, "e90dff");
        return rom;
    }

    private static void put(byte[] rom, int at, String code) {
        byte[] bytes = HexFormat.of().parseHex(code);
        System.arraycopy(bytes, 0, rom, at, bytes.length);
    }

    /** QEMU's PIT in the kernel would inhibit AVIC, if the lab's host could post. */
    @Test
    void deviceOfQemuIsExplained() throws Exception {
        String nic = vfio.place(E1000E).address();
        Path vmm = Path.of("vmm", world.isArm64() ? "aarch64" : "x86_64").toAbsolutePath();
        assumeTrue(Files.isDirectory(vmm), "needs QEMU in " + vmm + ": make lab runs this");
        Path rom = Files.write(temporary.resolve("rom"), firmware());
        Path calls = temporary.resolve("calls");
        CompletableFuture<Said> run = seen(
                calls,
                List.of(("env LD_LIBRARY_PATH=" + vmm + "/lib " + vmm + "/qemu-system-" + vmm.getFileName()
                                + " -name guest=other -accel kvm -cpu host -m 16 -nodefaults -display none -machine "
                                + (world.isArm64() ? "virt,gic-version=3,highmem=off" : "q35,smm=off")
                                + " -bios "
                                + rom + " -device vfio-pci,addr=2,host=" + nic)
                        .split(" ")));
        awaitInterrupt("vfio-msix[2](" + nic, run);
        ProcessHandle qemu = child();
        String irq = irq("vfio-msix[2](" + nic);
        Said list = Said.of("list", "--vm", "other");
        assertThat(list.text()).containsPattern(irq + " +" + nic + " +MSI-X 2 +other ");
        // The firmware maps no event, so a host with GICv4 posts none.
        int masked = Machine.hasVlpis() ? 17 : 0;
        Said first = Said.of("explain", nic).fails("vector that QEMU's guest masks", "files", masked);
        assertThat(first.text()).contains("  also MSI-X 1").contains("not used");
        assertThat(Said.of("explain", nic, 1).text())
                .contains(nic + "  MSI-X 1  → other (process " + qemu.pid() + ")", "the interrupt is not used");
        awaitRoute(calls, nic, qemu.pid(), run);
        Map<Hop<?>, String> path = SeenPaths.of(calls).of(nic, "MSI-X 2", qemu.pid());
        Said live = Said.of("explain", nic, 2).shows("none (QEMU)", "files", "none");
        assertThat(live.value("host irq")).as(live.text()).isEqualTo(irq).isEqualTo(path.get(Hop.HOST_IRQ));
        assertThat(live.value("device vector")).isEqualTo(path.get(Hop.DEVICE_VECTOR));
        assertThat(path.get(Hop.EVENTFD)).startsWith("id ");
        assertThat(path.get(Hop.GSI)).startsWith("gsi ");
        assertThat(live.text())
                .containsPattern("not shown +[^:]*irqfd|irqfd +not shown")
                .contains("ForwardedIrq.path(), eventfd-id in /proc/");
        if (!world.isArm64()) {
            assertThat(path).containsEntry(Hop.GUEST_VECTOR, "0x42").containsEntry(Hop.VCPU, "vcpu 0");
            first.shows(
                    "PIT in the kernel (QEMU)",
                    "files",
                    first.group("(note: .*AVIC would be inhibited)").orElse("none"));
            assertThat(first.text()).contains("AVIC would be inhibited", "kvm-pit.lost_tick_policy=discard");
        }
        qemu.destroy();
        run.get();
    }

    /** Waits until the calls have given vector 2 a route: QEMU arms the vector first. */
    private static void awaitRoute(Path calls, String nic, long vmm, CompletableFuture<Said> run) throws Exception {
        while (!SeenPaths.of(calls).of(nic, "MSI-X 2", vmm).containsKey(Hop.VCPU)) {
            assertThat(run.isDone()).as("the program has ended").isFalse();
            TimeUnit.MILLISECONDS.sleep(20);
        }
    }

    // What is broken

    private IntFunction<MsiMessage> messages(Vm vm) {
        for (int i = 0; i < 2; i++) {
            VcpuId id = new VcpuId(i);
            if (world.isArm64()) {
                made.add(vm.createVcpu(id)).arm64().initialize();
            } else {
                made.add(vm.createVcpu(id)).x86().enableLapic();
            }
        }
        if (!world.isArm64()) {
            return i -> MsiMessage.to(new VcpuId(i % 2), new InterruptVector(FIRST_VECTOR + i));
        }
        // The route of a vLPI may not change before Linux 6.16: only the event of vector 0 is one.
        new GuestIts(vm, 2, made).map(0);
        return GuestIts::message;
    }

    /** Forwards the vectors of the nic, masks vector 1 and ends vector 4. The edu has an eventfd alone. */
    private void forwardAndMask(Kernel kernel) {
        Vm vm = made.add(Vm.create(kernel));
        if (!world.isArm64()) {
            vm.x86().createIrqchip();
        }
        IntFunction<MsiMessage> messages = messages(vm);
        VfioDevice nic = made.add(VfioDevice.open(kernel, vfio.address(E1000E), made.add(KvmVfio.create(vm))));
        nic.config().enableMemory();
        nic.config().enableBusMaster();
        List<ForwardedIrq> irqs = made.add(Forwarding.create(vm, nic)).forwardAll(nic.msix(0, VECTORS), messages);
        VfioDevice edu = made.add(VfioDevice.open(kernel, vfio.address(EDU)));
        EventFd event = made.add(EventFd.create(kernel));
        made.add(edu.msi(0, 1).arm(List.of(event)));
        irqs.get(1).mask();
        irqs.get(4).close();
    }

    /** Vector 3 is as it was forwarded. */
    private void isWhole(String nic) {
        String irq = irq("vfio-msix[3](" + nic);
        Said list = Said.of("list", "--vm", ProcessHandle.current().pid());
        assertThat(list.text()).containsPattern(irq + " +" + nic + " +MSI-X 3 +java ");
        Said said = Said.of("explain", nic, 3).shows("none (the library)", "files", "none");
        assertThat(said.text())
                .startsWith("MSI-X 3 of " + nic + " (guest java) is ")
                .contains("\n" + nic + "  MSI-X 3  → java (process "
                        + ProcessHandle.current().pid() + ")");
        assertThat(said.broken()).isEqualTo("none");
        assertThat(said.value("host irq")).isEqualTo(irq);
    }

    @Test
    void maskedVectorIsNotShownAndOneWithoutEventfdIsNotUsed() throws IOException {
        String nic = vfio.place(E1000E).address();
        String edu = vfio.place(EDU).address();
        try (made) {
            forwardAndMask(made.add(Kernel.over(vfio.kernel())));
            isWhole(nic);
            assertThat(Said.of("explain", nic)
                            .fails("vector without an eventfd", "files", 0)
                            .text())
                    .contains("  also MSI-X 4")
                    .contains("not used");
            Said masked = Said.of("explain", nic, 1);
            assertThat(masked.broken()).isEqualTo("none");
            // No file shows a mask of the library: each link is that of a vector that is not masked.
            assertThat(masked.links())
                    .contains("device vector ok")
                    .doesNotContain("irqfd ok", "irqfd broken")
                    .isEqualTo(Said.of("explain", nic, 2).links());
            masked.shows("vector that the library masks", "files", "not shown: --live");
            assertThat(Said.of("explain", edu).value("host irq")).isEqualTo(irq("vfio-msi[0](" + edu));
        }
    }

    /** Two functions of one device are in one group. The lab's init leaves them to virtio-pci. */
    @Test
    void groupWithAnotherDriverIsTheFirstBrokenLink() throws IOException {
        Path second = Path.of(DEVICES + "0000:00:11.1");
        assumeTrue(Files.isDirectory(second), "needs a device with two functions at 0000:00:11: make lab runs this");
        vfio.place(E1000E);
        bind(second, "vfio-pci");
        try {
            Said said = Said.of("explain", "0000:00:11.1").fails("group with another driver", "files", 10);
            assertThat(said.broken()).contains("0000:00:11.0 (virtio-pci)", "EPERM");
        } finally {
            bind(second, "");
        }
    }

    private static void bind(Path device, String driver) throws IOException {
        String address = device.getFileName().toString();
        Files.writeString(device.resolve("driver_override"), driver + "\n");
        Files.writeString(device.resolve("driver/unbind"), address);
        Files.writeString(Path.of("/sys/bus/pci/drivers_probe"), address);
    }

    @Test
    void unsafeInterruptsAreNoted() throws IOException {
        String nic = vfio.place(E1000E).address();
        Files.writeString(UNSAFE, "1");
        try {
            Said said = Said.of("explain", nic);
            said.shows(
                    "unsafe interrupts",
                    "files",
                    said.group("(note: allow[^:]*)").orElse("none"));
            assertThat(said.text()).contains("note: allow_unsafe_interrupts is set");
        } finally {
            Files.writeString(UNSAFE, "0");
        }
    }
}
