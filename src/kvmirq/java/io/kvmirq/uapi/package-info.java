/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The kernel interface: requests, structures, fields and constants of KVM, VFIO, iommufd and eventfd, each defined
 * once.
 *
 * <p>The package is exported for kernel calls that no library method makes. Use a constant with {@link
 * io.kvmirq.backend.Libc} and the descriptor of {@code Vm.fd()} or {@code Vcpu.fd()}. The compatibility promise does
 * not cover this package, so its classes may change in any version, but the values stay, because the kernel never
 * changes them. A constant has the kernel's name and is documented in the kernel header that its class or group names,
 * so {@code DocumentedTest} exempts this package.
 *
 * <p>{@link io.kvmirq.uapi.Uapi}, {@link io.kvmirq.uapi.UapiVfio}, {@link io.kvmirq.uapi.UapiIommufd} and {@link
 * io.kvmirq.uapi.UapiArm64} hold compile-time constants, which the compiler inlines. Their annotations, which {@link
 * io.kvmirq.uapi.UapiTable} reads for the fake kernel and error texts, name a request's kind of file and its argument's
 * structure, and mark whether a field is a descriptor, an address, a length, a GSI or flags.
 */
@NotPromised
@NullMarked
package io.kvmirq.uapi;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
