/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/**
 * The phase of a forwarded interrupt, with its state. {@link Forwarding#delivery} guards it unless a field names
 * another lock.
 */
sealed interface Phase permits Phase.Open, Phase.Held {
    Phase OPEN = new Open();

    /** The guest gets the interrupt. */
    final class Open implements Phase {}

    /** Interrupts are held back from the guest. */
    abstract sealed class Held implements Phase permits Masked, Ended {
        /** Whether a vLPI may have ended whose pending bit has not been signalled again. */
        boolean owesSignal;
    }

    /** Until an unmask, or the end of a pause. */
    final class Masked extends Held {
        /** Whether the mirror may have been told of a message when a former forwarding of the interrupt ended. */
        final boolean mayBeHeldBefore;

        Masked(boolean mayBeHeldBefore) {
            this.mayBeHeldBefore = mayBeHeldBefore;
        }
    }

    /** New work is refused; the tear-down may have to be finished. */
    final class Ended extends Held {
        /** Whether signals may wait in the eventfd: no irqfd takes them at once, or hardware did. */
        boolean mayKeep;
        /** Whether signals waited in the eventfd when the device had been disarmed. */
        boolean kept;
        /** Whether nothing but the relay is left. The lock of the {@link Forwarding} guards this. */
        boolean tornDown;

        Ended(Phase before, boolean mayKeep) {
            this.mayKeep = mayKeep;
            this.owesSignal = before instanceof Held held && held.owesSignal;
        }
    }
}
