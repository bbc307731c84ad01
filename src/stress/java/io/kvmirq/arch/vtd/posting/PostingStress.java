/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.openjdk.jcstress.annotations.Expect.ACCEPTABLE;
import static org.openjdk.jcstress.annotations.Expect.FORBIDDEN;

import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.III_Result;
import org.openjdk.jcstress.infra.results.II_Result;
import org.openjdk.jcstress.infra.results.I_Result;

/** What the live descriptor promises, kept by real threads. */
public class PostingStress {
    private PostingStress() {}

    /** Two senders at one word of PIR: the requests are there, and one of the senders notifies. */
    @JCStressTest
    @Outcome(id = "1, 1, 1", expect = ACCEPTABLE, desc = "one is told to notify, both requests are taken")
    @Outcome(expect = FORBIDDEN, desc = "a request or a notification is lost or doubled")
    @State
    public static class TwoSenders extends Place {
        @Actor
        public void first(III_Result result) {
            result.r1 = number(pid.deliver(VECTOR));
        }

        @Actor
        public void second(III_Result result) {
            result.r2 = number(pid.deliver(OTHER_VECTOR));
        }

        @Arbiter
        public void end(III_Result result) {
            result.r1 += result.r2;
            result.r2 = number(pid.isOn());
            sync();
            result.r3 = number(isInIrr(VECTOR) && isInIrr(OTHER_VECTOR));
        }
    }

    /** Two requests against sync: ON is set as often as a sender is told to notify. */
    @JCStressTest
    @Outcome(id = "1, 1, 1", expect = ACCEPTABLE, desc = "ON was set once")
    @Outcome(id = "2, 2, 1", expect = ACCEPTABLE, desc = "ON was set, cleared, and set again")
    @Outcome(expect = FORBIDDEN, desc = "a request or a notification is lost or doubled")
    @State
    public static class SenderAndSync extends Place {
        @Actor
        public void sender(III_Result result) {
            result.r1 = number(pid.deliver(VECTOR)) + number(pid.deliver(OTHER_VECTOR));
        }

        @Actor
        public void receiver(III_Result result) {
            if (pid.isOn()) {
                result.r2 = 1;
                sync();
            }
        }

        @Arbiter
        public void end(III_Result result) {
            result.r2 += number(pid.isOn());
            sync();
            result.r3 = number(isInIrr(VECTOR) && isInIrr(OTHER_VECTOR));
        }
    }

    /** As {@link SenderAndSync}, of two senders: for three processors or more. */
    @JCStressTest
    @Outcome(id = "1, 1, 1", expect = ACCEPTABLE, desc = "ON was set once")
    @Outcome(id = "2, 2, 1", expect = ACCEPTABLE, desc = "ON was set, cleared, and set again")
    @Outcome(expect = FORBIDDEN, desc = "a request or a notification is lost or doubled")
    @State
    public static class TwoSendersAndSync extends Place {
        private int second;

        @Actor
        public void first(III_Result result) {
            result.r1 = number(pid.deliver(VECTOR));
        }

        @Actor
        public void second(III_Result result) {
            second = number(pid.deliver(OTHER_VECTOR));
        }

        @Actor
        public void receiver(III_Result result) {
            if (pid.isOn()) {
                result.r2 = 1;
                sync();
            }
        }

        @Arbiter
        public void end(III_Result result) {
            result.r1 += second;
            result.r2 += number(pid.isOn());
            sync();
            result.r3 = number(isInIrr(VECTOR) && isInIrr(OTHER_VECTOR));
        }
    }

    /** A vector that is taken brings its sender's data. */
    @JCStressTest
    @Outcome(id = "-1", expect = ACCEPTABLE, desc = "not taken yet")
    @Outcome(id = "1", expect = ACCEPTABLE, desc = "taken, the data is there")
    @Outcome(expect = FORBIDDEN, desc = "taken without its data")
    @State
    public static class DataOfRequest extends Place {
        private int data;

        @Actor
        public void sender() {
            data = 1;
            pid.deliver(VECTOR);
        }

        @Actor
        public void receiver(I_Result result) {
            sync();
            result.r1 = isInIrr(VECTOR) ? data : -1;
        }
    }

    /** A request whose vector is requested already brings its sender's data too. */
    @JCStressTest
    @Outcome(id = "0, 1", expect = ACCEPTABLE, desc = "the old data, but the request is there to be taken")
    @Outcome(
            id = {"1, 0", "1, 1"},
            expect = ACCEPTABLE,
            desc = "the new data")
    @Outcome(expect = FORBIDDEN, desc = "the old data and nothing left to take")
    @State
    public static class DataOfSecondRequest extends Place {
        private int data;

        public DataOfSecondRequest() {
            pid.deliver(VECTOR);
        }

        @Actor
        public void sender() {
            data = 1;
            pid.deliver(VECTOR);
        }

        @Actor
        public void receiver(II_Result result) {
            sync();
            result.r1 = data;
        }

        @Arbiter
        public void end(II_Result result) {
            result.r2 = number(isPending());
        }
    }

    /** Preempted and back on the same processor, while a device posts. */
    @JCStressTest
    @Outcome(
            id = {"1, 0", "1, 1"},
            expect = ACCEPTABLE,
            desc = "taken")
    @Outcome(id = "0, 1", expect = ACCEPTABLE, desc = "to be taken")
    @Outcome(expect = FORBIDDEN, desc = "in PIR where nobody looks")
    @State
    public static class SuppressAndDevice extends Place {
        @Actor
        public void device() {
            pid.post(VECTOR, false);
        }

        @Actor
        public void vcpu() {
            pid.put();
            pid.resume();
            sync();
        }

        @Arbiter
        public void end(II_Result result) {
            result.r1 = number(isInIrr(VECTOR));
            result.r2 = number(pid.isOn());
        }
    }

    /** Preempted and loaded on another processor, while a device posts. */
    @JCStressTest
    @Outcome(
            id = {"1, 0", "1, 1"},
            expect = ACCEPTABLE,
            desc = "taken")
    @Outcome(id = "0, 1", expect = ACCEPTABLE, desc = "to be taken")
    @Outcome(expect = FORBIDDEN, desc = "in PIR where nobody looks")
    @State
    public static class MoveAndDevice extends Place {
        @Actor
        public void device() {
            pid.post(VECTOR, false);
        }

        @Actor
        public void vcpu() {
            pid.put();
            pid.load(NDST + 1);
            sync();
        }

        @Arbiter
        public void end(II_Result result) {
            result.r1 = number(isInIrr(VECTOR));
            result.r2 = number(pid.isOn());
        }
    }

    /** The vCPU enters: its last look takes the request, or the sender sees its mode. */
    @JCStressTest
    @Outcome(
            id = {"1, 0", "0, 1", "1, 1"},
            expect = ACCEPTABLE,
            desc = "one of the two has seen the other")
    @Outcome(expect = FORBIDDEN, desc = "the guest runs and nobody tells it")
    @State
    public static class ModeAndRequest extends Place {
        @Actor
        public void sender(II_Result result) {
            result.r1 = number(pid.deliver(VECTOR) && mode());
        }

        @Actor
        public void vcpu(II_Result result) {
            setMode();
            words.fence();
            result.r2 = number(sync());
        }
    }

    /** The vCPU goes to sleep: the notification wakes it, or it is told that one went before. */
    @JCStressTest
    @Outcome(id = "1, 0", expect = ACCEPTABLE, desc = "the notification is the wake-up")
    @Outcome(id = "0, 1", expect = ACCEPTABLE, desc = "the notification went before")
    @Outcome(expect = FORBIDDEN, desc = "it sleeps on, or is woken twice")
    @State
    public static class BlockAndDevice extends Place {
        @Actor
        public void device(II_Result result) {
            long notification = pid.post(VECTOR, false);
            result.r1 = number(PostedInterruptDescriptor.NV.of(notification) == Apic.WAKEUP);
        }

        @Actor
        public void vcpu(II_Result result) {
            result.r2 = number(pid.block());
        }
    }
}
