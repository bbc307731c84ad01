/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Ledger;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * A fake kernel's ledger, which follows each device MSI and each eventfd signal, here called messages, from its source
 * to the vCPU that takes it. Messages from one source merge while they wait in the same place. A message waits in a
 * device's pending bit, in an eventfd's count, in a KVM worker, in the program that read the eventfd, in PIR, in a
 * LAPIC's IRR, or as a pending LPI. The ledger does not follow interrupt lines. To get it, call {@link
 * FakeKernel#messages}. Thread-safe.
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
     * The numbers of messages, by outcome, since the fake kernel was created.
     *
     * @param taken messages that a vCPU acknowledged or that set the level of a line, signals that the program made and
     *     read itself, and requests that the program read with KVM_GET_LAPIC and cleared with KVM_SET_LAPIC
     * @param merged messages that joined another message of the same source in the same place
     * @param waiting messages that are pending now
     * @param ended messages that the program dropped, because it closed the eventfd of a disabled vector, reset the
     *     device, a LAPIC or an ITS, or closed the VM. The number includes messages that an arm64 guest dropped,
     *     because it cleared the LPI, discarded the LPI's event, or enabled LPIs with another pending table
     * @param lost messages that reached no vCPU, although the program did not drop them, and are no longer pending
     */
    public record Counts(long sent, long taken, long merged, long waiting, long ended, long lost) {}

    /** Returns the counts after the last kernel call. */
    public Counts counts() {
        Ledger.Counts now = time.locked(ledger::counts);
        return new Counts(now.sent(), now.taken(), now.merged(), now.waiting(), now.ended(), now.lost());
    }

    /** Returns the first 64 messages that the program dropped, each with source, last place and dropping call. */
    public List<String> ended() {
        return time.locked(ledger::ended).stream().map(Supplier::get).toList();
    }

    /**
     * From now on, each sentence about a lost or dropped message ends with the line of code that made the call.
     *
     * @param line supplies the line of code that makes the call or lets the device send. The supplier runs in the
     *     calling thread, under the kernel's lock, and must not call a kernel. If the supplier throws, the sentence
     *     names the exception instead
     */
    public void traceCallers(Supplier<String> line) {
        time.locked(() -> {
            ledger.setCaller(() -> ", at " + line.get());
            return true;
        });
    }

    /** Returns the messages that are currently pending, each with its source and its place. */
    public List<String> waiting() {
        return time.locked(() -> ledger.waiting(false));
    }

    /**
     * Returns a sentence for each broken rule of the ledger. Empty unless the fake has a bug. A message breaks a rule
     * in each of these cases, because the kernel must deliver it at once:
     *
     * <ul>
     * <li>The message waits in the count of an eventfd that has an irqfd, or for a KVM worker that is not suspended.
     * <li>The message waits as a vLPI of a sleeping vCPU.
     * <li>The message waits in PIR or, if the LAPIC would deliver it, in IRR of a vCPU that sleeps in KVM with
     * interrupts enabled. Without interrupt hardware in the profile, the fake does not model sleep in KVM.
     * <li>On VT-d, the message waits in PIR, but no notification will come, because ON and SN are clear, or the vCPU is
     * in the guest, or the vCPU is loaded and SN is set. A message also breaks a rule if it waits in IRR above RVI
     * while the vCPU is in the guest.
     * </ul>
     *
     * <p>A message in another place may wait until the guest takes it or the vCPU's thread runs. A message that the
     * program has read waits for the program and does not break a rule. {@link #waiting} lists it.
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
