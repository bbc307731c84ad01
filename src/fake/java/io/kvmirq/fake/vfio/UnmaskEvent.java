/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.LineEvent;
import io.kvmirq.arch.intx.model.VfioIntx;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.EventReader;
import org.jspecify.annotations.Nullable;

/** The eventfd that unmasks INTx, usually a resamplefd. Source: drivers/vfio/virqfd.c. */
final class UnmaskEvent implements EventReader {
    private final VfioIntx intx;
    private final PciLine pin;
    private LineEvent line = new LineEvent();
    private @Nullable EventFile event;

    UnmaskEvent(VfioIntx intx, PciLine pin) {
        this.intx = intx;
        this.pin = pin;
    }

    /** @return whether the eventfd was set; false if there is one already */
    boolean set(EventFile next) {
        LineEvent signalled = new LineEvent();
        if (!intx.setUnmaskEvent(signalled)) {
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
            intx.clearUnmaskEvent();
        }
    }

    @Override
    public void signalled() {
        line.signal();
        pin.settle();
    }

    @Override
    public void released() {
        clear();
    }
}
