/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.Abi;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The Debian package that {@code make package} makes for this machine. */
@Tag("search")
class PackageIT {
    /** A clean Debian, which is made once: it takes a minute. */
    private static final String ROOT = "target/package/bookworm.tar";

    private static final Duration INSTALLED_AND_RUN = Duration.ofSeconds(30);
    private static final int STARTS = 15;

    /** Dpkg keeps its log. */
    private static final String CLEAN_ROOT = """
            set -e
            root=$3
            mkdir "$root"
            tar -C "$root" -xpf "$1" --exclude './dev/*'
            mount --bind /dev "$root/dev"
            mount --bind /proc "$root/proc"
            cp "$2" "$root/kvmirq.deb"
            touch "$root/var/log/dpkg.log"
            inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$root" "$@"; }
            files() { (cd "$root" && find . -xdev -printf '%M %u %g %p %l\\n' | LC_ALL=C sort -k 4); }
            ! inside sh -c 'command -v java'
            files > "$root.before"
            since=$(date +%s)
            inside dpkg -i /kvmirq.deb
            inside kvmirq selftest --count 100
            inside kvmirq backends
            echo "seconds $(($(date +%s) - since))"
            inside dpkg -P kvmirq
            files > "$root.after"
            diff "$root.before" "$root.after"
            umount "$root/dev" "$root/proc"
            rm -rf --one-file-system "$root"
            echo "nothing is left"
            """;

    /** The package, and a place where each test changes its files. */
    private static Path made;

    @TempDir
    private static Path once;

    @TempDir
    private Path temporary;

    @BeforeAll
    static void make() throws Exception {
        Machine.jar();
        Machine.assumeProgram("dpkg-deb");
        Machine.assumeProgram("readelf");
        made = packaged(once);
        Program.output(List.of("dpkg-deb", "-x", made.toString(), once.toString()));
        // As the package's postinst does.
        Program.output(List.of(once.resolve("usr/lib/kvmirq/archive-classes").toString()));
    }

    /** The package, moved into a directory. */
    private static Path packaged(Path directory) throws Exception {
        String said = Program.output(
                List.of(Machine.root().resolve("scripts/package").toString(), Machine.isX86() ? "x86_64" : "aarch64"));
        Path file = Machine.root()
                .resolve(said.lines()
                        .filter(line -> line.endsWith(".deb"))
                        .findFirst()
                        .orElseThrow());
        return Files.move(file, directory.resolve(file.getFileName()));
    }

    @Test
    void sameClassesGiveTheSamePackage() throws Exception {
        assertThat(packaged(temporary)).hasSameBinaryContentAs(made);
    }

    @Test
    void billOfMaterialsIsThatOfThePackage() throws Exception {
        Path file = temporary.resolve("usr/share/doc/kvmirq/kvmirq-cyclonedx.json");
        assumeTrue(Files.exists(file), "no SBOM was built: run make package or make publish-local");
        String java =
                Files.readString(home().resolve("runtime/release")).replaceAll("(?s).*JAVA_VERSION=\"(.*?)\".*", "$1");
        String[] components = Files.readString(file).split("\"bom-ref\" : ", -1);
        assertThat(components)
                .anyMatch(component -> component.startsWith("\"pkg:generic/openjdk@" + java + "\""))
                .filteredOn(component -> component.matches("(?s)\"pkg:maven/(net.java.dev.jna|com.github.jnr)/.*"))
                .hasSizeGreaterThan(3)
                .allMatch(component -> component.contains("\"scope\" : \"excluded\""));
    }

    @BeforeEach
    void unpacked() throws Exception {
        Program.output(List.of("cp", "-al", once.resolve("usr").toString(), temporary.toString()));
    }

    private Path home() {
        return temporary.resolve("usr/lib/kvmirq");
    }

    private Cli kvmirq() {
        return Cli.launcher(temporary.resolve("usr/bin/kvmirq"));
    }

    private void assertOneSentence(Cli.Ended ended, String sentence) {
        assertThat(ended.exited(ExitCode.COULD_NOT_RUN).out()).isEmpty();
        assertThat(ended.err().lines()).singleElement().asString().contains(sentence);
    }

    @Test
    void installedInACleanDebianItRunsAndLeavesNothing() throws Exception {
        Machine.assumeRoot("mounts, and changes the root directory");
        Machine.assumeProgram("unshare");
        Machine.kvmFlaw().ifPresent(flaw -> assumeTrue(false, flaw));
        Program.Ended ended = Program.run(List.of(
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "bash",
                "-c",
                CLEAN_ROOT,
                "bash",
                debian().toString(),
                made.toString(),
                temporary.resolve("root").toString()));
        assertThat(ended.code()).as(ended.said()).isZero();
        assertThat(ended.said()).contains("6 of 6 scenarios passed on the real kernel", "nothing is left");
        assertThat(ended.said().lines().filter(line -> line.startsWith("seconds ")))
                .singleElement()
                .satisfies(line -> assertThat(Integer.parseInt(line.split(" ", -1)[1]))
                        .isLessThan((int) INSTALLED_AND_RUN.toSeconds()));
    }

    private Path debian() throws Exception {
        Path root = Machine.root().resolve(ROOT);
        if (!Files.exists(root)) {
            Machine.assumeProgram("mmdebstrap");
            Path unfinished = temporary.resolve("bookworm.tar");
            Machine.assumeSucceeds(
                    "mmdebstrap",
                    "--quiet",
                    "--variant=essential",
                    "--include=acl,libstdc++6",
                    "bookworm",
                    unfinished.toString());
            Files.move(unfinished, root, StandardCopyOption.REPLACE_EXISTING);
        }
        return root;
    }

    @Test
    void lintianFindsNoErrors() throws Exception {
        Machine.assumeProgram("lintian");
        assertThat(Program.run(List.of("lintian", "--allow-root", made.toString())))
                .isEqualTo(new Program.Ended(0, ""));
    }

    /** Both run on the same runtime, in turn, as the machine may be busy. The best of three comparisons counts. */
    @Test
    void versionStartsAlmostAsFastAsAHelloWorld() throws Exception {
        Path hello = Files.writeString(temporary.resolve("Hello.java"), """
            class Hello {
                public static void main(String[] arguments) {
                    System.out.println("Hello, world");
                }
            }
            """);
        Program.output(List.of(
                Path.of(System.getProperty("java.home"), "bin/javac").toString(), "--release", "17", hello.toString()));
        List<String> smallest =
                List.of(home().resolve("runtime/bin/java").toString(), "-cp", temporary.toString(), "Hello");
        double ratio = Double.MAX_VALUE;
        for (int i = 0; i < 3 && ratio > 1.5; i++) {
            ratio = Math.min(
                    ratio,
                    ratioOfStarts(List.of(temporary.resolve("usr/bin/kvmirq").toString(), "--version"), smallest));
        }
        assertThat(ratio).isLessThan(1.5);
    }

    private static double ratioOfStarts(List<String> ours, List<String> theirs) throws Exception {
        List<Long> first = new ArrayList<>();
        List<Long> second = new ArrayList<>();
        for (int i = 0; i < STARTS; i++) {
            first.add(nanos(ours));
            second.add(nanos(theirs));
        }
        Collections.sort(first);
        Collections.sort(second);
        return (double) first.get(STARTS / 2) / second.get(STARTS / 2);
    }

    private static long nanos(List<String> command) throws Exception {
        long since = System.nanoTime();
        Program.output(command);
        return System.nanoTime() - since;
    }

    @Test
    void versionIsThatOfTheBuildAndItsClassesAreFromTheArchive() throws Exception {
        Cli.Ended ended = kvmirq().with("JAVA_TOOL_OPTIONS", "-Xlog:class+load -Xshare:on")
                .execute("--version")
                .exited(ExitCode.OK);
        assertThat(ended.out()).containsPattern("(?m)^kvmirq \\d+\\.\\d+\\.\\d+\\S* \\(ABI ");
        assertThat(ended.out().lines().filter(line -> line.contains(" io.kvmirq.")))
                .isNotEmpty()
                .allMatch(line -> line.endsWith("source: shared objects file"));
    }

    /** Half of a package is left, such as by a full disk. */
    @ParameterizedTest
    @ValueSource(
            strings = {"needed", "libkvmirq.so", "runtime/bin/java", "runtime/lib/modules", "runtime/lib/libzip.so"})
    void missingFileIsOneSentence(String file) throws Exception {
        Files.delete(home().resolve(file));
        assertOneSentence(
                kvmirq().execute("selftest"),
                "/lib/kvmirq/" + file + " is missing or cannot be read: install kvmirq again");
    }

    /** The archive only makes starts faster. */
    @Test
    void runsWithoutTheArchiveOfClasses() throws Exception {
        Files.delete(home().resolve("runtime/lib/server/classes.jsa"));
        Cli.Ended ended = kvmirq().execute("--version").exited(ExitCode.OK);
        assertThat(ended.out()).startsWith("kvmirq ").hasLineCount(1);
        assertThat(ended.err()).isEmpty();
    }

    @Test
    void olderLibraryIsOneSentence() throws Exception {
        Machine.assumeProgram("make");
        Machine.assumeProgram("cc");
        Program.output(List.of("cp", "-r", Machine.root().resolve("native").toString(), temporary.toString()));
        Path sources = temporary.resolve("native");
        Path header = sources.resolve("bridge/kvmirq.h");
        Files.writeString(
                header,
                Files.readString(header)
                        .replace(
                                "#define KVMIRQ_ABI_VERSION " + Abi.OURS.version(),
                                "#define KVMIRQ_ABI_VERSION " + (Abi.OURS.version() - 1)));
        String java = "JAVA_HOME=" + System.getProperty("java.home");
        Program.output(List.of(
                "make",
                "-s",
                "-C",
                sources.toString(),
                "CFLAGS=-O0",
                "WHOLE=",
                "OUT=older",
                java,
                "older/libkvmirq.so"));
        Files.move(
                sources.resolve("older/libkvmirq.so"),
                home().resolve("libkvmirq.so"),
                StandardCopyOption.REPLACE_EXISTING);
        assertOneSentence(
                kvmirq().execute("selftest"),
                "/lib/kvmirq/libkvmirq.so has ABI " + (Abi.OURS.version() - 1) + ", but this kvmirq needs " + Abi.OURS);
    }

    /** The packaged library is a file already. */
    @Test
    void unwritableCacheIsNotUsed() throws Exception {
        Cli.Ended ended = kvmirq().with("HOME", "/proc/none")
                .with("XDG_CACHE_HOME", "/proc/none")
                .execute("backends")
                .exited(ExitCode.OK);
        assertThat(ended.out()).containsPattern("(?m)^jni +usable .*/usr/lib/kvmirq/libkvmirq\\.so$");
    }

    /** Root may be in a directory of another user. */
    @Test
    void classesOfTheWorkingDirectoryAreNotSearched() throws Exception {
        Cli.Ended ended = kvmirq().with("JDK_JAVA_OPTIONS", "-XshowSettings:properties")
                .execute("--version")
                .exited(ExitCode.OK);
        assertThat(ended.err().lines().map(String::strip))
                .filteredOn(line -> line.startsWith("java.class.path ="))
                .singleElement()
                .asString()
                .endsWith("/lib/kvmirq/none");
    }

    @Test
    void everyProgramIsForThisMachine() throws Exception {
        String machine = Machine.isX86() ? "Advanced Micro Devices X86-64" : "AArch64";
        try (Stream<Path> files = Files.walk(home())) {
            List<Path> programs = files.filter(PackageIT::isElf).toList();
            assertThat(programs).hasSizeGreaterThan(10);
            for (Path program : programs) {
                assertThat(Program.output(List.of("readelf", "-h", program.toString())))
                        .as(program.toString())
                        .containsPattern("Machine: +" + machine);
            }
        }
    }

    private static boolean isElf(Path file) {
        try {
            return Files.isRegularFile(file)
                    && new String(Files.newInputStream(file).readNBytes(4), StandardCharsets.ISO_8859_1)
                            .equals("\177ELF");
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }
}
