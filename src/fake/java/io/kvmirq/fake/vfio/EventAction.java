/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.EventReader;
import org.jspecify.annotations.Nullable;

/** An eventfd that runs an action at each signal, until its last close. Source: drivers/vfio/virqfd.c. */
final class EventAction implements EventReader {
    private final Runnable action;
    private @Nullable EventFile event;

    EventAction(Runnable action) {
        this.action = action;
    }

    /** @return whether the eventfd was set; false if there is one already */
    boolean set(EventFile next) {
        if (event != null) {
            return false;
        }
        event = next;
        next.add(this);
        return true;
    }

    void clear() {
        if (event != null) {
            event.remove(this);
            event = null;
        }
    }

    @Override
    public void signalled() {
        if (event != null) {
            action.run();
        }
    }

    @Override
    public void released() {
        clear();
    }
}
