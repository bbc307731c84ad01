/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Machine;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The recorder writes into shared memory and keeps names of descriptors: neither shows on a tape. */
class TapeSlotsIT {
    private static final String HEADERS = """
        #define _GNU_SOURCE
        #include <pthread.h>
        #include <signal.h>
        #include <stdint.h>
        #include <sys/eventfd.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static uint64_t count(uint64_t n) { return n; }
        #define WRITE(fd, n) do { uint64_t c = count(n); if (write(fd, &c, 8) != 8) return 9; } while (0)
        """;

    @TempDir
    private Path temporary;

    private Cli.Ended tape(String main) throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("program.c"), HEADERS + main);
        String program = temporary.resolve("program").toString();
        Machine.compile("-o", program, source.toString(), "-lpthread");
        return Cli.jvm().execute("tape", "--", program);
    }

    /** The number of an eventfd becomes a pipe by each call that closes it. */
    @Test
    void reusedNumberIsTheFileThatItIs() throws Exception {
        Cli.Ended ended = tape("""
            int main(void)
            {
                int pipes[2], held = eventfd(0, EFD_NONBLOCK), first;

                for (int way = 0; way < 4; way++) {
                    first = eventfd(0, EFD_NONBLOCK);
                    WRITE(first, 10 + way);
                    if (pipe(pipes))
                        return 8;
                    if (way == 0)
                        close(first);
                    else if (way == 1)
                        close_range(first, first, 0);
                    else if (way == 2)
                        dup2(pipes[1], first);
                    else
                        closefrom(first);
                    if (way == 3 && (pipe(pipes) || dup2(pipes[0], 100) < 0))
                        return 8;
                    dup2(pipes[1], first);
                    WRITE(first, 90 + way);
                    close(first);
                    WRITE(held, 20 + way);
                    dup2(held, first);
                    WRITE(first, 30 + way);
                    close(first);
                }
                return 0;
            }
            """);
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        for (int way = 0; way < 4; way++) {
            assertThat(ended.out())
                    .contains("write " + (10 + way) + " = 8")
                    .contains("write " + (20 + way) + " = 8")
                    .contains("write " + (30 + way) + " = 8")
                    .doesNotContain("write " + (90 + way));
        }
    }

    /** More calls than one window of the tape's memory holds, of two threads and two processes. */
    @Test
    void killedProgramsTapeEndsWithItsLastCall() throws Exception {
        Cli.Ended ended = tape("""
            static void *other(void *unused)
            {
                int fd = eventfd(0, EFD_NONBLOCK);

                for (int i = 0; i < 5000; i++)
                    if (eventfd(0, 0xbad) >= 0)
                        close(fd);
                return unused;
            }
            int main(void)
            {
                pthread_t thread;
                int fd;

                closefrom(3);
                fd = eventfd(0, EFD_NONBLOCK);
                pthread_create(&thread, NULL, other, NULL);
                pid_t child = fork();
                for (int i = 0; i < 5000; i++)
                    WRITE(fd, child ? 1 : 2);
                if (!child) {
                    WRITE(fd, 77777);
                    kill(getpid(), SIGKILL);
                }
                pthread_join(thread, NULL);
                waitpid(child, NULL, 0);
                WRITE(fd, 88888);
                kill(getpid(), SIGKILL);
            }
            """);
        assertThat(ended.exitCode()).as(ended.err()).isEqualTo(128 + 9);
        assertThat(ended.err()).isEmpty();
        assertThat(ended.out().lines().filter(line -> line.contains("write 1 = 8")))
                .hasSize(5000);
        assertThat(ended.out().lines().filter(line -> line.contains("write 2 = 8")))
                .hasSize(5000);
        assertThat(ended.out().lines().filter(line -> line.contains("EINVAL"))).hasSize(5000);
        assertThat(ended.out()).contains("write 77777 = 8").contains("write 88888 = 8");
    }
}
