/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/** Whether KVM_CAP_EXCEPTION_PAYLOAD and KVM_CAP_X86_TRIPLE_FAULT_EVENT, by which KVM reports events, are enabled. */
public record ReportedEvents(boolean exceptionPayload, boolean tripleFault) {}
