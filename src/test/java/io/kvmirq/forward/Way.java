/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.MsiMessage;
import java.util.List;
import java.util.function.IntFunction;

/** How interrupts are forwarded and changed: by the library, or by hand in an order that may be wrong. */
interface Way extends AutoCloseable {
    /** Forwards consecutive interrupts. None of them is. */
    void forward(int first, int count, IntFunction<MsiMessage> messages);

    void end(int irq);

    /** Ends all that are forwarded. */
    void endAll();

    void mask(int irq);

    void unmask(int irq);

    void reroute(int irq, MsiMessage message);

    /** Changes several at once. */
    default void mask(List<Integer> irqs) {
        irqs.forEach(this::mask);
    }

    default void unmask(List<Integer> irqs) {
        irqs.forEach(this::unmask);
    }

    default void reroute(List<Integer> irqs, List<MsiMessage> messages) {
        for (int i = 0; i < irqs.size(); i++) {
            reroute(irqs.get(i), messages.get(i));
        }
    }

    /** Lets this process inject the interrupt, or no longer. */
    void move(int irq);

    /** Whether a change that the kernel refuses leaves all as it was; {@link #isMasked} says so of a mask. */
    default boolean undoes() {
        return false;
    }

    default boolean isMasked(int irq) {
        return false;
    }

    /** This process injects what it has to. */
    default void runLoop() {}

    /** After the end of a forwarding: whether a message waited then, and its user can know. */
    boolean heldBackAtEnd(int irq);

    /**
     * The user signals an interrupt that he forwards anew, in place of the message that waited at its end.
     *
     * @return whether he does
     */
    default boolean signalsAnew(int irq) {
        return false;
    }

    /** Whether a vLPI that is pending when its irqfd goes is not lost. KVM of GICv4.0 cannot read its pending bit. */
    default boolean keepsPendingVlpis() {
        return false;
    }

    /** Interrupts of {@code irq} that its former user has got, and takes now. */
    default boolean formerUserTook(int irq) {
        return false;
    }

    @Override
    void close();
}
