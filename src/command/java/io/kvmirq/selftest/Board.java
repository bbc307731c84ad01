/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import java.util.List;

/**
 * The machine of a {@link Guest}: its VM with memory and code, and all parts that depend on the architecture. Its
 * interrupts have numbers from 0 to {@link #INTERRUPTS} - 1, each with a handler and a count.
 */
interface Board extends AutoCloseable {
    /** The x86 vectors from 0x30 to 0xef: no exception and no spurious interrupt uses them. */
    int INTERRUPTS = 0xc0;

    /** The vCPU of each. */
    VcpuId VCPU = new VcpuId(0);

    /**
     * The words for the steps of a test.
     *
     * @param answerPlace the place of the answers
     * @param kind of its interrupts, such as {@code vector}
     * @param linePlace the end of the line's route
     * @param lineSeen the state of the controller while {@link #isLineSeen}
     * @param lineAtRest the state of the controller after the last end
     */
    record Words(String answerPlace, String kind, String linePlace, String lineSeen, String lineAtRest) {}

    Words words();

    Vm vm();

    /** The vCPU at the first instruction of the guest. For the thread that runs it. The caller closes it. */
    Vcpu vcpu();

    /** Whether the guest is set up. It waits with interrupts off until it runs on. */
    boolean isReady(VcpuExit exit);

    /** The state of a guest that is ready, in words. */
    String ready();

    /** Ends the run of a guest that was released. Any thread. */
    void stop(Vcpu vcpu);

    /** Whether the guest ended because of {@link #stop}. */
    boolean isStopped(VcpuExit exit);

    /** Whether the state of the controller can be read while the guest runs. */
    boolean isReadableWhileRunning();

    /** Whether an answer of the guest left it, as no ioeventfd took it. */
    boolean isAnswer(VcpuExit exit);

    /** Why a guest leaves that should not, if not for an answer, in words. */
    String strangeExit(VcpuExit exit);

    /** The address to which the guest writes after each interrupt that it ended. */
    IoAddress answer();

    /** The address to which the guest writes after it ended this interrupt. */
    IoAddress answer(int interrupt);

    /** Installs the handler, where each interrupt needs one of its own. */
    void handle(int interrupt);

    /** The number of times that the guest has ended it. Any thread. */
    int handled(int interrupt);

    /** Such as {@code vector 0x31}. */
    String name(int interrupt);

    /** The interrupt's number in digits, as the architecture writes it. */
    String number(int interrupt);

    /** The end of a route to it, in words. */
    String destination(int interrupt);

    Gsi add(RouteTable.Edit edit, int interrupt);

    /** Routes exactly this GSI to it, also one whose route was removed. */
    void replace(RouteTable.Edit edit, Gsi gsi, int interrupt);

    /**
     * The message of a device that raises it.
     *
     * @throws UnsupportedOperationException if no message raises an interrupt here
     */
    MsiMessage message(int interrupt);

    /** The events that tell a mirror of that message. */
    List<Event> events(int interrupt);

    /** The interrupt of a level-triggered line, for {@link #handled} and {@link #name}. */
    int line();

    /**
     * Prepares the line before the guest boots.
     *
     * @return its GSI
     * @throws UnsupportedOperationException if the kernel has no pin for it
     */
    Gsi openLine();

    /** Whether the line reached a processor that has interrupts off. */
    boolean isLineSeen();

    /** Whether the line is high. While it can be read. */
    boolean isLineHigh();

    /** Whether the line's interrupt was taken and has not ended. While it can be read. */
    boolean isLineInService();

    @Override
    void close();
}
