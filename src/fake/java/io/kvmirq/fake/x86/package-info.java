/* SPDX-License-Identifier: Apache-2.0 */
/** KVM on x86 in the fake kernel: arch/x86/kvm and its chips. Not for users. */
@NullMarked
package io.kvmirq.fake.x86;

import org.jspecify.annotations.NullMarked;
