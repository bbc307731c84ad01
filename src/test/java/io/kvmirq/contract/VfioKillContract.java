/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.testing.Program;
import java.io.BufferedReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** The host after a process with VFIO devices and a VM was killed. */
@VfioContract
class VfioKillContract extends VfioSuite {
    /** Starts a program of ours that uses the same kernel. */
    private static final long LONGEST_SECONDS = 120;

    private static final long STACKS_SECONDS = 10;

    static Process user(VfioWorld vfio, Class<?> program, String... arguments) throws IOException {
        List<String> command = java();
        command.addAll(List.of(
                "-Dkvmirq.test.backends=" + vfio, "-cp", System.getProperty("java.class.path"), program.getName()));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
    }

    /** The begin of the command of a JVM that finds the same libraries. */
    static List<String> java() {
        List<String> command = new ArrayList<>(
                List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        // The archive of classes and the compiler of this JVM: in the lab a JVM starts twice as fast with them.
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
                .filter(option -> option.startsWith("-XX:"))
                .forEach(command::add);
        for (String property : new String[] {"kvmirq.library", "jna.library.path"}) {
            String value = System.getProperty(property);
            if (value != null) {
                command.add("-D" + property + "=" + value);
            }
        }
        return command;
    }

    /** Waits for the end of a user, and returns its status. A user that does not end shows its stacks. */
    static int status(Process user) throws IOException, InterruptedException {
        if (!user.waitFor(LONGEST_SECONDS, TimeUnit.SECONDS)) {
            Program.signal("QUIT", user.pid());
            user.waitFor(STACKS_SECONDS, TimeUnit.SECONDS);
            byte[] said = user.getInputStream()
                    .readNBytes(Math.max(user.getInputStream().available(), 0));
            throw new AssertionError("the user did not end; it said:\n" + new String(said, StandardCharsets.UTF_8));
        }
        return user.exitValue();
    }

    /** The lines of the host's interrupts that belong to VFIO. */
    static List<String> interrupts() throws IOException {
        return Files.readAllLines(Path.of("/proc/interrupts")).stream()
                .filter(line -> line.contains("vfio-"))
                .toList();
    }

    @Test
    void devicesOfAKilledProcessAreUsableAtOnce() throws IOException, InterruptedException {
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: a fake has one process");
        vfio.place(E1000E);
        vfio.place(EDU);
        Process user = user(vfio, KilledUser.class);
        try {
            try (BufferedReader said = user.inputReader(StandardCharsets.UTF_8)) {
                assertThat(said.readLine()).isEqualTo(KilledUser.READY);
                assertErrno(Errno.EBUSY, vfio.open(vfio.groupPath(EDU)));
                assertThat(interrupts()).hasSize(6);
                user.destroyForcibly();
                // All files of a process are released before it can be waited for.
                user.waitFor();
            }
        } finally {
            user.destroyForcibly();
        }
        assertThat(interrupts()).isEmpty();
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = world.eventfd();
        assertErrno(Errno.EINVAL, device.intx(UNMASK));
        assertOk(device.arm(INTX, 0, event));
        device.hardware.serve();
        assertOk(device.intx(UNMASK));
        vfio.take(event);
        device.hardware.request();
        assertThat(vfio.await(event)).isEqualTo(1);
        device.hardware.serve();
        int[] events = vfio.events(5);
        OpenedDevice other = vfio.device(E1000E);
        assertOk(other.arm(MSIX, 0, events));
        assertThat(other.armed(MSIX, events)).containsExactly(0, 1, 2, 3, 4);
    }
}
