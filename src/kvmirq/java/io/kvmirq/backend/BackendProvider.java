/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;

/**
 * Provides a backend that is used only if the user selects it by name. {@link java.util.ServiceLoader} finds it. The
 * fake kernel is such a provider, because its package depends on this package.
 */
@NotPromised
public interface BackendProvider {
    /** The name that selects the backend. */
    String name();

    /** @throws BackendUnavailableException if the backend cannot be used as configured */
    KernelBackend open();

    /**
     * Whether the system property {@code kvmirq.backend} and {@code $KVMIRQ_BACKEND} may select it, not code alone. So it
     * is where the module {@code io.kvmirq.testkit} is: a program that has no tests does not simulate because of a
     * variable.
     */
    default boolean isSelectedFromOutside() {
        return false;
    }
}
