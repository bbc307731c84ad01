/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.NotModelledException;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.text.Foreign;

/** A fake kernel's host, with example devices. */
public final class FakeDevices {
    private FakeDevices() {}

    /**
     * A kernel with a device that VFIO can use, and one that it would refuse.
     *
     * @throws IllegalArgumentException if there is no such profile; the message lists the profiles
     */
    public static FakeKernel kernel(String profile) {
        FakeKernel kernel = new FakeKernel(Profile.parse(profile));
        kernel.pciDevice("0000:3b:00.0", 15)
                .intx()
                .msi(1)
                .msix(64)
                .express()
                .resettable()
                .add();
        kernel.pciDevice("0000:3d:00.0", 17).intx().msi(1).add();
        kernel.pciDevice("0000:3d:00.1", 17).intx().addToHost();
        return kernel;
    }

    /**
     * The files that such a kernel shows.
     *
     * @throws IllegalArgumentException if the profile has no PCI devices
     */
    public static HostFiles tree(String profile) {
        try {
            return kernel(profile).hostFiles();
        } catch (NotModelledException e) {
            throw new IllegalArgumentException("--fake is " + Foreign.quoted(profile) + ": " + e.getMessage(), e);
        }
    }
}
