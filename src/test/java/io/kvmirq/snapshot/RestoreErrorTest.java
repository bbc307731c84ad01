/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.forward.ErrorInCall;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import java.util.List;
import org.junit.jupiter.api.Test;

/** An Error of the JVM in each call of a restore in turn: eventfds, irqfds, routes and devices are then as before. */
class RestoreErrorTest {
    /** With an irqfd, a count, and MSI-X of which one vector is pending. */
    private static VmSnapshot saved() {
        try (SnapshotVm from = new SnapshotVm();
                EventFd tx = EventFd.create(from.kernel)) {
            from.vcpus.get(0).x86().enableLapic();
            from.msix.writeMessageControl(1 << 15);
            from.entry(0, 0x50, false);
            from.entry(1, 0x51, false);
            from.entry(1, 0x51, true);
            from.hardware.sendMessage(1);
            tx.signal();
            return VmSnapshot.take(from.partsWithIrqfd(from.irqfd(0x31)).event("tx", tx));
        }
    }

    @Test
    void failedRestoreLeavesAllAsItWas() {
        VmSnapshot snapshot = saved();
        int call = 1;
        while (fails(snapshot, call)) {
            call++;
        }
        assertThat(call).isGreaterThan(30);
    }

    /** @return whether the call threw; else the restore made fewer calls */
    private static boolean fails(VmSnapshot snapshot, int call) {
        ErrorInCall errors = new ErrorInCall();
        try (SnapshotVm to = new SnapshotVm(errors::over);
                EventFd tx = EventFd.create(to.kernel)) {
            Irqfd irqfd = to.irqfd(0x41);
            VmParts parts = to.partsWithIrqfd(irqfd).event("tx", tx);
            String routes = to.vm.routes().routes().toString();
            List<String> handles = to.kernel.openHandles();
            byte[] msix = to.msix.state();
            errors.arm(call, false);
            Throwable thrown = catchThrowable(() -> snapshot.restore(parts));
            String step = thrown + " in call " + call;
            if (!errors.disarm()) {
                assertThat(thrown).as(step).isNull();
                assertThat(to.msix.readPending(0, 8)).isEqualTo(2);
                assertThat(tx.drain()).isEqualTo(1);
                return false;
            }
            assertThat(to.vm.routes().routes()).as(step).hasToString(routes);
            assertThat(to.kernel.openHandles()).as(step).isEqualTo(handles);
            assertThat(to.msix.state()).as(step).isEqualTo(msix);
            assertThat(to.hardware.sendMessage(0)).as(step).isFalse();
            assertThat(tx.drain()).as(step).isZero();
            assertThat(irqfd.isMasked()).as(step).isFalse();
            to.vcpus.get(0).x86().enableLapic();
            to.event.signal();
            assertThat(to.isRequested(0x41))
                    .as(step + ": as the irqfd was routed before")
                    .isTrue();
            return true;
        }
    }
}
