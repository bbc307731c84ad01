/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/** The machine the tests run on. */
public final class Machine {
    /** How the reason of {@link #profileFlaw} begins. */
    static final String NO_PROFILE = "the fake has no profile of this kernel";

    /** How the reason of {@link #kvmFlaw} begins. */
    static final String NO_KVM = "no real KVM: ";

    private static final String PROFILE = "kvmirq.test.profile";
    /** The kernel on which the rules were measured, and the profile that is it. */
    public static final String PVM = "6.18,pvm";

    /** What depends on how a kernel of a version was built. */
    private static final Map<String, Long> BUILT = Map.of(
            "KVM_CAP_MAX_VCPUS", (long) Uapi.KVM_CAP_MAX_VCPUS,
            "KVM_CAP_MULTI_ADDRESS_SPACE", (long) Uapi.KVM_CAP_MULTI_ADDRESS_SPACE,
            "KVM_CAP_HYPERV_SYNIC", (long) Uapi.KVM_CAP_HYPERV_SYNIC,
            "KVM_CAP_MAX_VCPU_ID", (long) Uapi.KVM_CAP_MAX_VCPU_ID);

    private Machine() {}

    /** Why KVM cannot be used here, if so. */
    public static Optional<String> kvmFlaw() {
        try (Kernel kernel = Kernel.open()) {
            kernel.device();
            return Optional.empty();
        } catch (KernelException | BackendUnavailableException e) {
            return Optional.of(NO_KVM + e.getMessage());
        }
    }

    /** Why this machine's KVM has no full irqchip, if so. */
    public static Optional<String> irqchipFlaw() {
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            return Optional.empty();
        } catch (KernelException | UnsupportedOperationException e) {
            return Optional.of("no full irqchip: " + e.getMessage());
        }
    }

    /** Why this machine's KVM runs no arm64 guests, if so. */
    public static Optional<String> arm64Flaw() {
        return kvmFlaw().or(() -> {
            try (Kernel kernel = Kernel.open()) {
                KernelFacts.Architecture here = kernel.facts().architecture();
                return here == KernelFacts.Architecture.ARM64
                        ? Optional.empty()
                        : Optional.of("needs KVM on arm64, and this one is " + here.label());
            }
        });
    }

    /** Whether this host has a GICv4 that KVM uses: hardware then takes messages to a guest, as vLPIs. */
    public static boolean hasVlpis() {
        try {
            return Files.readString(Path.of("/proc/cmdline")).contains("vgic_v4_enable=1");
        } catch (IOException e) {
            return false;
        }
    }

    /** Why this machine's KVM gives no guest a GICv2, if so. */
    public static Optional<String> gicV2Flaw() {
        return arm64Flaw().or(() -> {
            try (Kernel kernel = Kernel.open();
                    Vm vm = Vm.create(kernel)) {
                return vm.supports(KvmDevice.Type.VGIC_V2)
                        ? Optional.empty()
                        : Optional.of("needs a host whose GIC runs a GICv2: make lab LAB=arm-gicv2");
            }
        });
    }

    /** The checkout. */
    public static Path root() {
        return Path.of(System.getProperty("kvmirq.basedir", "")).toAbsolutePath();
    }

    /** How many descriptors of the kernel interfaces under test this process has open; the JVM opens jars at will. */
    public static long openFds() {
        try (Stream<Path> fds = Files.list(Path.of("/proc/self/fd"))) {
            return fds.filter(Machine::isOurs).count();
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static boolean isOurs(Path fd) {
        try {
            String target = Files.readSymbolicLink(fd).toString();
            return target.matches("anon_inode:.*|/dev/(kvm|vfio/.*)|/memfd:.*");
        } catch (IOException e) {
            // The descriptor with which the directory is read is gone by now.
            return false;
        }
    }

    /** Root of a user namespace can neither give files away nor become another user, so it does not count. */
    public static void assumeRoot(String what) {
        assumeTrue("root".equals(System.getProperty("user.name")) && hasAllUsers(), "needs root: " + what);
    }

    private static boolean hasAllUsers() {
        try {
            return Files.readString(Path.of("/proc/self/uid_map"))
                    .strip()
                    .replaceAll(" +", " ")
                    .equals("0 0 4294967295");
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Skips, with the reason, where a program is not installed. */
    public static void assumeProgram(String name) {
        boolean there = Stream.of(System.getenv("PATH").split(":", -1))
                .anyMatch(directory -> Files.isExecutable(Path.of(directory).resolve(name)));
        assumeTrue(there, "needs the program " + name);
    }

    /** Skips, with the reason, where a command does not succeed. */
    public static void assumeSucceeds(String... command) throws IOException, InterruptedException {
        assumeProgram(command[0]);
        Program.Ended ended = Program.run(List.of(command));
        assumeTrue(
                ended.code() == 0,
                () -> String.join(" ", command) + " fails here: " + ended.said().strip());
    }

    /** Skips where there is no C compiler; what it does not compile is a failure. */
    public static void compile(String... arguments) throws IOException, InterruptedException {
        assumeProgram("cc");
        List<String> command = new ArrayList<>(List.of("cc"));
        command.addAll(List.of(arguments));
        Program.output(command);
    }

    public static void assumeKvmClosedToOthers() throws IOException {
        Path device = Path.of("/dev/kvm");
        assumeTrue(
                Files.exists(device) && ((int) Files.getAttribute(device, "unix:mode") & 06) == 0,
                "needs a /dev/kvm that not everybody may open");
    }

    public static void assumeX86() {
        assumeTrue(isX86(), "needs an x86-64 machine");
    }

    public static boolean isX86() {
        return "amd64".equals(System.getProperty("os.arch"));
    }

    /** Whether it is an arm64 machine with a GICv2, as its profile says. */
    public static boolean isGicV2() {
        return profile().label().contains("gicv2");
    }

    /** Whether the running kernel is of this version or newer. */
    public static boolean kernelAtLeast(int major, int minor) {
        return isAtLeast(kernelRelease(), major, minor);
    }

    /** Whether this process is a part of a run of the lab: the machine of the lab, or the fake beside it. */
    public static boolean isOfLab() {
        return System.getProperty("kvmirq.test.run", "").startsWith("lab-");
    }

    /** Whether STI begins an interrupt shadow also if interrupts are on: that of QEMU, which emulates the lab's SVM. */
    public static boolean alwaysShadowsSti() {
        return isOfLab() && isX86();
    }

    /** As uname says. */
    public static String kernelRelease() {
        return System.getProperty("os.version");
    }

    /** Whether a release, that begins like 6.18, is of this version or newer. */
    public static boolean isAtLeast(String release, int major, int minor) {
        String[] numbers = release.split("[^0-9]", -1);
        int version = Integer.parseInt(numbers[0]) * 1000 + Integer.parseInt(numbers[1]);
        return version >= major * 1000 + minor;
    }

    /** What the fake is when it stands for the running kernel: the newest profile that is not newer, or the oldest. */
    public static Profile profile() {
        List<String> labels = Profile.labels();
        String label = labels.stream()
                .filter(tag -> kernelAtLeast(
                        Integer.parseInt(tag.split("\\.", -1)[0]), Integer.parseInt(tag.split("\\.", -1)[1])))
                .reduce(labels.get(0), (older, newer) -> newer);
        return Profile.parse(System.getProperty(PROFILE, isPvm(label) ? PVM : label));
    }

    /** Whether it is the kernel on which the rules were measured. */
    private static boolean isPvm(String label) {
        return label.equals(Profile.V6_18.label()) && Files.isDirectory(Path.of("/sys/module/kvm_pvm"));
    }

    /** Why no profile of the fake is the running kernel, if so: whoever names one with a -D answers for it. */
    public static Optional<String> profileFlaw() {
        return System.getProperty(PROFILE) == null
                ? profileFlaw(kernelRelease(), Backends.ofThisMachine().open("jni"))
                : Optional.empty();
    }

    /** Version first, then how it was built. */
    static Optional<String> profileFlaw(String release, KernelBackend kernel) {
        String[] numbers = release.split("[^0-9]", -1);
        String version = numbers[0] + "." + numbers[1];
        List<String> labels = Profile.labels();
        if (!labels.contains(version)) {
            return Optional.of(NO_PROFILE + ": " + release + " is none of " + String.join(", ", labels));
        }
        Map<String, Integer> built = built(kernel);
        if (PVM.startsWith(version) && built.equals(built(new FakeKernel(Profile.parse(PVM)).backend()))) {
            return Optional.empty();
        }
        Map<String, Integer> modelled = built(new FakeKernel(Profile.parse(version)).backend());
        List<String> differences = built.entrySet().stream()
                .filter(entry -> !entry.getValue().equals(modelled.get(entry.getKey())))
                .map(entry -> entry.getKey() + " is " + entry.getValue() + " and not " + modelled.get(entry.getKey()))
                .toList();
        return differences.isEmpty()
                ? Optional.empty()
                : Optional.of(NO_PROFILE + ": it was built otherwise than the " + version + " modelled, "
                        + String.join(", ", differences));
    }

    private static Map<String, Integer> built(KernelBackend kernel) {
        Map<String, Integer> built = new TreeMap<>();
        int kvm = kernel.kvmOpen(Buffers.cString("/dev/kvm"));
        BUILT.forEach(
                (name, capability) -> built.put(name, kernel.libc().ioctl(kvm, Uapi.KVM_CHECK_EXTENSION, capability)));
        int vm = kernel.vmCreate(kvm, 0);
        boolean split = kernel.irqchipCreate(vm) == -Errno.ENOTTY.number();
        built.put("the full irqchip (CONFIG_KVM_IOAPIC)", split ? 0 : 1);
        kernel.fdClose(vm);
        kernel.fdClose(kvm);
        return built;
    }

    /** The jar of the command; skips the test where {@code make try} compiled newer classes. */
    public static Path jar() {
        Path jar = root().resolve("target/kvmirq-cli.jar");
        assumeTrue(
                System.getenv().getOrDefault("KVMIRQ_QUICK", "target").equals("target") && Files.exists(jar),
                jar + " is not built of these classes: run make build");
        return jar;
    }
}
