/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.LineEvent;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.EventReader;
import org.jspecify.annotations.Nullable;

/** The eventfd that unmasks INTx: a resamplefd, usually. Source: drivers/vfio/virqfd.c. */
final class UnmaskEvent implements EventReader {
    private final VfioPci device;
    private LineEvent line = new LineEvent();
    private @Nullable EventFile event;

    UnmaskEvent(VfioPci device) {
        this.device = device;
    }

    /** @return whether it was set; false if there is one already */
    boolean set(EventFile next) {
        LineEvent signalled = new LineEvent();
        if (!device.intx().setUnmaskEvent(signalled)) {
            return false;
        }
        line = signalled;
        event = next;
        next.add(this);
        return true;
    }

    void clear() {
        if (event != null) {
            event.remove(this);
            event = null;
            device.intx().clearUnmaskEvent();
        }
    }

    @Override
    public void signalled() {
        line.signal();
        device.settle();
    }

    @Override
    public void released() {
        clear();
    }
}
