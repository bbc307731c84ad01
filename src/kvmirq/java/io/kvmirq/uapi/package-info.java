/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The kernel's interface: requests, structures, fields and constants of KVM, VFIO, iommufd and eventfd, each defined
 * once.
 *
 * <p>The package is exported for kernel calls that no method of this library makes: use a constant of this package,
 * {@link io.kvmirq.backend.Libc}, and the descriptor of {@code Vm.fd()} or {@code Vcpu.fd()}. This package is outside
 * the compatibility promise: its classes may change with any version. The values stay the same, because the kernel
 * never changes them. A constant has the kernel's name, and no comment of its own. The kernel's header documents the
 * constant; its class or its group names the header. {@code DocumentedTest} exempts this package.
 *
 * <p>{@link io.kvmirq.uapi.Uapi}, {@link io.kvmirq.uapi.UapiVfio}, {@link io.kvmirq.uapi.UapiIommufd} and {@link
 * io.kvmirq.uapi.UapiArm64} hold compile-time constants, which a call uses and the compiler inlines. The fake kernel
 * and error texts use the annotations of a constant. The annotations name the kind of file of a request, and the
 * structure at its argument. The annotations say whether a field is a descriptor, an address, a length, a GSI or flags.
 * {@link io.kvmirq.uapi.UapiTable} reads the annotations.
 */
@NotPromised
@NullMarked
package io.kvmirq.uapi;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
