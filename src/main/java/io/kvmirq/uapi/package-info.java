/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The kernel's interface: requests, structures, fields and constants of KVM, VFIO, iommufd and eventfd, each in one
 * place.
 *
 * <p>{@link io.kvmirq.uapi.Uapi}, {@link io.kvmirq.uapi.UapiVfio}, {@link io.kvmirq.uapi.UapiIommufd} and {@link
 * io.kvmirq.uapi.UapiArm64} hold compile-time constants, which a call uses and the compiler inlines. Annotations beside
 * a constant say what tapes, decoders and error texts need: on which kind of file a request is made, what its argument
 * points to, and whether a field is a descriptor, an address, a length, a GSI or flags. {@link
 * io.kvmirq.uapi.UapiTable} reads them once, when it is loaded. The bindings to the real kernel do not use it.
 */
@NullMarked
package io.kvmirq.uapi;

import org.jspecify.annotations.NullMarked;
