/* SPDX-License-Identifier: Apache-2.0 */
/** The architecture-independent part of KVM in the fake kernel, as in virt/kvm. Not for users. */
@NullMarked
package io.kvmirq.fake.kvm;

import org.jspecify.annotations.NullMarked;
