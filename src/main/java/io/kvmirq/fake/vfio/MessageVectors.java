/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.InterruptMode;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.rules.VfioRule;
import java.util.Arrays;
import java.util.BitSet;
import org.jspecify.annotations.Nullable;

/** The vectors of MSI or MSI-X and their eventfds; source: {@code vfio_msi_*()} in drivers/vfio/pci/vfio_pci_intrs.c. */
final class MessageVectors {
    private final Host host;
    private final VfioPci device;
    private final HostVectors ofHost;
    private final @Nullable EventFile[] triggers;
    /** The vectors that have an interrupt of the host. */
    private final BitSet allocated = new BitSet();
    /** The pending bits of the MSI-X table: messages of masked vectors. */
    private final BitSet pending = new BitSet();

    MessageVectors(Host host, VfioPci device, HostVectors ofHost) {
        this.host = host;
        this.device = device;
        this.ofHost = ofHost;
        this.triggers = new EventFile
                [Math.max(device.function().msi(), device.function().msix())];
    }

    private boolean isOn() {
        return device.mode() == InterruptMode.MSI || device.mode() == InterruptMode.MSIX;
    }

    /** Whether a vector is allocated when it gets its eventfd. The ITS of a host allocates all vectors at once. */
    static boolean isDynamic(Host host, InterruptMode mode) {
        return mode == InterruptMode.MSIX
                && host.build().isSince(6, 5)
                && !host.build().arm64();
    }

    /**
     * Sets the eventfds of {@code set}; enables the mode if none is.
     *
     * @return 0, a negative errno, or the number of vectors that the host has if they are too few
     */
    int set(InterruptMode mode, IrqSet set) {
        if (isOn()) {
            return setBlock(set);
        }
        int result = enable(mode, set.start() + set.count());
        if (result != 0) {
            return result;
        }
        result = setBlock(set);
        if (result != 0) {
            disable();
        }
        return result;
    }

    private int enable(InterruptMode mode, int count) {
        if (count == 0) {
            return host.refuse(VfioRule.VFIO_IRQS_NO_VECTOR);
        }
        int free = ofHost.free();
        if (free == 0) {
            return host.refuse(VfioRule.VFIO_IRQS_NO_SPACE);
        }
        if (free < count) {
            host.note(VfioRule.VFIO_IRQS_SHORT);
            return mode == InterruptMode.MSIX ? free : 1;
        }
        ofHost.allocate(count);
        allocated.set(0, count);
        device.intx().enableMessages(mode);
        return 0;
    }

    private int setBlock(IrqSet set) {
        int start = set.start();
        boolean inOneCheck = !host.build().isSince(6, 5);
        if (inOneCheck && (start >= allocated.length() || start + set.count() > allocated.length())) {
            return host.refuse(VfioRule.VFIO_IRQS_ALLOCATED);
        }
        for (int i = 0; i < set.count(); i++) {
            int result = set(start + i, set.fd(i));
            if (result < 0) {
                host.note(VfioRule.VFIO_IRQS_UNWOUND);
                for (int detached = start; detached <= start + i; detached++) {
                    triggers[detached] = null;
                }
                return result;
            }
        }
        return 0;
    }

    /** The old eventfd is gone before the new one is looked at. */
    private int set(int vector, int fd) {
        triggers[vector] = null;
        if (fd < 0) {
            return 0;
        }
        if (!allocated.get(vector)) {
            if (!isDynamic(host, device.mode())) {
                return host.refuse(VfioRule.VFIO_IRQS_ALLOCATED);
            }
            if (ofHost.free() == 0) {
                return host.refuse(VfioRule.VFIO_IRQS_NO_SPACE);
            }
            ofHost.allocate(1);
            allocated.set(vector);
        }
        FakeFile file = host.file(fd);
        if (!(file instanceof EventFile event)) {
            return host.refuse(file == null ? VfioRule.VFIO_IRQS_FD : VfioRule.VFIO_IRQS_NOT_AN_EVENTFD);
        }
        triggers[vector] = event;
        if (pending.get(vector)) {
            host.note(VfioRule.VFIO_MSIX_PENDING);
            pending.clear(vector);
            event.signal(1);
        }
        return 0;
    }

    /** Disables MSI or MSI-X, if it is on. */
    void disable() {
        if (isOn()) {
            Arrays.fill(triggers, null);
            ofHost.release(allocated.cardinality());
            allocated.clear();
            device.intx().disableMessages();
        }
    }

    /** Signals the eventfds of {@code set} as if the device had sent the messages. */
    int loopback(IrqSet set) {
        if (!host.build().isSince(6, 5) && set.start() + set.count() > allocated.length()) {
            return host.refuse(VfioRule.VFIO_IRQS_ALLOCATED);
        }
        for (int i = 0; i < set.count(); i++) {
            EventFile event = triggers[set.start() + i];
            if (event != null && set.isChosen(i)) {
                event.signal(1);
            }
        }
        return 0;
    }

    /** The device sends a message. An MSI-X vector without an eventfd is masked. */
    boolean send(int vector) {
        EventFile event = triggers[vector];
        if (event != null) {
            event.signal(1);
        } else if (device.mode() == InterruptMode.MSIX
                && vector < device.function().msix()) {
            pending.set(vector);
        }
        return event != null;
    }

    void forgetPending() {
        pending.clear();
    }
}
