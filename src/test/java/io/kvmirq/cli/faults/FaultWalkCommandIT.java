/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@RealKvm(fullIrqchip = true)
class FaultWalkCommandIT {
    @TempDir
    private Path temporary;

    private String compiled() throws Exception {
        String program = temporary.resolve("faulted").toString();
        Machine.compile(
                "-o",
                program,
                Machine.root().resolve("src/test/native/faulted.c").toString());
        return program;
    }

    @Test
    void tableTellsWhatTheProgramBears() throws Exception {
        Cli.Ended ended = Cli.run("fault-walk", "--limit", "2", "--errno", "EINTR,EIO", "--", compiled())
                .exited(ExitCode.FAILED);
        assertThat(ended.out()).isEqualTo("""
                call                 times  EINTR           EIO
                KVM_CREATE_VM            1  goes on         ends 1
                KVM_CREATE_IRQCHIP       1  hangs           hangs
                KVM_SET_GSI_ROUTING      1  aborts SIGABRT  aborts SIGABRT
                KVM_CHECK_EXTENSION      1  goes on         goes on

                8 faults: not made 0, goes on 3, ends 1, hangs 2, aborts 2
                KVM_SET_GSI_ROUTING EINTR: no routes: Interrupted system call
                """);
        assertThat(ended.err()).isEmpty();
    }

    @Test
    void documentHasTheSame() throws Exception {
        assertThat(Cli.run("fault-walk", "--json", "--call", "KVM_CREATE_VM", "--errno", "EIO", "--", compiled())
                        .exited(ExitCode.OK)
                        .out())
                .isEqualTo("{\"schema\":\"kvmirq.fault-walk/1\",\"endsByItself\":true,\"exitCode\":7,\"nth\":1,"
                        + "\"calls\":[{\"call\":\"KVM_CREATE_VM\",\"times\":1,\"faults\":[{\"errno\":\"EIO\","
                        + "\"outcome\":\"ends\",\"exitCode\":1,\"said\":\"\"}]}]}\n");
    }

    /** Of a program that is stopped at the limit, calls after the fault show that it goes on. */
    @Test
    void programThatDoesNotEndMayGoOn() throws Exception {
        assertThat(Cli.run(
                                "fault-walk",
                                "--limit",
                                "1",
                                "--errno",
                                "EINTR,EIO",
                                "--call",
                                "KVM_CREATE_VM,KVM_CREATE_IRQCHIP",
                                "--",
                                compiled(),
                                "work")
                        .exited(ExitCode.FAILED)
                        .out())
                .isEqualTo("""
                        call                times  EINTR           EIO
                        KVM_CREATE_VM           1  goes on         ends 1
                        KVM_CREATE_IRQCHIP      1  hangs           hangs

                        4 faults: not made 0, goes on 1, ends 1, hangs 2, aborts 0
                        """);
    }

    @Test
    void callThatIsNotMadeSoOftenIsSaid() throws Exception {
        assertThat(Cli.run("fault-walk", "--nth", "2", "--call", "KVM_CREATE_VM", "--errno", "EIO", "--", compiled())
                        .exited(ExitCode.OK)
                        .out())
                .contains("KVM_CREATE_VM      1  not made\n");
    }

    @Test
    void processThatTheProgramLeftEndsAtTheLimit() throws Exception {
        assertThat(Cli.run(
                                "fault-walk",
                                "--limit",
                                "1",
                                "--errno",
                                "EIO",
                                "--call",
                                "KVM_CREATE_VM",
                                "--",
                                compiled(),
                                "leave")
                        .exited(ExitCode.OK)
                        .out())
                .contains("KVM_CREATE_VM      1  ends 1\n");
    }

    @Test
    void processThatCannotBeFoundIsLeftAndSaid() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path process = temporary.resolve("process");
        Cli.Ended ended = Cli.jvm()
                .under("unshare", "--mount")
                .execute(
                        "fault-walk",
                        "--limit",
                        "1",
                        "--",
                        "sh",
                        "-c",
                        "sleep 1000 2> /dev/null & echo $! > " + process + "; mount -t tmpfs none /proc");
        ProcessHandle.of(Long.parseLong(Files.readString(process).strip()))
                .orElseThrow()
                .destroyForcibly();
        assertThat(ended.exited(ExitCode.COULD_NOT_RUN).err())
                .isEqualTo("kvmirq: processes that sh left behind were not stopped: /proc does not show them to the"
                        + " launcher\n");
    }

    @Test
    void programWithoutCallsIsSaid() throws Exception {
        assertThat(Cli.run("fault-walk", "--", "sh", "-c", "echo no KVM >&2")
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo(
                        "kvmirq: nothing can fail: the program makes no ioctl of KVM, VFIO or iommufd; it says: no KVM\n");
        assertThat(Cli.run("fault-walk", "--", "sh", "-c", "kill -ABRT $$")
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo("kvmirq: without a fault SIGABRT ends the program\n");
        assertThat(Cli.run("fault-walk", "--call", "KVM_RUN", "--", compiled())
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .isEqualTo("kvmirq: nothing can fail: the program makes none of these calls\n");
    }

    @Test
    void lineWithoutEndNeedsNoMemory() throws Exception {
        String script = "head -c 200000000 /dev/zero | tr '\\0' x >&2";
        assertThat(Cli.jvm("-Xmx64m")
                        .execute("fault-walk", "--", "sh", "-c", script)
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .matches("kvmirq: nothing can fail: .*; it says: x{1000}\n");
    }

    /** Resets the machine: {@code mov al, 0xfe; out 0x64, al; hlt}. */
    private static final byte[] RESET = {(byte) 0xb0, (byte) 0xfe, (byte) 0xe6, 0x64, (byte) 0xf4};

    private Path firmware() throws Exception {
        byte[] rom = new byte[1 << 16];
        Arrays.fill(rom, (byte) 0xf4);
        System.arraycopy(RESET, 0, rom, rom.length - 16, RESET.length);
        return Files.write(temporary.resolve("reset.rom"), rom);
    }

    @Test
    void qemuBearsAnInterruptedCallAndNoRefusedRoutes() throws Exception {
        Machine.assumeX86();
        Machine.assumeProgram("qemu-system-x86_64");
        List<String> words = new ArrayList<>(
                List.of("fault-walk", "--call", "KVM_CREATE_VM,KVM_SET_GSI_ROUTING", "--errno", "EINTR,EINVAL", "--"));
        words.addAll(List.of(("qemu-system-x86_64 -accel kvm -machine q35 -display none -nodefaults -no-user-config"
                        + " -no-reboot -m 32 -bios " + firmware())
                .split(" ", -1)));
        assertThat(Cli.run(words.toArray(String[]::new)).exited(ExitCode.FAILED).out())
                .containsPattern("KVM_CREATE_VM +1 {2}goes on +ends 1\n")
                .containsPattern("KVM_SET_GSI_ROUTING +1 {2}aborts SIGABRT {2}aborts SIGABRT\n")
                .containsPattern("KVM_SET_GSI_ROUTING EINTR: .*kvm_irqchip_commit_routes: Assertion");
    }

    @Test
    void kvmtoolEndsInOrder() throws Exception {
        Machine.assumeX86();
        Path kernel = Files.write(temporary.resolve("reset.bin"), RESET);
        Path disk = Files.write(temporary.resolve("disk"), new byte[1 << 16]);
        String[] lkvm = {"lkvm", "run", "-k", kernel.toString(), "-d", disk.toString(), "-m", "64", "-c", "1"};
        Machine.assumeSucceeds(lkvm);
        List<String> words = new ArrayList<>(List.of(
                "fault-walk", "--call", "KVM_CREATE_VM,KVM_SET_GSI_ROUTING,KVM_RUN", "--errno", "EINTR,EINVAL", "--"));
        words.addAll(List.of(lkvm));
        assertThat(Cli.run(words.toArray(String[]::new)).exited(ExitCode.OK).out())
                .containsPattern("KVM_CREATE_VM +1 {2}ends 128 +ends 128\n")
                .containsPattern("KVM_SET_GSI_ROUTING +1 {2}ends 1 +ends 1\n")
                .containsPattern("KVM_RUN +1 {2}goes on +ends 1\n");
    }
}
