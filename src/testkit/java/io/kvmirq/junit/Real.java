/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

/** Whether a {@link KvmTest} runs on the KVM of this machine. */
public enum Real {
    /** It does not. */
    NEVER,
    /** It does, and is reported as disabled, with the reason, where KVM cannot be used. */
    IF_PRESENT,
    /** It does, and fails with the reason where KVM cannot be used. */
    REQUIRED
}
