/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.STRING;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The promises of src/docs/security.md have tests, and strace agrees with the page on what commands write and run. */
class SecurityIT {
    private static final Path PAGE = Machine.root().resolve("src/docs/security.md");
    private static final Path UNIT = Machine.root().resolve("src/packaging/lib/systemd/system/kvmirq-textfile.service");
    /** System calls that change a file or the kernel, start a program, or reach the network or another process. */
    private static final String CALLS = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,link,linkat,symlink,"
            + "symlinkat,unlink,unlinkat,rename,renameat,renameat2,chmod,fchmodat,chown,fchownat,truncate,execve,connect,"
            + "bind,sendto,mount,init_module,finit_module,delete_module,bpf,perf_event_open,ptrace,process_vm_readv,"
            + "process_vm_writev,kill,pidfd_open,reboot,kexec_load,setxattr";
    /** Calls of the JVM itself, and files opened only for reading. */
    private static final Pattern HARMLESS = Pattern.compile("open(at|at2)?\\([^|]*O_RDONLY.*|.* = -1 E[A-Z]+ .*"
            + "|.*\"/dev/(null|tty)\".*|.*(/proc/self/coredump_filter|\"/proc/self/mem).*"
            + "|openat\\(AT_FDCWD, \"\\d+\", O_RDWR\\|O_CREAT\\|O_NOFOLLOW.*");

    private static final Pattern PROGRAM = Pattern.compile("execve\\(\"(?:[^\"]*/)?([^/\"]+)\".*");
    private static final Pattern PATH = Pattern.compile("\"(/[^\"]*)\"");
    /** The rating of systemd-analyze security in tenths: up to here it is OK. */
    private static final String HIGHEST_EXPOSURE = "20";

    @TempDir
    private Path temporary;

    @ParameterizedTest
    @CsvSource({
        "list, nothing, dmesg",
        "explain --all, nothing, dmesg",
        "doctor, nothing, dmesg",
        "vfio 0000:00:00.0, nothing, dmesg",
        "watch --json --count 1, nothing, dmesg",
        "capture, nothing, dmesg",
        "decode pid 0, nothing, none",
        "errno KVM_IRQFD, nothing, none",
        "list --textfile FILE, FILE, dmesg",
        "capture -o FILE, FILE, dmesg",
        "backends, CACHE, ldconfig",
    })
    void commandsWriteAndRunOnlyWhatThePageLists(String command, String writes, String programs)
            throws IOException, InterruptedException {
        Machine.assumeSucceeds("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=none", "true");
        Path file = temporary.resolve("written");
        Path cache = Files.createDirectory(temporary.resolve("cache"));
        Path traces = Files.createDirectory(temporary.resolve("traces"));
        List<String> words = new ArrayList<>(
                List.of("strace", "-ff", "--seccomp-bpf", "-qq", "-o", traces + "/of", "-e", "signal=none"));
        words.addAll(List.of("-e", "trace=" + CALLS, "-E", "XDG_CACHE_HOME=" + cache));
        words.addAll(List.of(
                System.getProperty("java.home") + "/bin/java",
                "-XX:-UsePerfData", // else the JVM asks kill(PID, 0) whether the owners of old files there still run
                "-jar",
                Machine.jar().toString()));
        words.addAll(List.of(command.replace("FILE", file.toString()).split(" ")));
        Program.run(words);
        List<String> calls = new ArrayList<>();
        try (Stream<Path> files = Files.list(traces)) {
            for (Path thread : files.toList()) {
                calls.addAll(Files.readAllLines(thread));
            }
        }
        calls.removeIf(line -> HARMLESS.matcher(line).matches());
        assertThat(calls).isNotEmpty();
        Set<String> run = new TreeSet<>();
        calls.stream().map(PROGRAM::matcher).filter(Matcher::matches).forEach(program -> run.add(program.group(1)));
        run.removeAll(Set.of("java", "jspawnhelper"));
        assertThat(run).isSubsetOf(programs.equals("none") ? Set.of() : Set.of(programs));
        String allowed = writes.equals("CACHE") ? cache.toString() : writes.equals("FILE") ? temporary.toString() : "-";
        assertThat(calls).filteredOn(line -> !line.startsWith("execve(")).allSatisfy(line -> assertThat(
                        PATH.matcher(line).results().map(MatchResult::group))
                .as(line)
                .isNotEmpty()
                .allMatch(path -> path.startsWith("\"" + allowed)));
        String listed = command.contains("FILE") ? command : command.split(" ")[0];
        assertThat(Files.readAllLines(PAGE).stream().takeWhile(line -> !line.equals("## Rights")))
                .filteredOn(line -> line.startsWith("|") && line.contains("`" + listed + "`"))
                .singleElement(STRING)
                .matches("\\|.*\\| [^|]*" + writes.replace("CACHE", "XDG_CACHE_HOME") + "[^|]*\\|[^|]*" + programs
                        + ".*");
    }

    /** The table of promises names tests of this project. */
    @Test
    void eachPromiseIsHeldByATest() throws IOException {
        List<MatchResult> named = Pattern.compile("`(\\w+)\\.(\\w+)`")
                .matcher(Files.readString(PAGE))
                .results()
                .toList();
        assertThat(named).hasSizeGreaterThan(5);
        try (Stream<Path> files = Files.walk(Machine.root().resolve("src/test/java"))) {
            List<Path> sources = files.toList();
            assertThat(named).allSatisfy(test -> assertThat(sources)
                    .filteredOn(path -> path.endsWith(test.group(1) + ".java"))
                    .as(test.group())
                    .singleElement()
                    .satisfies(path -> assertThat(Files.readString(path)).contains("void " + test.group(2) + "(")));
        }
    }

    @Test
    void serviceIsConfined() throws IOException, InterruptedException {
        Machine.assumeSucceeds("systemd-analyze", "security", "--offline=true", "--threshold=100", UNIT.toString());
        Program.Ended rated = Program.run(List.of(
                "systemd-analyze",
                "security",
                "--no-pager",
                "--offline=true",
                "--threshold=" + HIGHEST_EXPOSURE,
                UNIT.toString()));
        assertThat(rated.code()).as(rated.said()).isZero();
    }
}
