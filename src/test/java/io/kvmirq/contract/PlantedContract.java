/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.INTX;
import static io.kvmirq.contract.OpenedDevice.UNMASK;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.jna.NativeLibrary;
import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Faults that are planted live in a device, its host irq and its VMM, and repaired: explain names each at its link. */
@VfioContract
class PlantedContract extends VfioSuite {
    static final String DEVICES = "/sys/bus/pci/devices/";
    private static final int VECTOR = 2;
    private static final Path GROUP = Path.of("/sys/fs/cgroup/planted");
    static final int MSIX_CONTROL = 0xa2;
    static final int PMCSR = 0xcc;
    private static final int PTRACE_SEIZE = 0x4206;
    private static final int PTRACE_INTERRUPT = 0x4207;
    private static final int EDU_RAISE = 0x60;
    private static final int EDU_ACKNOWLEDGE = 0x64;

    @TempDir
    private Path temporary;

    private String nic = "";

    @BeforeEach
    void requireRealFiles() {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: the fake shows no processes and irqs");
        assumeFalse(world.isArm64(), "needs the registers of the lab's x86 devices: make lab runs this");
        nic = vfio.place(E1000E).address();
    }

    @AfterEach
    void end() {
        ProcessHandle.current().children().forEach(child -> {
            child.destroyForcibly();
            child.onExit().join();
        });
    }

    /** A change of the host that a test plants or repairs. */
    @FunctionalInterface
    interface Change {
        void make() throws IOException, InterruptedException;
    }

    private static Cli.Ended explain(String device, int vector) {
        return Cli.run("explain", device, String.valueOf(vector), "--strict");
    }

    private static String flaw(Cli.Ended ended) {
        Matcher flaw = Pattern.compile("^  \\S.* (?:broken|doubtful) .*$", Pattern.MULTILINE)
                .matcher(ended.out());
        // A thread waits a little longer from one look to the next.
        return flaw.find() ? flaw.group().strip().replaceAll("\\d+ %", "n %") : "none";
    }

    /** The link that is named, and that it is whole again after the repair. */
    private static void named(String device, int vector, int code, String words, Change plant, Change repair)
            throws IOException, InterruptedException {
        Cli.Ended before = explain(device, vector);
        plant.make();
        try {
            Cli.Ended planted = explain(device, vector);
            assertThat(flaw(planted)).as(planted.out()).contains(words);
            planted.exited(code);
        } finally {
            repair.make();
        }
        Cli.Ended after = explain(device, vector);
        assertThat(flaw(after)).as(after.out()).isEqualTo(flaw(before));
        after.exited(before.exitCode());
    }

    private void bits(int at, int bits, boolean on) throws IOException {
        bits(nic, at, bits, on);
    }

    static void bits(String device, int at, int bits, boolean on) throws IOException {
        try (RandomAccessFile config = new RandomAccessFile(DEVICES + device + "/config", "rw")) {
            config.seek(at);
            int word = config.read() | config.read() << Byte.SIZE;
            int now = on ? word | bits : word & ~bits;
            config.seek(at);
            config.write(new byte[] {(byte) now, (byte) (now >> Byte.SIZE)});
        }
    }

    static String irq(String handler) throws IOException {
        return VfioKillContract.interrupts().stream()
                .filter(row -> row.contains(handler))
                .map(row -> row.strip().split(":", 2)[0])
                .findFirst()
                .orElse("none");
    }

    private long qemu(boolean spins) throws IOException, InterruptedException {
        return qemu(temporary, nic, spins).pid();
    }

    /** QEMU with the device, whose firmware enables MSI-X and masks vector 1. Its monitor reads standard input. */
    static Process qemu(Path temporary, String nic, boolean spins) throws IOException, InterruptedException {
        Path vmm = Path.of("vmm", "x86_64").toAbsolutePath();
        assumeTrue(Files.isDirectory(vmm), "needs QEMU in " + vmm + ": make lab runs this");
        byte[] firmware = ExplainContract.firmware(false);
        for (int i = 0; spins && i < firmware.length - 2; i++) {
            // hlt; jmp to it
            if (firmware[i] == (byte) 0xf4 && firmware[i + 1] == (byte) 0xeb && firmware[i + 2] == (byte) 0xfd) {
                firmware[i] = (byte) 0x90;
            }
        }
        Path rom = Files.write(temporary.resolve("rom"), firmware);
        ProcessBuilder process = new ProcessBuilder(
                        (vmm + "/qemu-system-x86_64 -name guest=planted,debug-threads=on -accel kvm"
                                        + " -cpu host -m 16 -nodefaults -display none -monitor stdio -machine q35,smm=off,kernel-irqchip=split"
                                        + " -bios " + rom + " -device vfio-pci,addr=2,host=" + nic)
                                .split(" "))
                .redirectErrorStream(true)
                .redirectOutput(temporary.resolve("said").toFile());
        process.environment().put("LD_LIBRARY_PATH", vmm + "/lib");
        Process started = process.start();
        while (irq("vfio-msix[" + VECTOR + "](" + nic).equals("none")) {
            assertThat(started.isAlive())
                    .as(Files.readString(temporary.resolve("said")))
                    .isTrue();
            TimeUnit.MILLISECONDS.sleep(20);
        }
        if (!spins) {
            awaitHalted(vcpu(started.pid()));
        }
        return started;
    }

    private static long vcpu(long pid) throws IOException {
        try (var threads = Files.list(Path.of("/proc/" + pid + "/task"))) {
            for (Path thread : threads.toList()) {
                if (Files.readString(thread.resolve("comm")).startsWith("CPU 0/KVM")) {
                    return Long.parseLong(thread.getFileName().toString());
                }
            }
        }
        throw new AssertionError("process " + pid + " has no thread of vcpu 0");
    }

    static void run(String command) throws IOException, InterruptedException {
        Program.output(List.of("sh", "-c", command));
    }

    @Test
    void faultOfTheDeviceIsNamed() throws Exception {
        qemu(false);
        named(nic, VECTOR, 18, "bus mastering", () -> bits(4, 4, false), () -> bits(4, 4, true));
        named(
                nic,
                VECTOR,
                18,
                "the device's MSI-X is off",
                () -> bits(MSIX_CONTROL, 0x8000, false),
                () -> bits(MSIX_CONTROL, 0x8000, true));
        named(
                nic,
                VECTOR,
                18,
                "function mask",
                () -> bits(MSIX_CONTROL, 0x4000, true),
                () -> bits(MSIX_CONTROL, 0x4000, false));
        named(nic, VECTOR, 18, "is in D3hot", () -> bits(PMCSR, 3, true), () -> bits(PMCSR, 3, false));
    }

    @Test
    void faultOfTheVmmIsNamed() throws Exception {
        long pid = qemu(false);
        named(nic, VECTOR, 19, "is stopped by a signal", () -> stop(pid), () -> {
            Program.signal("CONT", pid);
            awaitState(pid, "S");
        });
        run("mount -t cgroup2 none /sys/fs/cgroup; mkdir " + GROUP + "; echo " + pid + " > " + GROUP + "/cgroup.procs");
        try {
            named(
                    nic,
                    VECTOR,
                    19,
                    "the control group /planted is frozen",
                    () -> run("echo 1 > " + GROUP + "/cgroup.freeze"),
                    () -> run("echo 0 > " + GROUP + "/cgroup.freeze"));
        } finally {
            run("echo " + pid + " > /sys/fs/cgroup/cgroup.procs; rmdir " + GROUP);
        }
    }

    static void stop(long pid) throws IOException, InterruptedException {
        Program.signal("STOP", pid);
        awaitState(pid, "T");
    }

    static void awaitState(long pid, String state) throws IOException, InterruptedException {
        awaitStatus(pid, "State:\t" + state + ".*");
    }

    /** @param line a pattern */
    private static void awaitStatus(long thread, String line) throws IOException, InterruptedException {
        while (Files.readAllLines(Path.of("/proc/" + thread + "/status")).stream()
                .noneMatch(shown -> shown.matches(line))) {
            TimeUnit.MILLISECONDS.sleep(20);
        }
    }

    /** A tracer lets the VMM run, and then stops the thread of a vCPU. */
    @Test
    void tracerOfTheVmmIsNamed() throws Exception {
        long pid = qemu(false);
        traced(pid, 39, "process " + pid + " is traced by process ", false);
        long vcpu = vcpu(pid);
        traced(vcpu, 19, "the thread of vcpu 0 (" + vcpu + ") is stopped by a tracer, process ", true);
    }

    /** The tracer is a thread of this test. When it ends, the kernel detaches it and lets the thread go on. */
    private void traced(long thread, int code, String words, boolean stopped) throws IOException, InterruptedException {
        ExecutorService tracer = Executors.newSingleThreadExecutor();
        named(
                nic,
                VECTOR,
                code,
                words,
                () -> {
                    tracer.submit(() -> ptrace(PTRACE_SEIZE, thread));
                    awaitStatus(thread, "TracerPid:\t[1-9]\\d*");
                    if (stopped) {
                        tracer.submit(() -> ptrace(PTRACE_INTERRUPT, thread));
                        awaitState(thread, "t");
                    }
                },
                () -> {
                    tracer.shutdown();
                    awaitStatus(thread, "TracerPid:\t0");
                    if (stopped) {
                        awaitHalted(thread);
                    }
                });
    }

    /** Until its vCPU halts, the thread may wait for QEMU's other threads, as that of a paused guest does. */
    private static void awaitHalted(long thread) throws IOException, InterruptedException {
        while (!Files.readString(Path.of("/proc/" + thread + "/wchan")).startsWith("kvm_vcpu_")) {
            TimeUnit.MILLISECONDS.sleep(20);
        }
    }

    private static void ptrace(int request, long thread) {
        NativeLibrary.getInstance("c").getFunction("ptrace").invokeLong(new Object[] {(long) request, thread, 0L, 0L});
    }

    private String affinity() throws IOException {
        return "/proc/irq/" + irq("vfio-msix[" + VECTOR + "](" + nic) + "/smp_affinity_list";
    }

    @Test
    void affinityToAnotherCpuIsNamed() throws Exception {
        assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "needs two processors: LAB_PROCESSORS=2");
        long pid = qemu(false);
        String file = affinity();
        run("taskset -p 1 " + vcpu(pid) + "; echo 0 > " + file);
        named(nic, VECTOR, 30, "it interrupts CPU 1", () -> run("echo 1 > " + file), () -> run("echo 0 > " + file));
    }

    /** Both spin on CPU 0. The vCPU yields, so that it soon has waited for a third of the time since it began. */
    @Test
    void vcpuBesideABusyThreadIsNamed() throws Exception {
        assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "needs two processors: LAB_PROCESSORS=2");
        long pid = qemu(true);
        long vcpu = vcpu(pid);
        // The link of the host irq comes first, and doubts an interrupt on another CPU than that of its only vCPU.
        run("echo 0 > " + affinity());
        named(
                nic,
                VECTOR,
                19,
                "may run only on CPU 0, and waited for it",
                () -> {
                    run("taskset -p 1 " + vcpu + "; renice -n 19 -p " + vcpu
                            + "; taskset 1 sh -c 'while :; do :; done' > /dev/null 2>&1 & echo $! > "
                            + temporary.resolve("busy"));
                    while (!flaw(explain(nic, VECTOR)).contains("runs there")) {
                        TimeUnit.MILLISECONDS.sleep(20);
                    }
                },
                () -> run("kill -9 $(cat " + temporary.resolve("busy") + "); taskset -p 3 " + vcpu));
    }

    /** Every interrupt passes this state, so one look tells it and accuses nobody. */
    @Test
    void pendingPinThatIsMaskedIsToldAndIsNoFlaw() throws Exception {
        int event = world.eventfd();
        OpenedDevice device = vfio.device(EDU);
        device.start();
        assertOk(device.arm(INTX, 0, event));
        Cli.Ended before = explain(vfio.place(EDU).address(), 0);
        device.hardware.request();
        assertThat(vfio.await(event)).isEqualTo(1);
        Cli.Ended waits = explain(vfio.place(EDU).address(), 0);
        device.hardware.serve();
        assertOk(device.intx(UNMASK));
        assertThat(waits.out()).contains("its pin is masked while an interrupt is pending");
        assertThat(flaw(waits)).isEqualTo(flaw(before));
        waits.exited(before.exitCode());
    }

    /**
     * Another edu, which no driver serves, asserts the line until the kernel disables it. The counts of Linux 6.0 and newer do
     * not prove that, and the irq of a device that is not enabled is not known.
     */
    @Test
    void lineThatTheKernelDisabledIsNamed() throws Exception {
        String other = "0000:00:0a.0";
        assumeTrue(Files.isDirectory(Path.of(DEVICES + other)), "needs a second edu on the line: make lab runs this");
        OpenedDevice device = vfio.device(EDU);
        device.start();
        assertOk(device.arm(INTX, 0, world.eventfd()));
        String edu = vfio.place(EDU).address();
        bits(other, 4, 2, true);
        bits(other, 4, 0x400, false);
        try (FileChannel bar = FileChannel.open(
                Path.of(DEVICES + other + "/resource0"), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer registers = bar.map(FileChannel.MapMode.READ_WRITE, 0, 4096);
            registers.order(ByteOrder.LITTLE_ENDIAN);
            registers.putInt(EDU_RAISE, 1);
            Cli.Ended planted = explain(edu, 0);
            while (!flaw(planted).contains("the kernel may have disabled it")) {
                planted = explain(edu, 0);
            }
            planted.exited(30);
            registers.putInt(EDU_ACKNOWLEDGE, 1);
        } finally {
            bits(other, 4, 2, false);
        }
    }

    @Test
    void unboundDeviceIsNamed() throws Exception {
        Path device = Path.of(DEVICES + nic);
        Cli.Ended before = Cli.run("explain", nic);
        Files.writeString(device.resolve("driver/unbind"), nic);
        try {
            Cli.Ended planted = Cli.run("explain", nic).exited(10);
            assertThat(flaw(planted)).contains("no driver is bound to " + nic);
        } finally {
            Files.writeString(Path.of("/sys/bus/pci/drivers/vfio-pci/bind"), nic);
        }
        assertThat(flaw(Cli.run("explain", nic))).isEqualTo(flaw(before));
    }
}
