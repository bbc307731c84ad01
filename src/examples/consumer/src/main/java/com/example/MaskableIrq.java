/* SPDX-License-Identifier: Apache-2.0 */
package com.example;

import io.kvmirq.kernel.EventFd;

/** An interrupt of an emulated device, which the guest masks and unmasks. An interrupt while it is masked is kept. */
class MaskableIrq {
    private final EventFd event;

    // Guarded by this
    private boolean masked;
    private boolean pending;

    MaskableIrq(EventFd event) {
        this.event = event;
    }

    /** By the thread of the device. */
    synchronized void raise() {
        if (masked) {
            pending = true;
        } else {
            event.signal();
        }
    }

    /** By the thread of a vCPU. */
    synchronized void mask() {
        masked = true;
    }

    /** By the thread of a vCPU. */
    final void unmask() {
        beginUnmask();
        endUnmask();
    }

    void beginUnmask() {
        clearMask();
    }

    /** An interrupt since the begin was sent by {@link #raise}. */
    void endUnmask() {
        sendPending();
    }

    final synchronized void clearMask() {
        masked = false;
    }

    final synchronized void sendPending() {
        if (pending) {
            pending = false;
            event.signal();
        }
    }
}
