/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.Optional;

/** An eventfd that raises a GSI; source: virt/kvm/eventfd.c. */
final class FakeIrqfd {
    private final VmInterrupts vm;
    private final EventFile event;
    private final int gsi;
    private final Optional<EventFile> resample;

    FakeIrqfd(VmInterrupts vm, EventFile event, int gsi, Optional<EventFile> resample) {
        this.vm = vm;
        this.event = event;
        this.gsi = gsi;
        this.resample = resample;
    }

    int gsi() {
        return gsi;
    }

    boolean isOf(VmInterrupts other) {
        return vm == other;
    }

    EventFile event() {
        return event;
    }

    Optional<EventFile> resample() {
        return resample;
    }

    /** Its eventfd was signalled: what can be driven at once is, anything else by a worker. */
    void raise() {
        if (!vm.driveAtOnce(this)) {
            vm.kernel().work().inject(this);
        }
    }

    /** It was assigned to an eventfd that was signalled before. */
    void raiseLate() {
        vm.kernel().work().inject(this);
    }

    void inject() {
        if (resample.isPresent()) {
            vm.note(Rule.RESAMPLE_SOURCE);
            vm.drive(gsi, VmInterrupts.SOURCE_RESAMPLE, true);
        } else {
            vm.drive(gsi, VmInterrupts.SOURCE_USERSPACE, true);
            vm.drive(gsi, VmInterrupts.SOURCE_USERSPACE, false);
        }
    }

    /** The guest has ended the interrupt: the line goes low and the device may look again. */
    void acknowledged() {
        resample.ifPresent(notified -> notified.signal(1));
    }

    void shutDown() {
        event.detach(this);
        vm.kernel().work().finishInjection(this);
        vm.forget(this);
    }
}
