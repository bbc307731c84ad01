/* SPDX-License-Identifier: Apache-2.0 */
/** KVM in the fake kernel, as far as it is the same on every architecture: virt/kvm. Not for users. */
@NullMarked
package io.kvmirq.fake.kvm;

import org.jspecify.annotations.NullMarked;
