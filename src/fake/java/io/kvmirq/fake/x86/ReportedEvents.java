/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

/** The events that KVM_CAP_EXCEPTION_PAYLOAD and KVM_CAP_X86_TRIPLE_FAULT_EVENT add to {@code kvm_vcpu_events}. */
record ReportedEvents(boolean exceptionPayload, boolean tripleFault) {}
