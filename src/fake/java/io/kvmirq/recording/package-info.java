/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tapes: the kernel calls a program made, recorded, shown as sentences, made again, and made to fail.
 *
 * <p>Three packages:
 *
 * <ul>
 *   <li>This one records. {@link io.kvmirq.recording.Recorder} writes the calls of a Java program that go through a
 *       {@code Libc}. {@code libkvmirqtape.so} ({@code native/observe/tape_preload.c}), preloaded into any dynamically linked program,
 *       appends what it sees: bytes, lengths and descriptor numbers. {@code kvmirqtrace} ({@code native/observe/trace.c})
 *       appends the same lines for a program that it stops by ptrace. {@link io.kvmirq.recording.Preload} tells both the
 *       lengths that they need and finishes what they wrote, which {@link io.kvmirq.recording.SlotFile} reads from the memory
 *       that they share. {@link io.kvmirq.recording.Faults} makes calls fail.
 *   <li>{@link io.kvmirq.recording.tapes} reads and shows: {@link io.kvmirq.recording.tapes.TapeReader}, {@link
 *       io.kvmirq.recording.tapes.TapeText}.
 *   <li>{@link io.kvmirq.recording.replay} makes the calls of a tape again: {@link io.kvmirq.recording.replay.Replay}.
 * </ul>
 *
 * <h2>The format</h2>
 *
 * Lines of JSON. The first has {@code header}: {@code pid}, {@code program}, {@code arch} as uname has it, {@code
 * order} of bytes ({@code little}, {@code big}), {@code kernel} release, {@code backend} ({@code preload}, or a
 * binding's name). Another header says that a process began, or was replaced by another program. The last line has
 * {@code end} and the number of {@code calls}; without it the tape is cut. Every other line is a call:
 *
 * <ul>
 *   <li>{@code seq} from 1 without gaps, {@code pid}, {@code tid}, {@code call}: the function's name;
 *   <li>{@code on}: the file or mapping it was made on, by kind and ordinal, such as {@code vm#1}; {@code closed(fd
 *       99)} for a number that was not open; {@code path} of what was opened;
 *   <li>{@code request}, {@code name} of it; {@code value}, the argument that is no pointer, of reads and writes the
 *       length of all buffers together; {@code flags}, of pread, pwrite, preadv and pwritev the offset;
 *   <li>{@code in}: in hex, the structure before the call; {@code out}: after it, where the kernel changed it; {@code
 *       data}: what a pointer in it pointed to, where that is a file; {@code cut} when these are only the beginning. Of
 *       a write the bytes, of a read what it got, those of several buffers joined;
 *   <li>{@code names}: which file or mapping a number in {@code in} means, by its offset in bytes, or {@code data}, or
 *       {@code value}. These numbers, and addresses of the process, are 0 in the bytes, so that equal calls give equal
 *       lines;
 *   <li>{@code fields}, {@code entries}: {@code in} by the names of the kernel's structure. For people: a reader takes
 *       the bytes;
 *   <li>{@code made}: the file or mapping that the call made; {@code result}; {@code errno} by name when that is -1.
 * </ul>
 *
 * A call that {@code libkvmirqtape.so} appended has no {@code seq}. It has {@code fd}, a number, and {@code file}, what
 * that was open on, in place of {@code on} and {@code path}; its {@code errno} is a number; its bytes have descriptors
 * and addresses as the program has them. {@code TapeReader} gives names to the descriptors and makes the addresses 0,
 * by the same {@link io.kvmirq.uapi.Masking} as the recorder. Descriptor numbers are reused, so a number alone does
 * not identify a file: what was open before the tape began, or came over a socket, gets its name when a call is made on
 * it. A close stands where it began: its number may be another file before it ends.
 *
 * <p>KVM_RUN has two lines, the first with {@code begins}. Before it, a line {@code memory} for each part of a guest's
 * memory that the program wrote since it last ran: {@code on} the mapping, at offset {@code value}, the bytes in {@code
 * in}. Guests with more than 1 MiB together, and those of other programs, are recorded without memory; KVM_RUN of
 * {@code libkvmirqtape.so} has one line. With two vCPUs the recorder cannot tell who wrote, so it marks memory unknown:
 * each part then has a line {@code memory} without {@code in}. A replay does not run a guest without its memory:
 * KVM_RUN ends as recorded. Memory that the program writes while its only vCPU runs counts as written by the guest. A
 * reader passes over fields that it does not know. An argument is cut at 16 KB, a routing table at 4096 routes, and the
 * line says so.
 *
 * <p>Reads and writes are on a tape when they are made on a file of KVM, VFIO or iommufd, or on an eventfd; checked
 * functions of a fortified program, such as {@code __read_chk}, by the name of the plain one. Of poll and ppoll a tape of
 * another program has the entries of such files and of descriptors that are not open, up to 64; {@code result} counts the
 * ready ones of these.
 *
 * <p>Not on a tape of another program: raw system calls, so nothing of statically linked programs (Go); {@code select},
 * {@code epoll_wait} and {@code close_range}; and most calls of a process in a chroot without {@code /proc}. A process
 * under a seccomp allow-list may be killed for what recording calls. A signal handler on an alternate stack needs about
 * 8 KB of it.
 */
@NullMarked
package io.kvmirq.recording;

import org.jspecify.annotations.NullMarked;
