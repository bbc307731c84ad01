/* SPDX-License-Identifier: Apache-2.0 */
/** The part of KVM in the fake kernel that is common to all architectures: virt/kvm. Not for users. */
@NullMarked
package io.kvmirq.fake.kvm;

import org.jspecify.annotations.NullMarked;
