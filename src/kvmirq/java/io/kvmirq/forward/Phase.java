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

    /** Masked until an unmask, or until a pause ends. */
    final class Masked extends Held {
        /** Whether the mirror may hold a pending message from the end of a former forwarding of the interrupt. */
        final boolean mayBeHeldBefore;

        Masked(boolean mayBeHeldBefore) {
            this.mayBeHeldBefore = mayBeHeldBefore;
        }
    }

    /** Closed: new calls are refused, and the tear-down may be unfinished. */
    final class Ended extends Held {
        /**
         * Whether signals may be pending in the eventfd: no irqfd read them at once, or hardware delivered the
         * interrupt.
         */
        boolean mayKeep;
        /** Whether signals were pending in the eventfd when the device was disarmed. */
        boolean kept;
        /** Whether all parts except the relay are torn down. The lock of the {@link Forwarding} guards this. */
        boolean tornDown;

        Ended(Phase before, boolean mayKeep) {
            this.mayKeep = mayKeep;
            this.owesSignal = before instanceof Held held && held.owesSignal;
        }
    }
}
