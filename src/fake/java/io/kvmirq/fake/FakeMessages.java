/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Ledger;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * The ledger of a fake kernel: it follows each message of a device's vector, and each signal of an eventfd, from its
 * source to the vCPU that takes it. Messages of one source that wait in one place become one message. A message waits
 * as a pending bit of its device, in the count of an eventfd, in a worker of KVM, in the program that read the eventfd,
 * as a posted request, in the IRR of a LAPIC, or as a pending LPI. The ledger does not count signals of lines. Get the
 * ledger from {@link FakeKernel#messages}. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="hardware"}
 */
public final class FakeMessages {
    private final FakeTime time;
    private final Ledger ledger;

    FakeMessages(FakeTime time, Ledger ledger) {
        this.time = time;
        this.ledger = ledger;
    }

    /**
     * Numbers of messages since the fake kernel was created.
     *
     * @param taken messages that a vCPU acknowledged, that became a level of a line, that were the program's own signal
     *     which it read, or whose request KVM_SET_LAPIC cleared after KVM_GET_LAPIC had shown the request
     * @param merged messages that joined another message of the same source in the same place
     * @param waiting messages that wait now
     * @param ended messages that the program dropped: it closed the eventfd of a disabled vector, reset the device, a
     *     LAPIC or an ITS, or closed the VM. Also messages that an arm64 guest dropped: it cleared the LPI, discarded
     *     the event of the LPI, or enabled LPIs with another pending table
     * @param lost messages that reached no vCPU, were not dropped, and wait nowhere
     */
    public record Counts(long sent, long taken, long merged, long waiting, long ended, long lost) {}

    /** The counts after the last kernel call. */
    public Counts counts() {
        Ledger.Counts now = time.locked(ledger::counts);
        return new Counts(now.sent(), now.taken(), now.merged(), now.waiting(), now.ended(), now.lost());
    }

    /** The first 64 messages that the program dropped, each with its source, its last place and the call. */
    public List<String> ended() {
        return time.locked(ledger::ended).stream().map(Supplier::get).toList();
    }

    /**
     * Adds the calling line of code to each later sentence about a lost or dropped message.
     *
     * @param line supplies the line of code that makes the call or lets the device send. The supplier runs in the
     *     calling thread, under the lock of the kernel, and must not call a kernel. If it throws, the sentence names
     *     the exception.
     */
    public void traceCallers(Supplier<String> line) {
        time.locked(() -> {
            ledger.setCaller(() -> ", at " + line.get());
            return true;
        });
    }

    /** The messages that wait now, each with its source and its place. */
    public List<String> waiting() {
        return time.locked(() -> ledger.waiting(false));
    }

    /**
     * The rules of the ledger that are broken, one sentence each. The list is empty unless the fake has a bug. A
     * message breaks a rule if it waits in one of these places, where nothing delays it:
     *
     * <ul>
     * <li>in the count of an eventfd that has an irqfd, or at a worker of KVM
     * <li>as a vLPI of a vCPU that sleeps
     * <li>in PIR or, if the LAPIC would deliver it, in IRR of a vCPU that sleeps in KVM with interrupts enabled.
     * Profiles without interrupt hardware do not model this sleep
     * <li>on VT-d, in PIR without a notification for the vCPU: ON and SN are clear, or the vCPU is in the guest, or the
     * vCPU is loaded and SN is set. Also in IRR above RVI while the vCPU is in the guest
     * </ul>
     *
     * <p>Other requests wait until the guest takes them or the vCPU's thread runs. A message that the program has read
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
