/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Reads, writes and polls by every function of the C library: of eventfds, and of the registers of a VFIO device. */
class TapeDataIT {
    private static final String HEADERS = """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <poll.h>
        #include <stdint.h>
        #include <string.h>
        #include <sys/eventfd.h>
        #include <sys/socket.h>
        #include <sys/syscall.h>
        #include <sys/uio.h>
        #include <unistd.h>
        #define MUST(yes) do { if (!(yes)) return __LINE__; } while (0)
        """;

    @TempDir
    private Path temporary;

    private String compiled(String main, String... flags) throws Exception {
        Machine.assumeProgram("cc");
        Path source = Files.writeString(temporary.resolve("program.c"), HEADERS + "#line 1\n" + main);
        String program = temporary.resolve("program").toString();
        List<String> arguments = new ArrayList<>(List.of(flags));
        arguments.addAll(List.of("-o", program, source.toString()));
        Machine.compile(arguments.toArray(String[]::new));
        return program;
    }

    /** The program exits with the line that failed. */
    private static List<String> tape(String... command) throws Exception {
        List<String> arguments = new ArrayList<>(List.of("tape", "--"));
        arguments.addAll(List.of(command));
        Cli.Ended ended = Cli.jvm().execute(arguments.toArray(String[]::new)).exited(0);
        assertThat(ended.err()).isEmpty();
        return ended.out().lines().filter(line -> !line.startsWith("#")).toList();
    }

    private static final String OF_EVENTFDS = """
        int main(void)
        {
            int fd = eventfd(0, EFD_NONBLOCK);
            uint64_t two[2] = { 1, 2 }, got = 0;
            struct iovec halves[] = { { &got, 4 }, { (char *)&got + 4, 4 } };
            struct iovec counts[] = { { &two[0], 8 }, { &two[1], 8 } };
            struct iovec bad[] = { { (void *)8, 8 } };
            MUST(eventfd_write(fd, 3) == 0);
            MUST(eventfd_read(fd, &got) == 0 && got == 3);
            errno = ERANGE;
            MUST(eventfd_read(fd, &got) == -1 && errno == EAGAIN);
            MUST(writev(fd, counts, 2) == 16);
            MUST(readv(fd, halves, 2) == 8 && got == 3);
            MUST(writev(fd, counts, 1) == 8);
            MUST(preadv2(fd, halves, 2, -1, 0) == 8 && got == 1);
            MUST(pwritev2(fd, counts, 1, -1, 0) == 8);
            MUST(readv(fd, bad, 1) == -1 && errno == EFAULT);
            MUST(writev(fd, (struct iovec *)8, 1) == -1 && errno == EFAULT);
            MUST(pread(fd, &got, 8, 64) == -1 && errno == ESPIPE);
            MUST(pwrite(fd, &got, 8, 64) == -1 && errno == ESPIPE);
            MUST(pread64(fd, &got, 8, 64) == -1 && errno == ESPIPE);
            MUST(pwrite64(fd, &got, 8, 64) == -1 && errno == ESPIPE);
            MUST(preadv(fd, halves, 2, 64) == -1 && errno == ESPIPE);
            MUST(pwritev(fd, counts, 2, 64) == -1 && errno == ESPIPE);
            return 0;
        }
        """;

    @Test
    void countsAreRecordedByEveryFunction() throws Exception {
        assertThat(tape(compiled(OF_EVENTFDS)))
                .containsExactly(
                        "eventfd 0 flags=NONBLOCK = eventfd#1",
                        "eventfd#1 eventfd_write 3 = 0",
                        "eventfd#1 eventfd_read = 3",
                        "eventfd#1 eventfd_read = EAGAIN",
                        "eventfd#1 writev = 16",
                        "eventfd#1 readv = 3",
                        "eventfd#1 writev 1 = 8",
                        "eventfd#1 preadv2 = 1",
                        "eventfd#1 pwritev2 1 = 8",
                        "eventfd#1 readv = EFAULT",
                        "eventfd#1 writev = EFAULT",
                        "eventfd#1 pread at 0x40 = ESPIPE",
                        "eventfd#1 pwrite at 0x40 1 = ESPIPE",
                        "eventfd#1 pread at 0x40 = ESPIPE",
                        "eventfd#1 pwrite at 0x40 1 = ESPIPE",
                        "eventfd#1 preadv at 0x40 = ESPIPE",
                        "eventfd#1 pwritev at 0x40 = ESPIPE");
    }

    /** A fake answers the tape's calls as the kernel did. */
    @Test
    void tapeReplays() throws Exception {
        Path tape = temporary.resolve("tape");
        Cli.run("tape", "-o", tape.toString(), "--", compiled(OF_EVENTFDS)).exited(0);
        Cli.Ended replayed = Cli.run("replay", tape.toString()).exited(0);
        assertThat(replayed.out()).contains("passed over: pwritev2 1");
    }

    private static final String OF_POLLS = """
        int main(void)
        {
            int pipes[2], fd = eventfd(0, 0), other = eventfd(1, 0);
            struct timespec soon = { .tv_nsec = 3000000 };
            struct pollfd fds[100];
            MUST(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1);
            for (int i = 0; i < 100; i++)
                fds[i] = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
            MUST(poll(fds, 100, -1) == 100);
            fds[0].fd = fd;
            fds[99] = (struct pollfd){ .fd = other, .events = POLLIN | POLLOUT };
            MUST(poll(fds, 100, -1) == 99);
            fds[98].fd = -1;
            MUST(ppoll(&fds[98], 2, &soon, NULL) == 1);
            MUST(poll(fds, 1, 5) == 0);
            fds[0].fd = 700;
            MUST(poll(fds, 1, 0) == 1 && fds[0].revents == POLLNVAL);
            MUST(poll((struct pollfd *)8, 1, 0) == -1 && errno == EFAULT);
            for (int i = 0; i < 70; i++)
                fds[i].fd = other;
            MUST(poll(fds, 70, 0) == 70);
            return 0;
        }
        """;

    @Test
    void pollsAreRecordedByDescriptor() throws Exception {
        List<String> lines = tape(compiled(OF_POLLS));
        assertThat(lines.subList(2, 6))
                .containsExactly(
                        "poll eventfd#1:IN eventfd#2:0x5 = eventfd#2:0x5",
                        "ppoll eventfd#2:0x5 timeout=3ms = eventfd#2:0x5",
                        "poll eventfd#1:IN timeout=5ms = 0",
                        "poll 700:IN timeout=0ms = 700:NVAL");
        assertThat(lines).hasSize(7);
        String most = "eventfd#2:IN ".repeat(64);
        assertThat(lines.get(6)).isEqualTo("poll " + most + "(cut) timeout=0ms = " + most.strip());
    }

    private static final String FORTIFIED = """
        int main(void)
        {
            static char room[16];
            static struct pollfd fds[2];
            volatile size_t length = 8;
            volatile nfds_t count = 1;
            volatile int flags = O_RDONLY;
            struct timespec now = { 0 };
            int fd = eventfd(7, EFD_NONBLOCK);
            MUST(read(fd, room, length) == 8 && room[0] == 7);
            MUST(pread(fd, room, length, 16) == -1 && errno == ESPIPE);
            fds[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
            MUST(poll(fds, count, 0) == 0);
            MUST(ppoll(fds, count, &now, NULL) == 0);
            MUST(open("/dev/vfio/none", flags) == -1);
            MUST(openat(-1, "/dev/vfio/none", flags) == -1);
            if (flags)
                read(fd, room, length * 3);
            return 0;
        }
        """;

    @Test
    void fortifiedProgramIsRecorded() throws Exception {
        Machine.assumeProgram("nm");
        String program = compiled(FORTIFIED, "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-w");
        assertThat(Program.output(List.of("nm", "-D", program)))
                .contains("__read_chk", "__pread_chk", "__poll_chk", "__ppoll_chk", "__open_2", "__openat_2");
        assertThat(tape(program))
                .containsExactly(
                        "eventfd 7 flags=NONBLOCK = eventfd#1",
                        "eventfd#1 read = 7",
                        "eventfd#1 pread at 0x10 = ESPIPE",
                        "poll eventfd#1:IN timeout=0ms = 0",
                        "ppoll eventfd#1:IN timeout=0ms = 0",
                        "open /dev/vfio/none = ENOENT",
                        "openat /dev/vfio/none = ENOENT");
    }

    /** It asks for more than it has room for. */
    @Test
    void fortifiedProgramIsEndedAsWithoutTheRecorder() throws Exception {
        String program = compiled(
                FORTIFIED.replace("O_RDONLY;", "O_RDONLY + 1;").replace("flags) == -1", "flags) <= -1"),
                "-O2",
                "-U_FORTIFY_SOURCE",
                "-D_FORTIFY_SOURCE=2",
                "-w");
        Cli.Ended ended = Cli.jvm().execute("tape", "--", program);
        assertThat(ended.exitCode())
                .isEqualTo(
                        Program.run(List.of("sh", "-c", program + "; exit $?")).code());
        assertThat(ended.err()).contains("buffer overflow detected");
    }

    private static final String OF_OTHERS = """
        int main(void)
        {
            int pair[2], pipes[2], last, fd = eventfd(0, 0), number;
            char byte = 0, space[CMSG_SPACE(sizeof(int))] = { 0 };
            struct iovec data = { &byte, 1 };
            struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
            struct cmsghdr *rights;
            MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
            for (int way = 0; way < 5; way++) {
                MUST(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1);
                number = pipes[0];
                MUST(read(number, &byte, 1) == 1); /* a pipe is nothing to record */
                syscall(SYS_close, number);
                message.msg_control = space;
                message.msg_controllen = sizeof(space);
                rights = CMSG_FIRSTHDR(&message);
                rights->cmsg_level = SOL_SOCKET;
                rights->cmsg_type = SCM_RIGHTS;
                rights->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(rights), &fd, sizeof(int));
                MUST(sendmsg(pair[0], &message, 0) == 1);
                if (way == 0)
                    MUST(recvmsg(pair[1], &message, 0) == 1);
                else if (way == 1)
                    MUST(dup(fd) == number);
                else if (way == 2)
                    MUST(fcntl(fd, F_DUPFD, number) == number);
                else if (way == 3)
                    MUST(eventfd(0, 0) == number);
                else
                    MUST(dup2(fd, number) == number);
                MUST(eventfd_write(number, 10 + way) == 0);
                close(number);
                close(pipes[1]);
            }
            return 0;
        }
        """;

    /** A number that was found to be a pipe becomes an eventfd, and only system calls tell. */
    @Test
    void reusedNumberOfAnotherFileIsRecorded() throws Exception {
        List<String> lines = tape(compiled(OF_OTHERS));
        assertThat(lines.stream()
                        .filter(line -> line.contains("write"))
                        .map(line -> line.replaceAll(".* (\\d+) = 0", "$1")))
                .containsExactly("10", "11", "12", "13", "14");
    }

    private static final String OF_REGISTERS = """
        static char whole[20000];
        int main(int count, char **file)
        {
            uint16_t command = 0x0106, halves[2];
            struct iovec vectors[] = { { &halves[0], 2 }, { &halves[1], 2 } };
            int fd = open(file[count - 1], O_RDWR | O_CREAT, 0600);
            MUST(fd >= 0);
            MUST(pwrite(fd, whole, sizeof(whole), 0) == sizeof(whole));
            MUST(pwrite(fd, &command, 2, 4) == 2);
            MUST(pread(fd, halves, 4, 4) == 4);
            MUST(preadv(fd, vectors, 2, 4) == 4 && halves[0] == command);
            MUST(pwritev(fd, vectors, 2, 0x10) == 4);
            MUST(pread(fd, whole, 256, 0) == 256);
            MUST(pread(fd, whole, sizeof(whole), 0) == sizeof(whole));
            MUST(preadv2(fd, vectors, 2, 4, 0) == 4);
            return 0;
        }
        """;

    /** A file by the name of a VFIO device stands for its registers. */
    @Test
    void registersOfAVfioDeviceAreRecordedWithTheirOffset() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        String program = compiled(OF_REGISTERS);
        String device = "/dev/vfio/devices/vfio0";
        String command = "mount -t tmpfs none /dev && mkdir -p /dev/vfio/devices && exec " + program + " " + device;
        assertThat(tape("unshare", "--mount", "sh", "-c", command))
                .containsExactly(
                        "open " + device + " = vfio-device#1",
                        "vfio-device#1 pwrite at 0x0 16384 bytes (cut) = 20000",
                        "vfio-device#1 pwrite at 0x4 0601 = 2",
                        "vfio-device#1 pread at 0x4 06010000 = 4",
                        "vfio-device#1 preadv at 0x4 06010000 = 4",
                        "vfio-device#1 pwritev at 0x10 06010000 = 4",
                        "vfio-device#1 pread at 0x0 256 bytes = 256",
                        "vfio-device#1 pread at 0x0 16384 bytes (cut) = 20000",
                        "vfio-device#1 preadv2 06010000 = 4");
    }
}
