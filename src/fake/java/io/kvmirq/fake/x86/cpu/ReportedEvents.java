/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/** The events that KVM_CAP_EXCEPTION_PAYLOAD and KVM_CAP_X86_TRIPLE_FAULT_EVENT add to {@code kvm_vcpu_events}. */
public record ReportedEvents(boolean exceptionPayload, boolean tripleFault) {}
