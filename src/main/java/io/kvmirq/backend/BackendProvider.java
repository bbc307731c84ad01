/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

/**
 * A backend that is used only when it is asked for by name, found through {@link java.util.ServiceLoader}: the fake kernel,
 * which lies above this package.
 */
public interface BackendProvider {
    /** The name it is asked for by. */
    String name();

    /** @throws BackendUnavailableException when it cannot be used as configured */
    KernelBackend open();
}
