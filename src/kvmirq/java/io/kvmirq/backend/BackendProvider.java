/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;

/**
 * A service provider ({@link java.util.ServiceLoader}) of a {@link KernelBackend} that is used only if selected by
 * name, such as the fake kernel, on which this package cannot depend.
 */
@NotPromised
public interface BackendProvider {
    /** The name that selects the backend. */
    String name();

    /** Opens the backend. Throws BackendUnavailableException if the user's settings forbid this backend. */
    KernelBackend open();

    /**
     * Whether the system property {@code kvmirq.backend} and {@code $KVMIRQ_BACKEND} may select this backend. Java code
     * always may. The fake kernel's provider returns true only if the module {@code io.kvmirq.testkit} is present, so
     * in production neither setting can replace the real kernel.
     */
    default boolean isSelectedFromOutside() {
        return false;
    }
}
