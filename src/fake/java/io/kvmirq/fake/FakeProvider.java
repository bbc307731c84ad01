/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.NotPromised;
import io.kvmirq.backend.BackendProvider;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;

/** Provides the fake kernel as the backend named {@value Backends#FAKE}. */
@NotPromised
public final class FakeProvider implements BackendProvider {
    /** The system property that names the profile. The default is 6.12, Debian 13's kernel. */
    public static final String PROFILE = "kvmirq.fake.profile";

    private static final Profile DEFAULT = Profile.V6_12;

    @Override
    public String name() {
        return Backends.FAKE;
    }

    @Override
    public KernelBackend open() {
        return new FakeKernel(profile()).backend();
    }

    /** Returns the profile that {@value #PROFILE} names. Throws BackendUnavailableException for an unknown name. */
    public static Profile profile() {
        try {
            return Profile.parse(System.getProperty(PROFILE, DEFAULT.label()));
        } catch (IllegalArgumentException e) {
            throw new BackendUnavailableException("-D" + PROFILE + ": " + e.getMessage(), e);
        }
    }
}
