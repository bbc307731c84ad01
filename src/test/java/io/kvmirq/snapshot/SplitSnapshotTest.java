/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import org.junit.jupiter.api.Test;

/** A split irqchip, whose IOAPIC and PICs the VMM has, in another VM. */
class SplitSnapshotTest {
    private static final int PIN = 11;
    private static final Gsi GSI = new Gsi(PIN);
    private static final InterruptVector VECTOR = new InterruptVector(0x51);
    private static final int LEVEL = 1 << 15;
    private static final long REMOTE_IRR = 1 << 14;
    private static final int MASKED = 1 << 16;

    /** A VM with one vCPU and a split irqchip. */
    private static final class Split implements AutoCloseable {
        private final Undo open = new Undo();
        final Vm vm;
        final Vcpu vcpu;
        final GuestIoapic ioapic;
        final GuestPic pic = new GuestPic();

        Split() {
            this(GuestIoapic.PINS);
        }

        Split(int pins) {
            vm = open.add(Vm.create(open.add(new FakeKernel(Profile.parse("6.18")).open())));
            vm.x86().createSplitIrqchip(pins);
            vcpu = open.add(vm.createVcpu(new VcpuId(0)));
            vcpu.x86().enableLapic();
            ioapic = new GuestIoapic(vm, pins);
        }

        void redirect(int entry) {
            ioapic.write(0, 4, 0x10 + 2 * PIN);
            ioapic.write(0x10, 4, entry);
        }

        VmParts parts() {
            return new VmParts(vm).vcpu(new VcpuId(0), vcpu).ioapic(ioapic).pic(pic);
        }

        VmSnapshot saved() {
            return VmSnapshot.parse(VmSnapshot.take(parts()).text());
        }

        boolean awaitsEoi() {
            return (ioapic.entry(PIN) & REMOTE_IRR) != 0;
        }

        boolean isRequested() {
            return vcpu.x86().isRequested(VECTOR);
        }

        @Override
        public void close() {
            open.close();
        }
    }

    @Test
    void interruptThatAwaitsItsEoiDoesSoInTheOtherVm() {
        try (Split from = new Split();
                Split to = new Split()) {
            from.redirect(LEVEL | VECTOR.number());
            from.ioapic.line(GSI, true);
            from.saved().restore(to.parts());
            assertThat(to.ioapic.entry(PIN)).isEqualTo(LEVEL | REMOTE_IRR | VECTOR.number());
            assertThat(to.ioapic.isHigh(PIN)).isTrue();
            assertThat(to.vm.routes().of(GSI))
                    .isEqualTo(from.vm.routes().of(GSI))
                    .hasSize(1);
            assertThat(to.ioapic.read(0, 4)).as("the selected register").isEqualTo(0x10 + 2 * PIN);
            assertThat(to.isRequested()).isTrue();
            to.ioapic.line(GSI, false);
            to.ioapic.endOfInterrupt(VECTOR);
            assertThat(to.awaitsEoi()).isFalse();
            assertThat(to.ioapic.isHigh(PIN)).isFalse();
        }
    }

    /** A vCPU that is kicked behind the guest's EOI leaves without the exit that tells of it. */
    @Test
    void endThatNobodyWasToldOfIsTold() {
        try (Split from = new Split();
                Split high = new Split();
                Split low = new Split()) {
            from.redirect(LEVEL | VECTOR.number());
            from.ioapic.line(GSI, true);
            from.vcpu.x86().setLapic(from.vcpu.x86().lapic().set(0x200 + VECTOR.number() / 32 * 16, 0));
            from.saved().restore(high.parts());
            assertThat(high.awaitsEoi()).as("sent again").isTrue();
            assertThat(high.isRequested()).isTrue();
            from.ioapic.line(GSI, false);
            from.saved().restore(low.parts());
            assertThat(low.awaitsEoi()).isFalse();
            assertThat(low.isRequested()).isFalse();
            assertThat(from.awaitsEoi())
                    .as("of the first VM, which was left as it was")
                    .isTrue();
        }
    }

    /** The vector is in the LAPIC's ISR, because the guest has taken the interrupt but not sent its EOI. */
    @Test
    void interruptInServiceIsNotSentAgain() {
        try (Split from = new Split();
                Split to = new Split()) {
            from.redirect(LEVEL | VECTOR.number());
            from.ioapic.line(GSI, true);
            int word = VECTOR.number() / 32 * 16;
            from.vcpu
                    .x86()
                    .setLapic(
                            from.vcpu.x86().lapic().set(0x200 + word, 0).set(0x100 + word, 1 << VECTOR.number() % 32));
            from.saved().restore(to.parts());
            assertThat(to.awaitsEoi()).isTrue();
            assertThat(to.isRequested()).isFalse();
        }
    }

    /** Its EOI is still to come. */
    @Test
    void requestOfALineThatIsLowAgainAwaitsItsEoi() {
        try (Split from = new Split();
                Split to = new Split()) {
            from.redirect(LEVEL | VECTOR.number());
            from.ioapic.line(GSI, true);
            from.ioapic.line(GSI, false);
            from.saved().restore(to.parts());
            assertThat(to.awaitsEoi()).isTrue();
            assertThat(to.isRequested()).isTrue();
        }
    }

    @Test
    void lineThatRisesBeforeTheRestoreInterruptsAfterIt() {
        try (Split from = new Split();
                Split to = new Split()) {
            from.redirect(LEVEL | VECTOR.number());
            to.ioapic.source().line(GSI, true);
            from.saved().restore(to.parts());
            assertThat(to.awaitsEoi()).isTrue();
            assertThat(to.isRequested()).isTrue();
        }
    }

    @Test
    void edgeDoesNotComeAgain() {
        try (Split from = new Split();
                Split to = new Split()) {
            from.redirect(MASKED | VECTOR.number());
            from.ioapic.line(GSI, true);
            from.redirect(VECTOR.number());
            from.saved().restore(to.parts());
            to.ioapic.line(GSI, true);
            assertThat(to.isRequested()).isFalse();
            to.ioapic.line(GSI, false);
            to.ioapic.line(GSI, true);
            assertThat(to.isRequested()).isTrue();
        }
    }

    @Test
    void picsAreTheSame() {
        try (Split from = new Split();
                Split to = new Split()) {
            from.pic.write(0x21, 0xfb);
            from.pic.write(0x4d1, 0x0c);
            from.pic.write(0xa0, 0x11);
            from.saved().restore(to.parts());
            assertThat(to.pic.read(0x21)).isEqualTo(0xfb);
            assertThat(to.pic.read(0x4d1)).isEqualTo(0x0c);
            for (int i = 0; i < 4; i++) {
                to.pic.write(0xa1, 0x70 + i);
            }
            assertThat(to.pic.read(0xa1))
                    .as("after three words of its initialization")
                    .isEqualTo(0x73);
        }
    }

    @Test
    void otherChipsAreRefused() {
        try (Split from = new Split();
                Split wider = new Split(48);
                Split to = new Split()) {
            VmSnapshot snapshot = from.saved();
            String reason = "only one of the two has this IOAPIC or these PICs of the VMM (VmParts.ioapic and pic)";
            assertThatThrownBy(() -> snapshot.restore(wider.parts()))
                    .isInstanceOf(SnapshotException.class)
                    .hasMessageEndingWith(reason);
            assertThatThrownBy(() -> snapshot.restore(
                            new VmParts(to.vm).vcpu(new VcpuId(0), to.vcpu).ioapic(to.ioapic)))
                    .hasMessageEndingWith(reason);
            assertThatThrownBy(() -> to.ioapic.restore(new byte[7]))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("7 bytes are not the state of an IOAPIC of 24 pins");
            assertThatThrownBy(() -> to.pic.restore(new byte[] {0, 0, 0, 0, 0, 4}))
                    .isInstanceOf(IllegalArgumentException.class);
        }
    }

    @Test
    void chipsAreCompared() {
        try (Split from = new Split()) {
            X86Data saved = X86Data.read(from.parts());
            from.redirect(LEVEL | VECTOR.number());
            assertThat(X86Data.read(from.parts()).difference(saved).orElseThrow())
                    .startsWith("IOAPIC of the VMM ");
        }
    }

    @Test
    void linesOfASourceMove() {
        try (Split from = new Split();
                Split to = new Split();
                Split without = new Split()) {
            Userspace.Injector serial = from.ioapic.source();
            Userspace.Injector next = to.ioapic.source();
            from.redirect(LEVEL | VECTOR.number());
            serial.line(GSI, true);
            VmParts parts = from.parts().lines("serial", serial);
            VmSnapshot saved = VmSnapshot.parse(VmSnapshot.take(parts).text());
            assertThatThrownBy(() -> saved.restore(without.parts()))
                    .hasMessageContaining("it has the source of lines 'serial', which is not among []");
            try (VmMove move = VmMove.from(parts)) {
                move.into(to.parts().lines("serial", next));
            }
            assertThat(to.ioapic.driven(next)).containsExactly(GSI);
            assertThat(to.ioapic.isHigh(PIN)).isTrue();
            next.line(GSI, false);
            assertThat(to.ioapic.isHigh(PIN)).isFalse();
            assertThatThrownBy(() -> from.ioapic.driven(next))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageEndingWith(
                            " drives no lines of this IOAPIC: pass the object that its source() returned");
            assertThatThrownBy(() -> parts.lines("uart", serial)).hasMessageContaining(" is named serial already");
        }
    }
}
