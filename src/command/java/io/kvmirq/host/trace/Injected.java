/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.io.IOException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The fields of {@link ProbePlan#INJECTED} on a kernel. Immutable.
 *
 * <p>Source: {@code TRACE_EVENT(kvm_inj_virq)} in arch/x86/kvm/trace.h.
 *
 * @param vector the field of the vector, which had another name before Linux 5.19. Empty if the kernel has no such event
 * @param condition leaves out vectors that KVM injects again, after an exit that interrupted the injection. Empty before 5.19
 */
record Injected(String vector, String condition) {
    private static final Pattern VECTOR = Pattern.compile("\\tfield:unsigned int (vector|vec|irq);");

    /** Reads the format of the event. */
    static Injected read(TraceFiles files) {
        try {
            String format = files.read("events/" + ProbePlan.INJECTED + "/format");
            Matcher field = VECTOR.matcher(format);
            return new Injected(
                    field.find() ? field.group(1) : "", format.contains(" reinjected;") ? " if reinjected == 0" : "");
        } catch (IOException e) {
            return new Injected("", "");
        }
    }

    boolean isThere() {
        return !vector.isEmpty();
    }

    /** The keys of its histogram. */
    String keys() {
        return ProbePlan.THREAD + "," + vector;
    }
}
