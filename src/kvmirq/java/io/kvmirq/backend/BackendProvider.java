/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;

/**
 * Provides a {@link KernelBackend} that kvmirq uses only if the user selects it by name. {@link
 * java.util.ServiceLoader} finds it. The fake kernel needs a provider, because this package cannot use it.
 */
@NotPromised
public interface BackendProvider {
    /** The name that selects the backend. */
    String name();

    /** Opens the backend. Throws BackendUnavailableException if the user's settings forbid this backend. */
    KernelBackend open();

    /**
     * Whether the system property {@code kvmirq.backend} and {@code $KVMIRQ_BACKEND} may select this backend; Java code
     * may always select it. The fake kernel returns true only with the module {@code io.kvmirq.testkit}, so in
     * production no environment variable can replace the real kernel.
     */
    default boolean isSelectedFromOutside() {
        return false;
    }
}
