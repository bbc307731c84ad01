/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;

/**
 * Provides a backend that is used only if the user selects it by name. {@link java.util.ServiceLoader} finds the
 * provider. The fake kernel has a provider, because its package depends on this package, and not the reverse.
 */
@NotPromised
public interface BackendProvider {
    /** The name that selects the backend. */
    String name();

    /** Opens the backend. Throws BackendUnavailableException if this backend cannot be used as configured. */
    KernelBackend open();

    /**
     * Whether the system property {@code kvmirq.backend} and {@code $KVMIRQ_BACKEND} may select this backend; Java code
     * may always select it. The fake kernel returns true only with the module {@code io.kvmirq.testkit}, so no variable
     * makes a program use a fake kernel in production.
     */
    default boolean isSelectedFromOutside() {
        return false;
    }
}
