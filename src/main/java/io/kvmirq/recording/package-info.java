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
 * ends. What user pointers point to is not on a tape; the pointers are recorded as zero.
 */
@NullMarked
package io.kvmirq.recording;

import org.jspecify.annotations.NullMarked;
