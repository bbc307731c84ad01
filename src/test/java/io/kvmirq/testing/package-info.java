/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Requirements of tests on their machine, and the record of what ran on what.
 *
 * <p>A busy machine is no failure. Tests wait without a limit, and JUnit ends one that hangs ({@code
 * junit-platform.properties}). A loop that waits has a limit of its thread's processor time ({@link CpuTime#ofThread}). These
 * classes do wait for a part of an hour; the number is that of their limits:
 *
 * <ul>
 *   <li>ExplainContract 1: devices of the lab, in a loop that leaves the processor to them
 *   <li>VfioKillContract 2: a process of the lab, whose stacks are shown if it does not end
 *   <li>LinuxBootTest 1: a kernel of the lab, whose boot must not be slow
 *   <li>EventFdTest 2: a wait that ends without a signal
 *   <li>HardUseTest 1: the time for which threads work
 *   <li>ExitTest 1: a program that ends by itself, and is killed if it hangs
 *   <li>VmmExitTest 1: the same
 *   <li>EndingsIT 1: the moment at which a process is killed; no result depends on it
 *   <li>CrashSearch 1: the random moment at which a command is killed
 *   <li>Mutants 1: a look at a changed program, whose limit is processor time
 *   <li>VmProcessesTest 1: the time in which threads enter KVM_RUN or the wait that the test looks for
 *   <li>KernelMemoryContract 1: the debugger of the lab, which writes the memory of a kernel from outside
 * </ul>
 */
@NullMarked
package io.kvmirq.testing;

import org.jspecify.annotations.NullMarked;
