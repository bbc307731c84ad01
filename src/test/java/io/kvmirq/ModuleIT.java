/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.core.JsonParser;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The library and the fake as modules, on each JDK that this machine has. */
class ModuleIT {
    private static final String MODULE = "module user { requires io.kvmirq.fake; }";
    private static final String MAIN = """
            package user;
            import io.kvmirq.fake.FakeKernel;
            import io.kvmirq.fake.Profile;
            import io.kvmirq.VcpuId;
            import io.kvmirq.kernel.Fd;
            import io.kvmirq.kernel.Kernel;
            import io.kvmirq.kvm.Vcpu;
            import io.kvmirq.kvm.Vm;
            import io.kvmirq.uapi.Uapi;
            import java.nio.ByteBuffer;
            import java.nio.ByteOrder;
            public class Main {
                public static void main(String[] arguments) {
                    try (Kernel kernel = kernel(arguments[0]); Vm vm = Vm.create(kernel)) {
                        vm.x86().createIrqchip();
                        System.out.println("made in " + Main.class.getModule());
                        try (Vcpu vcpu = vm.createVcpu(new VcpuId(0)); Fd.Lease raw = vcpu.fd().lease()) {
                            ByteBuffer registers = ByteBuffer.allocateDirect(Uapi.KvmRegs.SIZE);
                            registers.order(ByteOrder.nativeOrder());
                            int result = kernel.libc().ioctl(raw.number(), Uapi.KVM_GET_REGS, registers);
                            System.out.println(result + " " + registers.getLong(Uapi.KvmRegs.RIP));
                        }
                    }
                }

                private static Kernel kernel(String backend) {
                    return backend.equals("fake")
                            ? new FakeKernel(Profile.parse("6.18")).open()
                            : Kernel.open(backend);
                }
            }
            """;

    @TempDir
    static Path modules;

    /** The user's module in the class files of each JDK, by the name of its directory. */
    @BeforeAll
    static void compile() throws Exception {
        for (Path jdk : jdks()) {
            Process javac = javac(jdk, Files.createDirectory(modules.resolve(jdk.getFileName())), MAIN);
            String said = new String(javac.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertThat(javac.waitFor()).as(said).isZero();
            assertThat(said).isEmpty();
        }
    }

    @TempDir
    Path directory;

    static List<Path> jdks() throws IOException, InterruptedException {
        return Program.output(List.of(Machine.root().resolve("scripts/jdks").toString()))
                .lines()
                .map(Path::of)
                .toList();
    }

    private static String pathOf(Class<?> type) {
        return type.getProtectionDomain().getCodeSource().getLocation().getPath();
    }

    @Tag("long")
    @ParameterizedTest
    @MethodSource("jdks")
    void aRuntimeImageWorksOnTheFake(Path jdk) throws Exception {
        Path jlink = jdk.resolve("bin/jlink");
        assumeTrue(Files.isExecutable(jlink), "needs jlink of " + jdk);
        Path image = directory.resolve("image");
        Program.output(List.of(
                jlink.toString(),
                "--module-path",
                modulePath(jdk),
                "--add-modules",
                "user",
                "--output",
                image.toString()));
        assertThat(Program.output(List.of(image.resolve("bin/java").toString(), "-m", "user/user.Main", "fake")))
                .isEqualTo("made in module user\n0 65520\n");
    }

    /** A VMM that needs neither guests' devices nor tests ships this: no class of fake or kit is in it. */
    @Tag("long")
    @Test
    void runtimeImageOfTheLibraryHasNoOtherModule() throws Exception {
        Path jdk = jdks().get(0);
        Path jlink = jdk.resolve("bin/jlink");
        assumeTrue(Files.isExecutable(jlink), "needs jlink of " + jdk);
        Path image = directory.resolve("image");
        Program.output(List.of(
                jlink.toString(),
                "--module-path",
                Artifacts.KVMIRQ.jar().toString(),
                "--add-modules",
                "io.kvmirq",
                "--output",
                image.toString()));
        assertThat(Program.output(List.of(image.resolve("bin/java").toString(), "--list-modules"))
                        .lines()
                        .map(module -> module.replaceFirst("@.*", "")))
                .containsExactlyInAnyOrder("io.kvmirq", "java.base");
    }

    @ParameterizedTest
    @MethodSource("jdks")
    void aModuleWorksOnTheFake(Path jdk) throws Exception {
        assertThat(Program.output(user(jdk, "fake"))).isEqualTo("made in module user\n0 65520\n");
    }

    @ParameterizedTest
    @MethodSource("jdks")
    @RealKvm(fullIrqchip = true)
    void aModuleWorksOnKvm(Path jdk) throws Exception {
        assertThat(Program.output(user(jdk, "jni"))).isEqualTo("made in module user\n0 65520\n");
    }

    @ParameterizedTest
    @ValueSource(strings = {"jni", "ffm"})
    void deniedNativeAccessNamesTheModule(String backend) throws Exception {
        Path jdk = jdks().get(jdks().size() - 1);
        assumeTrue(Runtime.Version.parse(version(jdk)).feature() >= 24, "needs Java 24, which can deny native access");
        List<String> command = user(jdk, backend);
        command.add(1, "--illegal-native-access=deny");
        command.removeIf(option -> option.startsWith("--enable-native-access"));
        Process java = new ProcessBuilder(command).redirectErrorStream(true).start();
        assertThat(new String(java.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
                .contains("backend " + backend + " cannot be used: native access is denied: start Java with"
                        + " --enable-native-access=io.kvmirq\n");
        assertThat(java.waitFor()).isNotZero();
    }

    @ParameterizedTest
    @MethodSource("jdks")
    void whatIsNotForUsersIsNotVisible(Path jdk) throws Exception {
        List<String> hidden = List.of(
                "io.kvmirq.explain", "io.kvmirq.backend.jni", "io.kvmirq.backend.library", "io.kvmirq.backend.libc");
        Process javac = javac(
                jdk,
                directory,
                "package user; class Main { io.kvmirq.explain.Answers a; io.kvmirq.backend.jni.JniBackend b;"
                        + " io.kvmirq.backend.library.NativeLibrary c; io.kvmirq.backend.libc.LibcBackend d;"
                        + " io.kvmirq.cli.Main e; }");
        String said = new String(javac.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(javac.waitFor()).isNotZero();
        assertThat(hidden).allSatisfy(name -> assertThat(said)
                .contains("package " + name + " is not visible")
                .contains(name + " is declared in module io.kvmirq, which does not export it"));
        assertThat(said).contains("package io.kvmirq.cli does not exist");
    }

    /** Compiles a user's module; its classes are below the directory. */
    private static Process javac(Path jdk, Path directory, String source) throws IOException {
        Path module = Files.writeString(directory.resolve("module-info.java"), MODULE);
        Path main = Files.writeString(directory.resolve("Main.java"), source);
        ProcessBuilder javac = new ProcessBuilder(
                        jdk.resolve("bin/javac").toString(),
                        "--module-path",
                        // The annotations are part of the API.
                        ours() + File.pathSeparator + pathOf(Nullable.class),
                        "-d",
                        directory.resolve("classes").toString(),
                        module.toString(),
                        main.toString())
                .redirectErrorStream(true);
        // Surefire sets it, and javac would read it.
        javac.environment().remove("CLASSPATH");
        return javac.start();
    }

    private static String ours() throws IOException {
        return String.join(
                File.pathSeparator,
                Artifacts.KVMIRQ.jar().toString(),
                Artifacts.FAKE.jar().toString(),
                pathOf(JsonParser.class));
    }

    private static String modulePath(Path jdk) throws IOException {
        return ours() + File.pathSeparator + modules.resolve(jdk.getFileName()).resolve("classes");
    }

    private static final String ALONE = """
            import io.kvmirq.kernel.Kernel;
            class Alone {
                public static void main(String[] arguments) {
                    try {
                        Kernel.open("fake");
                    } catch (RuntimeException e) {
                        System.out.println(e.getMessage());
                    }
                    try {
                        Kernel.open();
                    } catch (RuntimeException e) {
                        System.out.println(e.getMessage());
                    }
                }
            }
            """;

    /** A program with {@code io.kvmirq:kvmirq} alone, which a variable asks to simulate. */
    @Test
    void theLibraryAloneDoesNotSimulate() throws Exception {
        Path source = Files.writeString(directory.resolve("Alone.java"), ALONE);
        assertThat(Program.output(List.of(
                        jdks().get(0).resolve("bin/java").toString(),
                        "-Dkvmirq.backend=fake",
                        "-cp",
                        Artifacts.KVMIRQ.jar().toString(),
                        source.toString())))
                .isEqualTo("backend fake cannot be used: nothing on the class path provides it: add"
                        + " io.kvmirq:kvmirq-fake\n"
                        + "-Dkvmirq.backend or $KVMIRQ_BACKEND selects the fake kernel, but only tests with"
                        + " io.kvmirq:kvmirq-testkit accept this setting: use Kernel.open(\"fake\")\n");
    }

    /** The command that runs the user's module over a backend. */
    private static List<String> user(Path jdk, String backend) throws IOException {
        List<String> command =
                new ArrayList<>(List.of(jdk.resolve("bin/java").toString(), "--module-path", modulePath(jdk)));
        if (hasNativeAccess(jdk)) {
            command.add("--enable-native-access=io.kvmirq");
        }
        command.addAll(List.of("-m", "user/user.Main", backend));
        return command;
    }

    /** Java 17 knows the option only together with an incubator module, and warns. */
    private static boolean hasNativeAccess(Path jdk) throws IOException {
        return !version(jdk).startsWith("17");
    }

    private static String version(Path jdk) throws IOException {
        return Files.readString(jdk.resolve("release")).replaceFirst("(?s).*JAVA_VERSION=\"([^\"]*)\".*", "$1");
    }
}
