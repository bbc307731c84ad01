/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import java.util.List;
import java.util.Optional;

/** Thrown if the kernel did not reset a device. The message says why, and whether the device may still do DMA. */
public final class DeviceNotResetException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    private final boolean stopped;
    private final boolean resettable;

    /**
     * {@code alone} is true if the device supports a reset. {@code refusals} has each reset's failure, the cause first.
     * {@code runs} is the reason why the device may still be bus master.
     */
    DeviceNotResetException(boolean alone, List<RuntimeException> refusals, Optional<String> runs) {
        super(
                refusals.get(0).getMessage()
                        + runs.map(why -> "; it may still read and write memory: " + why)
                                .orElse("; bus mastering is off, so it cannot do DMA"),
                refusals.get(0));
        refusals.stream().skip(1).forEach(this::addSuppressed);
        stopped = runs.isEmpty();
        resettable = alone
                || refusals.stream()
                        .anyMatch(refusal -> refusal instanceof KernelException refused
                                && refused.errno().equals(Errno.EAGAIN));
    }

    /** Whether bus mastering is off, so that the device cannot do DMA. */
    public boolean isStopped() {
        return stopped;
    }

    /**
     * Whether another attempt may succeed, because the device supports a reset or was only locked. Repeat the reset
     * before you enable bus mastering.
     */
    public boolean isResettable() {
        return resettable;
    }
}
