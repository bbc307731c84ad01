/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The interrupts of a LAPIC's timer: arch/x86/kvm/lapic.c. */
@Contract
class LapicTimerContract extends KernelSuite {
    private static final int TIMER = 0x320;
    private static final int INITIAL_COUNT = 0x380;
    private static final int CURRENT_COUNT = 0x390;
    private static final int MASKED = 1 << 16;
    private static final int PERIODIC = 1 << 17;
    private static final int OTHER_VECTOR = 0x32;
    private static final int OTHER_HANDLED = 0x86;
    /** In units of 2 ns: a tenth of a second, and a millisecond. */
    private static final int LONG = 50_000_000;

    private static final int SHORT = 500_000;

    private int vm;
    private RealModeGuest guest;

    @BeforeEach
    void setUp() {
        vm = world.splitVm();
        guest = RealModeGuest.answering(world, vm);
        guest.handle(OTHER_VECTOR, asm("out 0x86, al; iret"));
    }

    private ByteBuffer lapic() {
        return world.lapic(guest.vcpu());
    }

    private void set(int entry, int initial, int current) {
        ByteBuffer lapic =
                lapic().putInt(TIMER, entry).putInt(INITIAL_COUNT, initial).putInt(CURRENT_COUNT, current);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_SET_LAPIC, lapic));
    }

    private void awaitEnd() {
        World.eventually("the timer ends", () -> lapic().getInt(CURRENT_COUNT) == 0);
    }

    @Test
    void oneShotTimerInterruptsTheGuest() {
        set(VECTOR, LONG, SHORT);
        guest.answer();
        assertThat(lapic().getInt(CURRENT_COUNT)).isZero();
        assertThat(lapic().getInt(INITIAL_COUNT)).isEqualTo(LONG);
    }

    @Test
    void periodicTimerInterruptsAgain() {
        set(VECTOR | PERIODIC, SHORT, SHORT / 2);
        for (int i = 0; i < 5; i++) {
            guest.answer();
        }
    }

    /** Only a vCPU that runs takes it. */
    @Test
    void endIsNoRequestUntilTheVcpuRuns() {
        set(VECTOR, SHORT, SHORT);
        awaitEnd();
        assertThat(world.requested(guest.vcpu(), VECTOR)).isFalse();
        guest.answer();
    }

    @Test
    void maskedTimerDoesNotInterrupt() {
        set(OTHER_VECTOR | MASKED, SHORT, SHORT);
        awaitEnd();
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 0, 0)).isOne();
        guest.answer();
        set(OTHER_VECTOR, SHORT, SHORT);
        guest.runTo(OTHER_HANDLED);
    }

    /** What KVM_SET_LAPIC sets takes the place of an end that the guest has not seen. */
    @Test
    void endIsForgottenWithItsTimer() {
        set(OTHER_VECTOR, SHORT, SHORT);
        awaitEnd();
        set(OTHER_VECTOR, Integer.MAX_VALUE, Integer.MAX_VALUE);
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 0, 0)).isOne();
        guest.answer();
    }

    /** {@code wrmsr} of divider, entry and initial count; the guest halts. */
    @Test
    void guestSetsItsTimer() {
        int own = world.splitVm();
        String divider = asm("mov ecx, 0x83e; mov eax, 0x3; xor edx, edx; wrmsr");
        String entry = asm("mov ecx, 0x832; mov eax, 0x32; wrmsr");
        String count = asm("mov ecx, 0x838; mov eax, 0x2710; wrmsr");
        guest = new RealModeGuest(
                world,
                own,
                RealModeGuest.LAPIC_ON + divider + entry + count + asm("out 0x82, al; sti; idle: hlt; jmp idle"));
        guest.handle(OTHER_VECTOR, asm("out 0x86, al; iret"));
        guest.runTo(RealModeGuest.READY);
        assertThat(lapic().getInt(INITIAL_COUNT)).isEqualTo(10_000);
        assertThat(lapic().getInt(0x3e0)).isEqualTo(3);
        assertThat(lapic().getInt(TIMER)).isEqualTo(OTHER_VECTOR);
        guest.runTo(OTHER_HANDLED);
        assertThat(lapic().getInt(CURRENT_COUNT)).isZero();
    }
}
