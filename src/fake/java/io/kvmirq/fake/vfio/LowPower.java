/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import java.nio.ByteBuffer;

/**
 * The low-power state that a user requested: the host suspends the device between accesses. Source: {@code
 * vfio_pci_core_pm_entry()} in vfio_pci_core.c.
 */
final class LowPower {
    /** The size of struct vfio_device_low_power_entry_with_wakeup: an eventfd, and reserved bytes. */
    static final int WAKEUP_SIZE = 8;

    private final Host host;
    private boolean entered;

    LowPower(Host host) {
        this.host = host;
    }

    boolean isEntered() {
        return entered;
    }

    int enter() {
        if (entered) {
            return host.refuse(VfioAnswer.VFIO_LOW_POWER_ENTERED);
        }
        entered = true;
        return 0;
    }

    /** @throws NotModelledException if the request is valid: the host would suspend the device later */
    int enterWithWakeup(ByteBuffer wakeup) {
        int fd = wakeup.getInt(0);
        if (fd < 0) {
            return host.refuse(VfioAnswer.VFIO_WAKEUP_NEGATIVE);
        }
        FakeFile file = host.file(fd);
        if (!(file instanceof EventFile)) {
            return host.refuse(file == null ? VfioAnswer.VFIO_WAKEUP_FD : VfioAnswer.VFIO_WAKEUP_NOT_AN_EVENTFD);
        }
        if (entered) {
            return host.refuse(VfioAnswer.VFIO_LOW_POWER_ENTERED);
        }
        throw new NotModelledException("VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: when the device sleeps");
    }

    int exit() {
        entered = false;
        return 0;
    }
}
