/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.platform.commons.support.AnnotationSupport;

/** Runs on this machine's own KVM; skipped with the reason where that cannot be opened or has no full irqchip. */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@Tag(RealKvm.TAG)
@ExtendWith(RealKvm.Condition.class)
public @interface RealKvm {
    String TAG = "kvm";

    /** Whether the test needs the IOAPIC, the PICs and the PIT of the full irqchip. */
    boolean fullIrqchip() default false;

    /** Asks by opening it. */
    final class Condition implements ExecutionCondition {
        @Override
        public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
            boolean fullIrqchip = AnnotationSupport.findAnnotation(context.getElement(), RealKvm.class)
                    .map(RealKvm::fullIrqchip)
                    .orElse(false);
            return Machine.kvmFlaw()
                    .or(() -> fullIrqchip ? Machine.irqchipFlaw() : Optional.empty())
                    .map(ConditionEvaluationResult::disabled)
                    .orElseGet(() -> ConditionEvaluationResult.enabled("KVM opens"));
        }
    }
}
