/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A tape: the kernel calls a program made, recorded under it and read back as sentences.
 *
 * <p>{@code libkvmirqtape.so} ({@code native/tape.c}), preloaded into any dynamically linked program, appends one line of
 * JSON for each call on KVM, VFIO, iommufd and eventfds to the file that {@code KVMIRQ_TAPE} names. It asks nothing of
 * the program and knows no meanings: descriptor numbers, request numbers, structures as bytes before and after.
 * {@link io.kvmirq.recording.TapeReader} reads the lines one at a time, {@link io.kvmirq.recording.TapeText} gives them
 * meaning by the tables of {@code backend.libc}.
 *
 * <p>Descriptor numbers are used again; a tape read by number lies. {@code TapeText} gives every open file an identity
 * when the call that made it passes, such as {@code eventfd#7}, and forgets it at its close. What was open before the
 * tape began, or came over a socket, gets one when a call names it.
 *
 * <p>Lines are in the order calls ended, but a close stands where it began: its number may be another file before it
 * ends. What user pointers point to is not on a tape, but for the file that a KVM-VFIO device is told of; the pointers
 * of the structures it knows are recorded as zero. An argument is cut at 16 KB, a routing table at 4096 routes, and the
 * line says so.
 *
 * <p>Not on a tape: raw system calls, so nothing of statically linked programs (Go); {@code eventfd_read},
 * {@code eventfd_write} and the checked variants of a fortified program, such as {@code __read_chk}; {@code poll},
 * {@code readv}, {@code writev} and {@code close_range}; and most calls of a process in a chroot without {@code /proc}. A
 * process under a seccomp allow-list may be killed for what recording calls. A signal handler on an alternate stack needs
 * about 8 KB of it.
 */
@NullMarked
package io.kvmirq.recording;

import org.jspecify.annotations.NullMarked;
