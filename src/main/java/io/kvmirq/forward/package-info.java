/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Devices of the host in a guest: what joins {@link io.kvmirq.vfio} and {@link io.kvmirq.kvm}. No other package sees both.
 *
 * <p>{@link io.kvmirq.forward.KvmVfio} tells KVM which files of VFIO the guest uses. {@code ForwardCalls} makes its calls.
 */
@NullMarked
package io.kvmirq.forward;

import org.jspecify.annotations.NullMarked;
