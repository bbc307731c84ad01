/* SPDX-License-Identifier: Apache-2.0 */
/** KVM on arm64 in the fake kernel: arch/arm64/kvm, its VGIC and ITS. Not for users. */
@NullMarked
package io.kvmirq.fake.arm64;

import org.jspecify.annotations.NullMarked;
