/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Which binding serves, on each JDK, and what is said where something is missing. */
class BindingsIT {
    @TempDir
    private Path temporary;

    private static Path withoutOurLibrary(Path directory) throws IOException {
        Path jar = Files.copy(Cli.jar(), directory.resolve("without.jar"));
        try (FileSystem zip = FileSystems.newFileSystem(jar, Map.of());
                Stream<Path> natives = Files.walk(zip.getPath("META-INF/native"))) {
            for (Path each : natives.filter(Files::isRegularFile).toList()) {
                Files.delete(each);
            }
        }
        return jar;
    }

    /** From the jar alone: where no library of ours is, another binding serves. */
    @ParameterizedTest
    @ValueSource(strings = {"jna", "jnr"})
    @RealKvm(fullIrqchip = true)
    void withoutOurLibraryOthersServe(String backend) throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent")
                .execute("selftest", "--backend", backend, "--count", "100");
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out()).contains("through " + backend, "6 of 6 scenarios passed");
    }

    /** The files that other bindings unpack lie in our private directory, whole, and are mended when they changed. */
    @Test
    @RealKvm
    void otherBindingsUnpackIntoThePrivateDirectory() throws Exception {
        Path cache = temporary.resolve("cache");
        Path others = cache.resolve("others");
        Cli jnr = Cli.jvm("-Dkvmirq.cache=" + cache, "-Djava.io.tmpdir=/nonexistent");
        assertThat(jnr.execute("selftest", "--backend", "jnr", "--scenario", "guestless")
                        .exitCode())
                .isZero();
        try (Stream<Path> files = Files.list(others)) {
            assertThat(files).singleElement().satisfies(file -> Files.write(file, new byte[] {1, 2, 3}));
        }
        assertThat(jnr.execute("selftest", "--backend", "jnr", "--scenario", "guestless")
                        .exitCode())
                .isZero();
        assertThat(jnr.execute("selftest", "--backend", "jna", "--scenario", "guestless")
                        .exitCode())
                .isZero();
    }

    @Test
    @RealKvm
    void autoWithoutOurLibraryTakesTheNextThatWorks() throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent")
                .execute("selftest", "--count", "10", "--json");
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(ended.out()).containsPattern("\"backend\":\"(ffm|jna)\"");
    }

    @ParameterizedTest
    @ValueSource(strings = {"jni", "ffm", "jna", "jnr"})
    @RealKvm(fullIrqchip = true)
    void everyBindingPassesEveryScenario(String backend) {
        assumeTrue(!backend.equals("ffm") || Runtime.version().feature() >= 22, "needs Java 22");
        assertPasses(Cli.run("selftest", "--backend", backend, "--count", "100"));
    }

    @Tag("long")
    @ParameterizedTest
    @MethodSource("jdksAndBackends")
    @RealKvm(fullIrqchip = true)
    void everyBindingPassesEveryScenarioOnEveryJdk(Path jdk, String backend) throws Exception {
        assertPasses(Cli.launcher()
                .with("JAVA", jdk.resolve("bin/java").toString())
                .execute("selftest", "--backend", backend, "--count", "100"));
    }

    private static void assertPasses(Cli.Ended ended) {
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out()).contains("6 of 6 scenarios passed on the real kernel");
    }

    private static Stream<Arguments> jdksAndBackends() throws Exception {
        return jdks().flatMap(jdk -> Stream.of("jni", "ffm", "jna", "jnr")
                .filter(backend -> !backend.equals("ffm") || feature(jdk) >= 22)
                .map(backend -> Arguments.of(jdk, backend)));
    }

    private static int feature(Path jdk) {
        try {
            String release = Files.readString(jdk.resolve("release"));
            return Integer.parseInt(release.replaceAll("(?s).*JAVA_VERSION=\"(\\d+).*", "$1"));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void backendsSaysWhyEachIsUsableOrNot() throws Exception {
        String out = Cli.run("backends").out();
        assertThat(out.lines().filter(line -> line.matches("(jni|ffm|jna|jnr) .*")))
                .hasSize(4);
        assertThat(out).contains("jni  usable ", "jna  usable    JNA 5.");
        assertThat(Cli.run("backends", "--json").out())
                .startsWith("{\"schema\":\"kvmirq.backends/1\",\"backends\":[{\"name\":\"jni\",\"usable\":true");
    }

    @Test
    @RealKvm
    void classesOfUnusedBindingsAreNotLoaded() throws Exception {
        Cli.Ended ended = Cli.jvm("-Xlog:class+load:stdout").execute("selftest", "--scenario", "guestless");
        assertThat(ended.exitCode()).isZero();
        assertThat(ended.out())
                .contains("io.kvmirq.backend.jni.JniBackend")
                .doesNotContain("com.sun.jna.")
                .doesNotContain("jnr.ffi.")
                .doesNotContain("io.kvmirq.backend.libc.LibcBackend")
                .doesNotContain("io.kvmirq.backend.libc.FfmLibc");
        String jna = Cli.jvm("-Xlog:class+load:stdout")
                .execute("selftest", "--scenario", "guestless", "--backend", "jna")
                .out();
        assertThat(jna)
                .contains("com.sun.jna.Native")
                .doesNotContain("io.kvmirq.backend.jni.JniBackend")
                .doesNotContain("jnr.ffi.");
    }

    @ParameterizedTest
    @MethodSource("jdks")
    @RealKvm
    void everyJdkHereRunsItWithoutAWarning(Path jdk) throws Exception {
        Cli.Ended ended =
                Cli.launcher().with("JAVA", jdk.resolve("bin/java").toString()).execute("selftest", "--count", "10");
        assertThat(ended.exitCode()).as(ended.out()).isZero();
        assertThat(ended.err()).isEmpty();
        assertThat(ended.out()).doesNotContain("WARNING");
    }

    private static Stream<Path> jdks() throws Exception {
        Process process = new ProcessBuilder(Machine.root() + "/scripts/jdks").start();
        return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                .lines()
                .map(Path::of);
    }

    // What can be missing

    @Test
    void hiddenLibraryListsThePlacesLookedAt() throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent/a:/nonexistent/b")
                .execute("backends");
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(ended.out())
                .contains("jni  unusable  no usable libkvmirq.so; looked at:")
                .contains("/nonexistent/a/libkvmirq.so: not there", "/nonexistent/b/libkvmirq.so: not there")
                .contains("in the jar: not there");
    }

    @Test
    @RealKvm
    void selftestWithoutTheLibraryAskedForCannotLook() throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent")
                .execute("selftest", "--backend", "jni");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err()).startsWith("kvmirq: backend jni cannot be used: no usable libkvmirq.so; looked at:");
    }

    @Test
    void userWithoutAccessIsToldWhy() throws Exception {
        Machine.assumeRoot("to become nobody");
        Machine.assumeProgram("setpriv");
        Machine.assumeKvmClosedToOthers();
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path jar = Files.copy(Cli.jar(), temporary.resolve("kvmirq.jar"));
        Path home = Files.createDirectory(temporary.resolve("home"));
        Files.setAttribute(home, "unix:uid", Cli.NOBODY);
        Cli.Ended ended = Cli.jvm(jar, "-Dkvmirq.cache=" + home.resolve("cache"))
                .asNobody()
                .execute("selftest");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err().strip())
                .startsWith("kvmirq: open /dev/kvm: EACCES (")
                .containsAnyOf("join group ", "run as that user, or let a group in with chgrp kvm /dev/kvm");
        assertThat(ended.out()).isEmpty();
    }

    private static Cli withoutDevice(Cli cli) throws Exception {
        String hide = Machine.root() + "/scripts/without-kvm";
        Machine.assumeSucceeds(hide, "true");
        return cli.under(hide);
    }

    /** A backend chosen by no means, by option, by property and by environment. */
    private static Cli choosing(String means, String backend) {
        return switch (means) {
            case "property" -> Cli.jvm("-Dkvmirq.backend=" + backend);
            case "environment" -> Cli.launcher().with("KVMIRQ_BACKEND", backend);
            default -> Cli.launcher();
        };
    }

    private static String[] selftest(String means, String backend, String... more) {
        Stream<String> option = means.equals("option") ? Stream.of("--backend", backend) : Stream.of();
        return Stream.of(Stream.of("selftest"), option, Stream.of(more))
                .flatMap(words -> words)
                .toArray(String[]::new);
    }

    @ParameterizedTest
    @CsvSource({
        "nothing,",
        "option,auto",
        "property,auto",
        "environment,auto",
        "option,jni",
        "property,jni",
        "environment,jni"
    })
    void withoutKvmTheExitCodeIs3UnlessTheFakeWasAskedFor(String means, @Nullable String named) throws Exception {
        String backend = named == null ? "" : named;
        Cli.Ended ended = withoutDevice(choosing(means, backend)).execute(selftest(means, backend, "--json"));
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err())
                .startsWith("kvmirq: open /dev/kvm: ENOENT (no KVM here: load kvm_intel or kvm_amd")
                .endsWith("; --backend fake runs the same on a fake kernel\n");
        assertThat(ended.err().lines()).hasSize(1);
        assertThat(ended.out()).isEmpty();
    }

    @Test
    void withoutKvmTheFakeRunsWhenAskedForAndEveryLineSaysSo() throws Exception {
        Cli.Ended ended =
                withoutDevice(choosing("option", "fake")).execute(selftest("option", "fake", "--count", "100"));
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.err()).isEmpty();
        assertThat(ended.out().lines()).allMatch(line -> line.startsWith("FAKE"));
        assertThat(ended.out()).contains("FAKE 6 of 6 scenarios passed on the fake kernel 6.12");
    }
}
