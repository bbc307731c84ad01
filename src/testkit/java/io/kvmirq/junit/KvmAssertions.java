/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.InterruptVector;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.opentest4j.AssertionFailedError;

/**
 * Assertions about interrupts, for {@code import static io.kvmirq.junit.KvmAssertions.*}.
 *
 * <pre>{@code
 * assertThat(host.vcpu(0)).received(vector(0x33), once()).by("ForwardedIrq.unmask");
 * assertThat(host).lostNothing().commits(1).calls("VFIO_DEVICE_SET_IRQS", 1);
 * }</pre>
 *
 * <p>The counts of interrupts and calls that assertions check start at 0 when the test begins. On real KVM, or if
 * threads of the test use the kernel, an assertion waits up to a second for missing interrupts.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="test"}
 */
public final class KvmAssertions {
    private static final long ARRIVAL_NANOS = 1_000_000_000;
    private static final long POLL_NANOS = 100_000;

    private KvmAssertions() {}

    /** The expected number of interrupts. */
    public record Times(int count) {
        /** @throws IllegalArgumentException if the count is negative */
        public Times {
            if (count < 0) {
                throw new IllegalArgumentException(count + " times: expected 0 or more");
            }
        }

        @Override
        public String toString() {
            return count == 0 ? "never" : count == 1 ? "once" : count + " times";
        }
    }

    /** Returns the interrupt vector with this number, 0 to 255. */
    public static InterruptVector vector(int number) {
        return new InterruptVector(number);
    }

    /** Expects exactly one interrupt. */
    public static Times once() {
        return new Times(1);
    }

    /** Expects exactly {@code count} interrupts. */
    public static Times exactly(int count) {
        return new Times(count);
    }

    /** Expects no interrupt. */
    public static Times notAtAll() {
        return new Times(0);
    }

    /** Starts assertions about a vCPU. */
    public static OfVcpu assertThat(KvmVcpu vcpu) {
        return new OfVcpu(vcpu);
    }

    /** Starts assertions about the calls and interrupts of the whole test. */
    public static OfHost assertThat(KvmHost host) {
        return new OfHost(host);
    }

    /** Assertions about a vCPU. */
    public static final class OfVcpu {
        private final KvmVcpu vcpu;
        private @Nullable InterruptVector asserted;

        private OfVcpu(KvmVcpu vcpu) {
            this.vcpu = vcpu;
        }

        /** Asserts how often the vCPU received the vector. See {@link KvmVcpu#received}. */
        public OfVcpu received(InterruptVector vector, Times times) {
            Map<InterruptVector, Integer> received = vcpu.received(vector, times.count());
            long end = System.nanoTime() + ARRIVAL_NANOS;
            while (received.getOrDefault(vector, 0) < times.count()
                    && !vcpu.host().isReal()
                    && vcpu.host().seam().hasThreads()
                    && System.nanoTime() < end) {
                LockSupport.parkNanos(POLL_NANOS);
                received = vcpu.received(vector, times.count());
            }
            int count = received.getOrDefault(vector, 0);
            if (count != times.count()) {
                throw failure(
                        "expected " + vcpu + " to receive " + vector + " " + times + ", but it received it "
                                + new Times(count) + others(received, vector) + elsewhere(vector) + lost(vcpu.host()),
                        times,
                        new Times(count));
            }
            vcpu.requireExisting();
            asserted = vector;
            return this;
        }

        /**
         * Asserts that the call, such as {@code ForwardedIrq.unmask}, delivered each interrupt of the last {@link
         * #received}. On real KVM this method checks nothing, because KVM does not show the call.
         *
         * @throws IllegalStateException if {@code received} was not called
         */
        public OfVcpu by(String call) {
            InterruptVector vector = asserted;
            if (vector == null) {
                throw new IllegalStateException(
                        "by(" + call + ") has no interrupt: call received(vector, times) first");
            }
            Set<String> calls =
                    vcpu.host().isReal() ? Set.of(call) : vcpu.host().fake().calls(vcpu.id(), vector);
            String made = String.join(", ", calls);
            if (!calls.isEmpty() && !made.equals(call)) {
                String expected = "expected " + vcpu + " to receive " + vector + " by " + call;
                throw failure(expected + ", but it received it by " + made, call, made);
            }
            return this;
        }

        private static String others(Map<InterruptVector, Integer> received, InterruptVector vector) {
            String others = received.entrySet().stream()
                    .filter(entry -> !entry.getKey().equals(vector))
                    .map(entry -> entry.getKey() + " " + new Times(entry.getValue()))
                    .collect(Collectors.joining(", "));
            return others.isEmpty() ? "" : "; it received " + others;
        }

        /** The other vCPUs that received the vector. */
        private String elsewhere(InterruptVector vector) {
            return vcpu.receivers(vector).entrySet().stream()
                    .filter(entry -> !entry.getKey().equals(vcpu.id()))
                    .map(entry -> "; " + entry.getKey() + " received it " + new Times(entry.getValue()))
                    .collect(Collectors.joining());
        }
    }

    /** Assertions about the calls and interrupts of the whole test. */
    public static final class OfHost {
        private final KvmHost host;

        private OfHost(KvmHost host) {
            this.host = host;
        }

        /** Asserts that no interrupt was lost, as far as {@link KvmHost#lost} can detect. */
        public OfHost lostNothing() {
            List<String> lost = host.lost();
            if (!lost.isEmpty()) {
                throw failure("expected no interrupt to be lost" + lost(host), List.of(), lost);
            }
            return this;
        }

        /** Asserts how often the test replaced GSI routes, over all VMs. */
        public OfHost commits(int count) {
            return calls("KVM_SET_GSI_ROUTING", count);
        }

        /** Asserts how often the test made a call such as {@code VFIO_DEVICE_SET_IRQS}. See {@link KvmHost#calls}. */
        public OfHost calls(String call, int count) {
            int made = host.calls(call);
            if (made != count) {
                throw failure("expected " + count + " calls of " + call + ", but the test made " + made, count, made);
            }
            return this;
        }
    }

    private static String lost(KvmHost host) {
        List<String> lost = host.lost();
        return lost.isEmpty() ? "" : "; lost: " + String.join(", ", lost);
    }

    /** Creates an error whose stack trace begins in the test, without the kit's frames. */
    private static AssertionFailedError failure(String message, Object expected, Object actual) {
        AssertionFailedError error = new AssertionFailedError(message, expected, actual);
        String here = KvmAssertions.class.getName();
        error.setStackTrace(Stream.of(error.getStackTrace())
                .dropWhile(
                        frame -> frame.getClassName().replaceFirst("\\$.*", "").equals(here))
                .toArray(StackTraceElement[]::new));
        return error;
    }
}
