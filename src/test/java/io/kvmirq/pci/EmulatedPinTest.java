/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Latches;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The pin of an emulated function: its mistakes, its state, and its source, which is called without a lock. */
class EmulatedPinTest {
    private static final Gsi PIN = new Gsi(16);
    private static final InterruptVector VECTOR = new InterruptVector(0x51);
    private static final int MASKED = 1 << 16;

    /** A VM with one vCPU and a function with a pin. */
    private static final class Guest implements AutoCloseable {
        final Undo parts = new Undo();
        final PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x1000000);
        final Vm vm;
        final Vcpu vcpu;
        final EmulatedFunction function;
        final List<GuestIoapic> ioapic;

        Guest(Kernel kernel, boolean inKernel) {
            vm = parts.add(Vm.create(kernel));
            if (inKernel) {
                vm.x86().createIrqchip();
                ioapic = List.of();
            } else {
                vm.x86().createSplitIrqchip(GuestIoapic.PINS);
                ioapic = List.of(new GuestIoapic(vm, GuestIoapic.PINS));
            }
            vcpu = parts.add(vm.createVcpu(new VcpuId(0)));
            vcpu.x86().enableLapic();
            function = parts.add(
                    inKernel
                            ? builder(1).intx(PIN).build()
                            : builder(1).intx(PIN, ioapic.get(0).source()).build());
        }

        EmulatedFunction.Builder builder(int slot) {
            return EmulatedFunction.builder(bus, slot, vm, new EmulatedFunction.Registers() {
                        @Override
                        public long read(int bar, long at, int size) {
                            return 0;
                        }

                        @Override
                        public void write(int bar, long at, int size, long value) {}
                    })
                    .ids(1, 2);
        }

        /** Lets the pin interrupt, level-triggered. */
        void unmask() {
            if (ioapic.isEmpty()) {
                vm.x86().setIoapic(vm.x86().ioapic().levelPin(pin(), VECTOR));
            } else {
                ioapic.get(0).write(0, 4, 0x10 + 2 * PIN.number());
                ioapic.get(0).write(0x10, 4, 1 << 15 | VECTOR.number());
            }
        }

        static Route.Pin pin() {
            return new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number());
        }

        boolean isHigh() {
            return ioapic.isEmpty() ? vm.x86().isHigh(PIN) : ioapic.get(0).isHigh(PIN.number());
        }

        /** Takes the interrupt, without an EOI. */
        boolean takes() {
            List<String> taken = new ArrayList<>();
            MessagesWorld.takeFromLapic(vcpu, taken);
            return taken.equals(List.of("0:0x51"));
        }

        VmParts named() {
            VmParts named = new VmParts(vm).vcpu(new VcpuId(0), vcpu).device("nic", function);
            ioapic.forEach(chip -> named.ioapic(chip).pic(new GuestPic()));
            return named;
        }

        @Override
        public void close() {
            parts.close();
        }
    }

    @ParameterizedTest
    @CsvSource({"FAKE, true", "FAKE, false", "REAL, true", "REAL, false"})
    void snapshotKeepsTheLevel(Kernels kernels, boolean inKernel) {
        try (Kernel kernel = kernels.open();
                Guest from = new Guest(kernel, inKernel);
                Guest to = new Guest(kernel, inKernel)) {
            from.function.raiseLine();
            String document = VmSnapshot.take(from.named()).text();
            assertThat(from.isHigh()).as("the saved one goes on").isTrue();
            VmSnapshot.parse(document).restore(to.named());
            assertThat(to.isHigh()).isTrue();
            assertThat(to.vcpu.x86().isRequested(VECTOR)).isFalse();
            if (!inKernel) { // KVM_SET_IRQCHIP would forget the line
                to.unmask();
                assertThat(to.takes()).isTrue();
            }
            to.function.lowerLine();
            assertThat(to.isHigh()).isFalse();
        }
    }

    /** Whether the guest has taken it or not: neither lost nor sent again before the EOI. */
    @ParameterizedTest
    @CsvSource({
        "FAKE, true, true", "FAKE, true, false", "FAKE, false, true", "FAKE, false, false",
        "REAL, true, true", "REAL, true, false", "REAL, false, true", "REAL, false, false"
    })
    void interruptOfAHighLineIsRestoredOnce(Kernels kernels, boolean inKernel, boolean waits) {
        try (Kernel kernel = kernels.open();
                Guest from = new Guest(kernel, inKernel);
                Guest to = new Guest(kernel, inKernel)) {
            from.unmask();
            from.function.hold();
            from.function.raiseLine();
            assertThat(from.vcpu.x86().isRequested(VECTOR)).isFalse();
            if (!waits) {
                from.function.release();
                assertThat(from.vcpu.x86().isRequested(VECTOR)).isTrue();
            }
            VmSnapshot.parse(VmSnapshot.take(from.named()).text()).restore(to.named());
            assertThat(to.isHigh()).isTrue();
            assertThat(to.takes()).isTrue();
            assertThat(to.takes()).as("before its EOI").isFalse();
        }
    }

    @Test
    void stateWithoutALevelIsOfALowLine() {
        try (Kernel kernel = Kernels.FAKE.open();
                Guest guest = new Guest(kernel, true)) {
            guest.function.raiseLine();
            byte[] state = guest.function.state();
            state[GuestConfig.STATE_BYTES + 2] = 0; // the level, in a word of before
            guest.function.restore(state);
            assertThat(guest.isHigh()).isFalse();
        }
    }

    @Test
    void pinIsAmongTheLinesAndSharesItsGsi() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
        FakePciDevice hardware =
                fake.pciDevice("0000:3b:00.0", 7).intx().bar(0, 0x1000).add();
        try (Kernel kernel = fake.open();
                Guest guest = new Guest(kernel, true);
                VfioDevice device = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"));
                Forwarding forwarding = Forwarding.create(guest.vm, device);
                PassedThroughDevice passed = PassedThroughDevice.builder(guest.bus, 2, guest.vm, device, forwarding)
                        .intx(PIN)
                        .build()) {
            guest.unmask();
            assertThat(guest.bus.lines())
                    .containsExactly(new PciHostBridge.Line(1, 0, PIN), new PciHostBridge.Line(2, 0, PIN));
            passed.writeConfig(4, 2, 2);
            guest.function.raiseLine();
            hardware.requestService();
            assertThat(guest.takes()).isTrue();
            guest.function.lowerLine();
            assertThat(guest.vm.x86().ioapic().isHigh(Guest.pin()))
                    .as("the device's")
                    .isTrue();
        }
    }

    @Test
    void mistakesAreOneSentence() {
        try (Kernel kernel = Kernels.FAKE.open();
                Guest full = new Guest(kernel, true);
                Guest split = new Guest(kernel, false)) {
            EmulatedFunction plain = full.parts.add(full.builder(2).build());
            assertThatThrownBy(plain::raiseLine)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("0001:0002 in slot 2 has no interrupt pin: call intx(pin) of its builder");
            full.function.close();
            assertThatThrownBy(full.function::raiseLine).isInstanceOf(ClosedHandleException.class);
            EmulatedFunction.Builder ofSplit = split.builder(2);
            assertThatThrownBy(() -> ofSplit.intx(PIN))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(PIN + " of " + split.vm + " is not a pin of an in-kernel IOAPIC: create the irqchip"
                            + " first, or pass the source of a GuestIoapic: intx(pin, ioapic.source())");
            ofSplit.intx(PIN, split.ioapic.get(0).source());
            assertThatThrownBy(
                            () -> ofSplit.intx(new Gsi(18), split.ioapic.get(0).source()))
                    .hasMessage("INTA# is connected to " + PIN + " already: a function has one pin");
        }
    }

    /** The source of a VMM takes its time: another thread lowers the line, and does not wait. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void lineIsLoweredWhileItIsRaised(boolean again) throws InterruptedException {
        CountDownLatch inside = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        List<Boolean> levels = new ArrayList<>();
        Userspace.Injector source = new Userspace.Injector() {
            @Override
            public void message(MsiMessage message) {}

            @Override
            public void line(Gsi gsi, boolean high) {
                synchronized (levels) {
                    levels.add(high);
                }
                if (high && inside.getCount() > 0) {
                    inside.countDown();
                    Latches.await(goOn);
                }
            }
        };
        try (Kernel kernel = Kernels.FAKE.open();
                Guest guest = new Guest(kernel, false)) {
            EmulatedFunction function =
                    guest.parts.add(guest.builder(2).intx(PIN, source).build());
            Thread raises = new Thread(function::raiseLine);
            raises.start();
            Latches.await(inside);
            function.lowerLine();
            assertThat(levels).containsExactly(true, false);
            if (again) {
                function.raiseLine(); // left to the other thread
            }
            goOn.countDown();
            raises.join();
            assertThat(levels)
                    .as("driven once more, because the order of the calls is not known")
                    .containsExactly(true, false, again);
            function.raiseLine();
            function.close();
            assertThat(levels).endsWith(true, false);
        }
    }

    @Test
    void sourceThatThrowsIsCalledAgainAtTheNextChange() {
        List<Boolean> levels = new ArrayList<>();
        Userspace.Injector source = new Userspace.Injector() {
            @Override
            public void message(MsiMessage message) {}

            @Override
            public void line(Gsi gsi, boolean high) {
                levels.add(high);
                if (levels.size() == 1) {
                    throw new IllegalStateException("not yet");
                }
            }
        };
        try (Kernel kernel = Kernels.FAKE.open();
                Guest guest = new Guest(kernel, false)) {
            EmulatedFunction function =
                    guest.parts.add(guest.builder(2).intx(PIN, source).build());
            assertThatThrownBy(function::raiseLine).hasMessage("not yet");
            function.raiseLine();
            assertThat(levels).containsExactly(true, true);
        }
    }
}
