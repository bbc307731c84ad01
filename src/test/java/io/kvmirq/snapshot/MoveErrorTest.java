/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.forward.ErrorInCall;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import org.junit.jupiter.api.Test;

/** An Error of the JVM in each call of a move in turn: the old VM then continues with all interrupts. */
class MoveErrorTest {
    @Test
    void failedMoveLeavesTheOldVmAllItsInterrupts() {
        int call = 1;
        while (fails(call)) {
            call++;
        }
        assertThat(call).isGreaterThan(30);
    }

    /** @return whether a call threw; else the move made fewer calls */
    private static boolean fails(int call) {
        ErrorInCall errors = new ErrorInCall();
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm(errors::over);
                EventFd tx = EventFd.create(from.kernel);
                EventFd next = EventFd.create(to.kernel)) {
            from.vcpus.get(0).x86().enableLapic();
            from.msix.writeMessageControl(1 << 15);
            from.entry(0, 0x50, false);
            Irqfd irqfd = from.irqfd(0x31);
            VmParts target = to.partsWithIrqfd(to.irqfd(0x31)).event("tx", next);
            tx.signal(2);
            Throwable thrown;
            try (VmMove move = VmMove.from(from.partsWithIrqfd(irqfd).event("tx", tx))) {
                from.event.signal();
                tx.signal();
                errors.arm(call, false);
                thrown = catchThrowable(() -> move.into(target));
            }
            String step = thrown + " in call " + call;
            if (!errors.disarm()) {
                assertThat(thrown).as(step).isNull();
                assertThat(next.drain()).isEqualTo(3);
                assertThat(tx.drain()).isZero();
                assertThat(to.isRequested(0x31)).isTrue();
                return false;
            }
            assertThat(irqfd.isMasked()).as(step).isFalse();
            assertThat(from.isRequested(0x31)).as(step).isTrue();
            assertThat(tx.drain()).as(step).isEqualTo(3);
            from.hardware.sendMessage(0);
            assertThat(from.isRequested(0x50)).as(step).isTrue();
            return true;
        }
    }

    /** As a program does that passes one device from VM to VM. */
    @Test
    void deviceClosesInTheOldVmBeforeTheNewOneOpensIt() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm()) {
            from.vcpus.get(0).x86().enableLapic();
            from.msix.writeMessageControl(1 << 15);
            from.entry(0, 0x50, false);
            from.msix.hold();
            from.hardware.sendMessage(0);
            try (VmMove move = VmMove.from(from.parts())) {
                from.device.close();
                from.event.close();
                move.into(to.parts());
            }
            assertThat(to.isRequested(0x50)).isTrue();
        }
    }

    @Test
    void refusedMoveOfAClosedDeviceReleasesTheOthers() {
        try (SnapshotVm from = new SnapshotVm();
                SnapshotVm to = new SnapshotVm()) {
            from.vcpus.get(0).x86().enableLapic();
            from.msix.writeMessageControl(1 << 15);
            from.entry(0, 0x50, false);
            Irqfd irqfd = from.irqfd(0x31);
            try (VmMove move = VmMove.from(from.partsWithIrqfd(irqfd))) {
                from.device.close();
                assertThat(catchThrowable(() -> move.into(to.parts()))).isInstanceOf(SnapshotException.class);
            }
            assertThat(irqfd.isMasked()).isFalse();
        }
    }
}
