/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;

/**
 * Provides a {@link KernelBackend} that kvmirq uses only if the user selects it by name. {@link
 * java.util.ServiceLoader} finds the provider. The fake kernel needs one, because this package cannot depend on it.
 */
@NotPromised
public interface BackendProvider {
    /** The name that selects the backend. */
    String name();

    /** Opens the backend. Throws BackendUnavailableException if the user's settings forbid this backend. */
    KernelBackend open();

    /**
     * Whether the system property {@code kvmirq.backend} and {@code $KVMIRQ_BACKEND} may select this backend. Java code
     * always may. The fake kernel returns true only with the module {@code io.kvmirq.testkit}, so in production neither
     * setting can replace the real kernel.
     */
    default boolean isSelectedFromOutside() {
        return false;
    }
}
