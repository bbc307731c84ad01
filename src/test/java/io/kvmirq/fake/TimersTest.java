/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.NotModelledException;
import io.kvmirq.VcpuId;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Pit;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The timers of a VM, in virtual time. */
class TimersTest {
    private static final int VECTOR = 0x31;
    private static final int READY = 0x82;
    private static final int HANDLED = 0x86;
    private static final int AGAIN = 2;
    /** In units of 2 ns: 200 us. */
    private static final int LEAST_PERIOD = 100_000;

    private final FakeKernel fake = FakeKernel.inVirtualTime(Profile.V6_18);
    private final Undo made = new Undo();
    private final Vm vm = Vm.create(made.add(fake.open()));

    @AfterEach
    void close() {
        made.close();
    }

    private int timers() {
        return fake.time().locked(() -> fake.time().timers());
    }

    /** A VMM that restores a guest sets its timer; nothing would tick in the fake. */
    @Test
    void guestWhosePitTicksDoesNotRun() {
        vm.x86().createIrqchip();
        vm.x86().createPit();
        vm.x86().setPit(vm.x86().pit().set(X86Pit.Name.MODE_0, AGAIN).set(X86Pit.Name.COUNT_0, 1193));
        Vcpu vcpu = made.add(vm.createVcpu(new VcpuId(0)));
        assertThatThrownBy(vcpu::run)
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model running a guest whose timer (PIT) ticks");
        vm.close();
    }

    @Test
    void vcpuEndsTheTimerOfItsLapic() {
        vm.x86().createSplitIrqchip(0);
        Vcpu vcpu = vm.createVcpu(new VcpuId(0));
        vcpu.x86()
                .setLapic(vcpu.x86()
                        .lapic()
                        .set(X86Lapic.Name.LVT_TIMER, VECTOR)
                        .set(X86Lapic.Name.TIMER_INITIAL, Integer.MAX_VALUE)
                        .set(X86Lapic.Name.TIMER_CURRENT, Integer.MAX_VALUE));
        assertThat(timers()).isOne();
        vcpu.close();
        assertThat(timers()).isZero();
        vm.close();
    }

    /** A one-shot timer of 100 ns that becomes periodic before it ends. */
    @Test
    void timerThatBecomesPeriodicHasTheLeastPeriod() {
        vm.x86().createSplitIrqchip(0);
        AssembledGuest guest = new AssembledGuest(
                vm,
                GuestAssembler.LAPIC_ON
                        + "mov ecx, 0x832; mov eax, 0x31; wrmsr;" // one shot
                        + "mov ecx, 0x838; mov eax, 0x32; wrmsr;" // the count
                        + "mov ecx, 0x832; mov eax, 0x20031; wrmsr;" // periodic
                        + "out 0x82, al; sti; idle: hlt; jmp idle");
        Vcpu vcpu = made.add(guest.handle(VECTOR, "out 0x86, al; iret")).vcpu;
        vcpu.x86().useHostCpuid();
        assertThat(vcpu.run().port()).isEqualTo(READY);
        fake.pass(Duration.ofNanos(100));
        assertThat(vcpu.run().port()).isEqualTo(HANDLED);
        fake.pass(Duration.ofNanos(1000));
        assertThat(vcpu.x86().lapic().get(X86Lapic.Name.TIMER_CURRENT)).isEqualTo(LEAST_PERIOD - 500);
        fake.pass(Duration.ofNanos(2 * LEAST_PERIOD)); // a tick that the vCPU has not taken
        assertThat(vcpu.x86().lapic().get(X86Lapic.Name.TIMER_CURRENT)).isEqualTo(LEAST_PERIOD - 500);
        vm.close();
    }
}
