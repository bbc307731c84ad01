/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tapes are recorded kernel calls of a program. This package and its subpackages record, print and replay them, and
 * make calls fail.
 *
 * <p>Three packages:
 *
 * <ul>
 * <li>This one records. {@link io.kvmirq.recording.Recorder} writes the calls of a Java program that go through a
 * {@code Libc}. {@code libkvmirqtape.so} ({@code native/observe/tape_preload.c}), preloaded into any dynamically linked
 * program, appends what it sees: bytes, lengths and descriptor numbers. {@code kvmirqtrace} ({@code
 * native/observe/trace.c}) appends the same lines for a program that it stops by ptrace. {@link
 * io.kvmirq.recording.Preload} passes both the lengths that they need, and turns their lines into a tape. {@link
 * io.kvmirq.recording.SlotFile} reads these lines from shared memory. {@link io.kvmirq.fake.Faults} makes calls
 * fail.
 * <li>{@link io.kvmirq.recording.tapes} reads and shows: {@link io.kvmirq.recording.tapes.TapeReader}, {@link
 * io.kvmirq.recording.tapes.TapeText}.
 * <li>{@link io.kvmirq.recording.replay} makes the calls of a tape again: {@link io.kvmirq.recording.replay.Replay}.
 * </ul>
 *
 * <h2>The format</h2>
 *
 * A tape has lines of JSON. The first has {@code header}: {@code pid}, {@code program}, {@code arch} as uname has it,
 * {@code order} of bytes ({@code little}, {@code big}), {@code kernel} release, {@code backend} ({@code preload}, or a
 * binding's name). A later header says that a process began, or was replaced by another program. The last line has
 * {@code end} and the number of {@code calls}; without it the tape is cut. Every other line is a call:
 *
 * <ul>
 * <li>{@code seq} from 1 without gaps, {@code pid}, {@code tid}, {@code call}: the function's name;
 * <li>{@code on}: the file or mapping of the call, by kind and ordinal, such as {@code vm#1}; {@code closed(fd 99)} for
 * a descriptor that was not open; {@code path} of the opened file;
 * <li>{@code request} and its {@code name}; {@code value}: the argument if it is no pointer, for reads and writes the
 * total length of the buffers; {@code flags}, for pread, pwrite, preadv and pwritev the offset;
 * <li>{@code in}: the structure before the call, in hex; {@code out}: the structure after the call, if the kernel
 * changed it; {@code data}: the target of a pointer in it, if that names a file; {@code cut} if these are incomplete.
 * For a write these are its bytes, for a read the bytes that it returned, with several buffers joined;
 * <li>{@code names}: the file or mapping of a descriptor or address, by its byte offset in {@code in}, or by {@code
 * data} or {@code value}. Descriptors and addresses are 0 in the bytes, so that equal calls have equal lines;
 * <li>{@code fields}, {@code entries}: {@code in} by the kernel's field names, for people only; programs read the
 * bytes;
 * <li>{@code made}: the new file or mapping; {@code result}; {@code errno} by name if the result is -1.
 * </ul>
 *
 * A call that {@code libkvmirqtape.so} appended has no {@code seq}. In place of {@code on} and {@code path} it has
 * {@code fd}, a number, and {@code file}, the file behind it. Its {@code errno} is a number. Its bytes hold the
 * program's descriptors and addresses. {@code TapeReader} names the descriptors and makes the addresses 0, by the same
 * {@link io.kvmirq.uapi.Masking} as the recorder. Descriptor numbers are reused, so a number alone does not identify a
 * file. A file that was open before the tape began, or came over a socket, gets its name with the first call on it. The
 * line of a close is where the close began, because its number may be reused before it ends.
 *
 * <p>KVM_RUN has two lines, the first with {@code begins}. Before it is a line {@code memory} for each part of guest
 * memory that the program wrote since the guest last ran. It has the mapping in {@code on}, the offset in {@code value}
 * and the bytes in {@code in}. Guests with more than 1 MiB together, and those of other programs, are recorded without
 * memory; KVM_RUN of {@code libkvmirqtape.so} has one line. With two vCPUs the recorder cannot tell who wrote, so it
 * marks memory unknown: each part then has a line {@code memory} without {@code in}. A replay does not run a guest
 * whose memory is not on the tape; its KVM_RUN ends as recorded. Memory that the program writes while its only vCPU
 * runs counts as written by the guest. A reader ignores unknown fields. An argument is cut at 16 KB, a routing table at
 * 4096 routes; the line then has {@code cut}.
 *
 * <p>A tape has reads and writes of eventfds and of files of KVM, VFIO and iommufd. Functions of a fortified program,
 * such as {@code __read_chk}, have the name of the plain function. For poll and ppoll, a tape of another program has up
 * to 64 entries of such files and of closed descriptors; {@code result} counts the ready ones among them.
 *
 * <p>A tape of another program lacks raw system calls, and so all calls of statically linked programs (Go). It also
 * lacks {@code select}, {@code epoll_wait} and {@code close_range}, and most calls of a process in a chroot without
 * {@code /proc}. A seccomp allow-list may kill a process for the recorder's own system calls. A signal handler on an
 * alternate stack needs about 8 KB of it.
 */
@NullMarked
package io.kvmirq.recording;

import org.jspecify.annotations.NullMarked;
