/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

/** Whether a {@link KvmTest} runs on the KVM of this machine. */
public enum Real {
    /** The test never runs on real KVM. */
    NEVER,
    /** The test also runs on real KVM. If KVM cannot be used, JUnit reports this run as disabled, with the reason. */
    IF_PRESENT,
    /** The test runs on real KVM. If KVM cannot be used, the test fails with the reason. */
    REQUIRED
}
