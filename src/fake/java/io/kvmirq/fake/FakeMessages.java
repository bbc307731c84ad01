/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Ledger;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * The ledger of a fake kernel: each message of a vector of a device, and each signal of an eventfd by a program or an
 * ioeventfd, from its source to the vCPU that takes it. Messages of one source that meet in one place are one. A message
 * waits as a pending bit of its device, in the count of an eventfd, in a worker of KVM, in the program that read the
 * eventfd, as a posted request, in the IRR of a LAPIC, or as a pending LPI. Lines are not counted.
 * Get it from {@link FakeKernel#messages}. Thread-safe.
 */
public final class FakeMessages {
    private final FakeTime time;
    private final Ledger ledger;

    FakeMessages(FakeTime time, Ledger ledger) {
        this.time = time;
        this.ledger = ledger;
    }

    /**
     * Numbers of messages since the kernel was made.
     *
     * @param taken a vCPU acknowledged it; it became a level of a line; the program read its own signal; or the program
     *     cleared a request by KVM_SET_LAPIC that KVM_GET_LAPIC had returned
     * @param merged another one of its source was in the same place
     * @param waiting now
     * @param ended the program asked for that: it closed the eventfd of a vector that it had disabled, reset the device, a
     *     LAPIC or an ITS, or closed the VM; or its guest did on arm64, which cleared the LPI, discarded its event, or
     *     enabled LPIs with another pending table
     * @param lost it reached no vCPU and waits nowhere
     */
    public record Counts(long sent, long taken, long merged, long waiting, long ended, long lost) {}

    /** The counts, as of the last call. */
    public Counts counts() {
        Ledger.Counts now = time.locked(ledger::counts);
        return new Counts(now.sent(), now.taken(), now.merged(), now.waiting(), now.ended(), now.lost());
    }

    /** The messages that the program ended, each with its source, its last place and the call; the first 64. */
    public List<String> ended() {
        return time.locked(ledger::ended);
    }

    /**
     * Adds a line to each sentence about a message that is lost or ended from now on.
     *
     * @param line the line that makes the call, or that lets the device send. It is asked in that thread, which holds
     *     the lock of the kernel: it must call no kernel. If it throws, the sentence names the exception.
     */
    public void traceCallers(Supplier<String> line) {
        time.locked(() -> {
            ledger.setCaller(() -> ", at " + line.get());
            return true;
        });
    }

    /** The messages that wait, each with its source and its place. */
    public List<String> waiting() {
        return time.locked(() -> ledger.waiting(false));
    }

    /**
     * The broken rules of the ledger, in words. The list is always empty, unless the fake has a bug. A message breaks a
     * rule if it waits although nothing stops it:
     *
     * <ul>
     *   <li>in the count of an eventfd that has an irqfd, or at a worker of KVM
     *   <li>as a vLPI of a vCPU that sleeps
     *   <li>as a posted request, or as a request in IRR that the LAPIC would deliver, of a vCPU that sleeps in KVM with
     *       interrupts on. Profiles that name no interrupt hardware do not tell which vCPU sleeps
     *   <li>on VT-d in PIR, if no one is told of it: with ON and SN clear, or while the vCPU is in the guest, or loaded
     *       with SN set; and in the guest behind RVI
     * </ul>
     *
     * <p>Other requests wait for the vCPU: for its guest, or for its thread to run. A message that the program has read
     * waits for the program: see {@link #waiting}.
     */
    public List<String> brokenRules() {
        return time.locked(() -> {
            List<String> broken = new ArrayList<>();
            Ledger.Counts now = ledger.counts();
            if (now.sent() != now.taken() + now.merged() + now.waiting() + now.ended() + now.lost()) {
                broken.add("the number of messages sent is not the sum of the others: " + now);
            }
            ledger.waiting(true).forEach(message -> broken.add("nothing stops " + message));
            return broken;
        });
    }
}
