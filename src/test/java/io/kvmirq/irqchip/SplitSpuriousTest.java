/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A passed line at an IOAPIC of this process: the loop's thread raises it while the guest ends the last interrupt. */
class SplitSpuriousTest {
    private static final Gsi PIN = new Gsi(11);
    private static final InterruptVector VECTOR = new InterruptVector(0x51);
    private static final int WORD = Uapi.KvmLapicState.IRR + 0x10 * (VECTOR.number() / Integer.SIZE);

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.18"})
    void eachInterruptIsAsserted(String profile) throws InterruptedException {
        run(profile, 500);
    }

    @Tag("long")
    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.18"})
    void eachOfManyInterruptsIsAsserted(String profile) throws InterruptedException {
        run(profile, 20_000);
    }

    private static void run(String profile, int rounds) throws InterruptedException {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        FakePciDevice hardware = fake.pciDevice("0000:3b:00.0", 7).intx().add();
        try (Undo parts = new Undo()) {
            Kernel kernel = parts.add(fake.open());
            Vm vm = parts.add(Vm.create(kernel));
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            GuestIoapic ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            Vcpu vcpu = parts.add(vm.createVcpu(new VcpuId(0)));
            vcpu.x86().enableLapic();
            VfioDevice nic = parts.add(VfioDevice.open(kernel, hardware.address(), parts.add(KvmVfio.create(vm))));
            EventLoop loop = parts.add(EventLoop.create(kernel));
            Forwarding forwarding = parts.add(Forwarding.builder(vm, nic)
                    .userspace(Userspace.of(loop, ioapic.source()))
                    .build());
            forwarding.forward(nic.intx(), PIN);
            ioapic.write(0x00, 4, 0x10 + 2 * PIN.number());
            ioapic.write(0x10, 4, 1 << 15 | VECTOR.number());
            Thread devices = new Thread(loop::run, "devices");
            devices.start();
            int spurious = 0;
            for (int i = 0; i < rounds; i++) {
                hardware.requestService();
                while (!take(vcpu)) {
                    Thread.onSpinWait();
                }
                hardware.serve();
                ioapic.endOfInterrupt(VECTOR);
                while (take(vcpu)) {
                    spurious++;
                    ioapic.endOfInterrupt(VECTOR);
                }
            }
            loop.close();
            devices.join();
            assertThat(spurious + (take(vcpu) ? 1 : 0)).isZero();
            assertThat(fake.lost()).isEmpty();
        }
    }

    private static boolean take(Vcpu vcpu) {
        if (!vcpu.x86().isRequested(VECTOR)) {
            return false;
        }
        X86Lapic lapic = vcpu.x86().lapic();
        lapic.set(WORD, 0);
        vcpu.x86().setLapic(lapic);
        return true;
    }
}
