/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.TestTemplate;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Runs a test of several {@link Actors} in every order of their steps with at most {@link #preemptions} preemptions. A
 * preemption is a switch away from an actor whose next step could run. The test kit runs the method once for each
 * order, each time on a fresh fake kernel. The method adds actors. When it has returned, the kit runs the actors' steps
 * on the test's thread.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="orders"}
 *
 * <pre>{@code
 * @Interleavings(preemptions = 2)
 * void maskLosesNothing(Actors actors, KvmHost host) {
 *     Vmm vmm = actors.closing(new Vmm(host.vm(), host.vfio()));
 *     actors.add("device", () -> host.device().sendMessage(3));
 *     actors.add("control plane", () -> vmm.mask(3), () -> vmm.unmask(3));
 *     actors.after(() -> assertThat(host.vcpu(0)).received(vector(0x33), once()));
 * }
 * }</pre>
 *
 * <p>An order fails if a step throws, if an assertion of {@link Actors#after} throws, or if an object stays open that a
 * {@link KvmTest} must close. The test reports the failing order with the fewest preemptions, and among those the order
 * that fails after the fewest steps. The report contains the value of {@link #order} that replays the failure. JUnit's
 * report entry {@code orders} is the number of orders that ran.
 *
 * <p>The test method may also have the parameters that {@link KvmTest} lists. {@link KvmTest} on the test class sets
 * default profiles and vCPUs. All orders share the instance of the test class and the objects that {@code @BeforeEach}
 * made. Create the objects that steps change in the test method, so that each order gets new ones.
 *
 * <p>A step is atomic, because no other actor runs during it. All steps run on one thread, so a lock that is held from
 * one step to the next does not stop another actor. Use {@link Actors#when} to make an actor wait.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.METHOD, ElementType.ANNOTATION_TYPE})
@TestTemplate
@FaultExtension.RunByKit
@ExtendWith(InterleavingsExtension.class)
@SuppressWarnings("exports") // JUnit is optional
public @interface Interleavings {
    /** The largest number of preemptions in an order. */
    int preemptions() default 2;

    /** The largest number of orders. If the test has more orders, it fails at once and reports their number. */
    int limit() default 10_000;

    /** The profiles of the fake kernel, as in {@link KvmTest#profiles}. All orders run on each profile. */
    String[] profiles() default {};

    /** The number of vCPUs of the test kit's VM. */
    int vcpus() default 1;

    /**
     * The only order to run, in the form that a failure reports. For example, {@code B1A2B1} is one step of the second
     * actor, two steps of the first, and one step of the second. Then the remaining steps run, starting with those of
     * the last actor. The system property {@code kvmirq.order} sets the order of one method without a source change.
     */
    String order() default "";
}
