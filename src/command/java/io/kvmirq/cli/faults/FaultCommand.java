/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq fault}: runs a program and makes chosen calls fail. */
public final class FaultCommand implements Command {
    static final List<String> LIMITS = List.of(
            "The calls go to the real kernel through seccomp user notification (Linux 5.5), so the program needs no"
                    + " change and no library: static programs work. Calls are counted over all threads of CMD and"
                    + " all processes that it starts, because they inherit the filter. When this command is killed,"
                    + " all of them are killed.",
            "",
            "Limits: only ioctls can fail, not operations of io_uring nor calls of 32-bit programs. Two ioctls may"
                    + " have the same number, as on a VFIO container and a VFIO device; a fault of one then also"
                    + " makes the other fail. Set-user-id programs give CMD no other rights (no_new_privs). CMD"
                    + " cannot start if this process already has a seccomp listener, as in some containers, and CMD"
                    + " cannot install a listener. A seccomp filter of CMD works, and has precedence if it refuses a"
                    + " call. Memory of CMD is not read, so yama has no effect.");

    @Override
    public void describe(Usage usage) {
        List<String> lines = new ArrayList<>(List.of(
                "Runs CMD. Each " + FaultRule.FORM + " makes the Nth call of an ioctl fail with an errno; without @N"
                        + " every call fails. Example: kvmirq fault KVM_SET_GSI_ROUTING=EINVAL@2 --"
                        + " qemu-system-x86_64 -accel kvm ... A call that fails does not reach the kernel. At the end"
                        + " stderr has the number of failed calls for each fault.",
                "",
                "The exit code is that of CMD, or 128 + N if signal N ended CMD. It is 1 instead of 0 if CMD never"
                        + " made a chosen call, and 3 if CMD could not be started.",
                ""));
        lines.addAll(LIMITS);
        usage.description(lines.toArray(String[]::new));
        usage.spec().parser().stopAtPositional(true);
        usage.add(Command.parameters("0..*", "0..*", "FAULT... -- CMD")
                .description("Faults such as KVM_CREATE_VM=EINTR@1, then the program to run and its arguments."));
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<String> words = Command.words(arguments);
        int end = words.indexOf("--");
        if (end < 1 || end == words.size() - 1) {
            throw new ParameterException(
                    arguments.commandSpec().commandLine(),
                    "Give faults, --, and a program: " + FaultRule.FORM + " -- CMD");
        }
        List<FaultRule> rules = Commands.read(
                arguments,
                () -> words.subList(0, end).stream().map(FaultRule::of).toList());
        List<String> command = words.subList(end + 1, words.size());
        try (FaultedProgram program = new FaultedProgram(command)) {
            return tell(program.run(rules), rules, command.get(0), terminal);
        }
    }

    private static int tell(Ended ended, List<FaultRule> rules, String program, Terminal terminal) {
        boolean allCame = true;
        for (int i = 0; i < rules.size(); i++) {
            Ended.Count count = ended.counts().get(i);
            String calls = count.seen() == 1 ? "1 such call" : count.seen() + " such calls";
            if (count.used() == 0) {
                allCame = false;
                terminal.complain(rules.get(i) + " never came: " + program + " made "
                        + (count.seen() == 0 ? "no such call" : calls));
            } else {
                terminal.complain(rules.get(i) + ": " + count.used() + " of " + calls + " failed");
            }
        }
        if (ended.bySignal()) {
            terminal.complain(program + " was ended by " + ended.signal());
        }
        return allCame ? ended.exitCode() : Math.max(ended.exitCode(), ExitCode.FAILED);
    }
}
