/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.fake.FakeKernel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;

/** Whether a thread waits in epoll_wait(). */
final class Waits {
    private Waits() {}

    /** Where the kernel says in which system call this thread is: its number, then the arguments. */
    private static final Path OWN_CALL = Path.of("/proc/thread-self/syscall");

    /** x86-64: epoll_wait or epoll_pwait; arm64: epoll_pwait. */
    private static final String EPOLL_WAIT = "(232|281|22)";

    /** Skips, with the reason, where {@link #isOn} cannot tell. */
    static void assumeSeen(World world) {
        assumeTrue(
                !world.kernel().isReal() || !callOf(OWN_CALL).isEmpty(),
                "needs " + OWN_CALL + ", which tells that a thread waits; it cannot be read here");
    }

    /** Whether a call waits in epoll_wait: on a real kernel for this set. */
    static boolean isOn(World world, int set) {
        Optional<FakeKernel> fake = world.fake();
        if (fake.isPresent()) {
            return fake.get().waiting() == 1;
        }
        String call = EPOLL_WAIT + " 0x" + Integer.toHexString(set) + " .*";
        try (Stream<Path> threads = Files.list(Path.of("/proc/self/task"))) {
            return threads.map(thread -> callOf(thread.resolve("syscall")).strip())
                    .anyMatch(thread -> thread.matches(call));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Empty where there is none to read, such as of a thread that has ended. */
    private static String callOf(Path syscall) {
        try {
            return Files.readString(syscall);
        } catch (IOException e) {
            return "";
        }
    }
}
