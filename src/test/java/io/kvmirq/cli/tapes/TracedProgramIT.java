/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code kvmirq tape --ptrace}, with {@code src/test/native/traced.c} mostly, which says what is wrong. */
class TracedProgramIT {
    private static final Pattern THREAD = Pattern.compile("\"pid\":(\\d+),\"tid\":(\\d+),");

    @TempDir
    private Path temporary;

    private String linked(String source, String name, String... link) throws Exception {
        String program = temporary.resolve(name).toString();
        List<String> words = new ArrayList<>(List.of(link));
        words.addAll(List.of(
                "-pthread",
                "-o",
                program,
                Machine.root().resolve("src/test/native/" + source).toString()));
        Machine.compile(words.toArray(String[]::new));
        return program;
    }

    private static Cli.Ended record(Path tape, boolean traced, String... program) {
        List<String> words = new ArrayList<>(List.of("tape", "-o", tape.toString()));
        if (traced) {
            words.add("--ptrace");
        }
        words.add("--");
        words.addAll(List.of(program));
        return Cli.run(words.toArray(String[]::new));
    }

    /**
     * The lines of each thread, without numbers of processes. A call that waits and the one that ends its wait are in
     * either order.
     */
    private static List<List<String>> threads(Path tape) throws IOException {
        Map<String, List<String>> threads = new LinkedHashMap<>();
        for (String line : Files.readAllLines(tape)) {
            Matcher thread = THREAD.matcher(line);
            String by = thread.find() ? thread.group(2) : "";
            threads.computeIfAbsent(by, key -> new ArrayList<>())
                    .add(line.replaceFirst("\"seq\":\\d+,", "")
                            .replaceFirst(THREAD.pattern(), "")
                            .replaceFirst("\"header\":\\{\"pid\":\\d+,\"program\":\"[^\"]*\",", "\"header\":{"));
        }
        return List.copyOf(threads.values());
    }

    /** A static program is recorded as a dynamic one that loads the recorder. */
    private void requireEqualTapes(String source, String... arguments) throws Exception {
        List<String> words = new ArrayList<>(List.of(linked(source, "dynamic")));
        words.addAll(List.of(arguments));
        Path preloaded = temporary.resolve("preloaded.tape");
        Cli.Ended expected = record(preloaded, false, words.toArray(String[]::new));
        assertThat(expected.err()).isEmpty();
        for (String link : List.of("-static", "-rdynamic")) {
            words.set(0, linked(source, "linked" + link, link));
            Path traced = temporary.resolve("traced" + link);
            assertThat(record(traced, true, words.toArray(String[]::new)))
                    .as(link)
                    .isEqualTo(expected);
            assertThat(threads(traced)).as(link).containsExactlyInAnyOrderElementsOf(threads(preloaded));
            assertThat(Files.readAllLines(traced)).hasSizeGreaterThan(3);
            assertThat(Cli.run("replay", traced.toString()).exited(ExitCode.OK).out())
                    .contains("all answered as on the tape");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"threads", "signals", "stop", "restart", "left", "processes", "exec", "filtered", "killed"})
    void tapeIsThatOfTheDynamicProgram(String program) throws Exception {
        requireEqualTapes("traced.c", program);
    }

    @ParameterizedTest
    @ValueSource(strings = {"guest", "edges"})
    @RealKvm(fullIrqchip = true)
    void tapeIsThatOfTheDynamicVmm(String program) throws Exception {
        Machine.assumeX86();
        requireEqualTapes("traced.c", program);
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void everyKindOfCallIsRecorded() throws Exception {
        requireEqualTapes("taped.c");
    }

    @Test
    @RealKvm
    void filesOfAnotherRootAreRecorded() throws Exception {
        Machine.assumeRoot("to change the root");
        Path jail = Files.createDirectories(temporary.resolve("jail/dev")).getParent();
        linked("traced.c", "jail/traced", "-static");
        Process copy = new ProcessBuilder("cp", "-a", "/dev/kvm", jail + "/dev").start();
        assertThat(copy.waitFor()).isZero();
        Path tape = temporary.resolve("tape");
        record(tape, true, "chroot", jail.toString(), "/traced", "version").exited(7);
        assertThat(Cli.run("tape", "--show", tape.toString()).out().lines().skip(2))
                .containsExactly("open /dev/kvm = kvm#1", "kvm#1 KVM_GET_API_VERSION = 12", "kvm#1 close = 0");
    }

    @Test
    void callsOfMoreBytesThanTheHelpSaysAreNotRecorded() throws Exception {
        Path tape = temporary.resolve("tape");
        Cli.Ended ended = record(tape, true, linked("traced.c", "traced", "-static"), "limits")
                .exited(7);
        assertThat(ended.out()).isEmpty();
        assertThat(Cli.run("tape", "--show", tape.toString()).out().lines().skip(2))
                .containsExactly(
                        "eventfd#1 read = 1",
                        "eventfd#1 write = EINVAL",
                        "eventfd#1 pwrite at 0x0 18446744073709551615 = ESPIPE",
                        "eventfd#1 pread at 0x0 = ESPIPE");
        assertThat(Files.readString(tape))
                .contains("\"value\":512,", "\"value\":8,")
                .doesNotContain("\"value\":513,", "\"value\":9,");
        assertThat(Cli.run("tape", "--help").out().replaceAll("\\s+", " "))
                .contains("reads and writes of more than 512 bytes, pread and pwrite of more than 8,");
    }

    /** How often each thread is served depends on the scheduler. */
    @Test
    void busyThreadsKeepNoOtherFromBeingServed() throws Exception {
        Path tape = temporary.resolve("tape");
        Cli.Ended ended = record(tape, true, linked("traced.c", "traced", "-static"), "busy")
                .exited(7);
        assertThat(ended.out()).isEmpty();
        List<List<String>> threads = threads(tape);
        assertThat(threads).hasSize(1 + 1 + 8); // header, first and busy ones
        assertThat(threads).filteredOn(lines -> lines.size() == 1 + 100).isNotEmpty();
    }

    /** The handler of SIGSYS answers it, and the kernel does not make it. */
    @Test
    void callThatAFilterOfTheProgramRefusesIsNotRecorded() throws Exception {
        Path tape = temporary.resolve("tape");
        Cli.Ended ended = record(tape, true, linked("traced.c", "traced", "-static"), "refused")
                .exited(7);
        assertThat(ended.err()).isEmpty();
        assertThat(Cli.run("tape", "--show", tape.toString()).out().lines().skip(1))
                .containsExactly("eventfd 0 = eventfd#1", "eventfd#1 write 1 = 8");
    }

    private void requireRefused(String sentence, String... refuses) throws Exception {
        Path tape = Files.writeString(temporary.resolve("earlier.tape"), "earlier");
        List<String> under = new ArrayList<>(List.of(linked("refuses.c", "refuses")));
        under.addAll(List.of(refuses));
        Cli.Ended ended = Cli.launcher()
                .under(under.toArray(String[]::new))
                .execute("tape", "--ptrace", "-o", tape.toString(), "--", "true")
                .exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err()).isEqualTo("kvmirq: cannot run true: " + sentence + "\n");
        assertThat(tape).hasContent("earlier");
    }

    @ParameterizedTest
    @ValueSource(strings = {"ptrace", "process_vm_readv"})
    void refusedTracingIsOneSentenceAndCostsNoEarlierTape(String call) throws Exception {
        requireRefused(
                call + " is refused (EPERM), as by yama's ptrace_scope 3 or the seccomp filter of a container", call);
    }

    @ParameterizedTest
    @ValueSource(strings = {"ptrace", "process_vm_readv"})
    void tracerThatIsKilledCostsNoEarlierTape(String call) throws Exception {
        requireRefused(
                "the tracer was killed by signal 31, as by the seccomp filter of a container", call, "kill"); // SIGSYS
    }

    @Test
    void kernelThatDoesNotDescribeStopsCostsNoEarlierTape() throws Exception {
        requireRefused(
                "the kernel does not say at which call a program stopped (EIO), as Linux before 5.3", "stop-info");
    }

    @Test
    void programThatCannotBeRunIsSaid() throws Exception {
        Path program = Files.writeString(temporary.resolve("unreadable"), "no program");
        Cli.Ended ended = Cli.run("tape", "--ptrace", "--", program.toString()).exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err()).isEqualTo("kvmirq: cannot run " + program + ": permission denied\n");
        assertThat(ended.out()).isEmpty();
    }

    private static final String LEAVES_ONE_RUNNING = """
        #include <sys/eventfd.h>
        #include <unistd.h>
        int main(int count, char **file)
        {
            int looks = 0;
            if (fork())
                return 6;
            eventfd(0, 0);
            while (count == 2 && access(file[1], F_OK) && looks < 2000) {
                usleep(10000);
                looks++;
            }
            return eventfd(3, 0);
        }
        """;

    /** Starts it, reads its number on the tape, and ends something. */
    private void requireEnded(String signal, boolean tracer) throws Exception {
        String program = linked("traced.c", "traced", "-static");
        Process command = Cli.launcher().start("tape", "--ptrace", "--", program, "stubborn");
        try (BufferedReader reader =
                new BufferedReader(new InputStreamReader(command.getInputStream(), StandardCharsets.UTF_8))) {
            assertThat(reader.readLine()).startsWith("# " + program + " as process ");
            Matcher line = Pattern.compile("eventfd (\\d+) = eventfd#1").matcher(reader.readLine());
            assertThat(line.find()).isTrue();
            ProcessHandle stubborn =
                    ProcessHandle.of(Long.parseLong(line.group(1))).orElseThrow();
            ProcessHandle first = stubborn.parent().orElseThrow();
            ProcessHandle ended = tracer ? first.parent().orElseThrow() : command.toHandle();
            Program.signal(signal, ended.pid());
            eventually("the program has ended", () -> !Program.runs(stubborn.pid()));
        }
        command.waitFor();
    }

    @Test
    void programThatIgnoresSigtermIsKilled() throws Exception {
        requireEnded("TERM", false);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void programEndsWithTheCommandAndWithTheTracer(boolean tracer) throws Exception {
        requireEnded("KILL", tracer);
    }

    @Test
    void numbersOfX32GiveEnosys() throws Exception {
        Machine.assumeX86();
        Path tape = temporary.resolve("tape");
        Cli.Ended ended = record(tape, true, linked("traced.c", "traced", "-static"), "x32")
                .exited(7);
        assertThat(ended.out()).isEmpty();
    }

    @Test
    void processThatTheProgramLeavesIsRecorded() throws Exception {
        Path source = Files.writeString(temporary.resolve("leaves.c"), LEAVES_ONE_RUNNING);
        String program = temporary.resolve("leaves").toString();
        Machine.compile("-static", "-o", program, source.toString());
        Path go = temporary.resolve("go");
        Process process = Cli.launcher().start("tape", "--ptrace", "--", program, go.toString());
        try (BufferedReader reader =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            assertThat(reader.readLine()).startsWith("# " + program + " as process ");
            assertThat(reader.readLine()).endsWith("eventfd 0 = eventfd#1");
            Files.createFile(go);
            assertThat(reader.readLine()).endsWith("eventfd 3 = eventfd#2");
        }
        assertThat(process.waitFor()).isEqualTo(6);
    }
}
