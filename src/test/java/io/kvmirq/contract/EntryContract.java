/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Events that a VMM injects although the guest blocks them. Intel's processors refuse to enter the guest: {@code
 * vmx_handle_exit()} in arch/x86/kvm/vmx/vmx.c. AMD's inject them.
 */
@ContractPerVendor
class EntryContract extends KernelSuite {
    private static final int HANDLED = 0x85;
    private static final int VECTOR = 9;
    private static final int INTERRUPT_FLAG = 0x200;
    private static final int NO_FLAG = 2;
    private static final long INVALID_GUEST_STATE = 0x80000021L;
    private static final int NONE = 0;
    private static final int MOV_SS = 1;
    private static final int STI = 2;

    @SuppressWarnings("NullAway.Init")
    private RealModeGuest guest;

    @BeforeEach
    void setUp() {
        guest = new RealModeGuest(world, world.bareVm(), asm("nop; nop; out 0x82, al; hlt"));
        guest.handle(VECTOR, asm("out 0x85, al; iret"));
        guest.handle(2, asm("out 0x85, al; iret"));
    }

    private ByteBuffer events() {
        ByteBuffer events = Buffers.allocate(KvmVcpuEvents.SIZE);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_GET_VCPU_EVENTS, events));
        return events;
    }

    private void set(ByteBuffer events, int shadow) {
        events.put(KvmVcpuEvents.INTERRUPT_SHADOW, (byte) shadow);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_SET_VCPU_EVENTS, events));
    }

    private void setFlags(int flags) {
        ByteBuffer registers = Buffers.allocate(Uapi.KvmRegs.SIZE);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_GET_REGS, registers));
        registers.putLong(Uapi.KvmRegs.RFLAGS, flags);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_SET_REGS, registers));
    }

    private void assertEntryFails() {
        guest.run(Uapi.KVM_EXIT_FAIL_ENTRY);
        assertThat(guest.failure()).as("hardware reason").isEqualTo(INVALID_GUEST_STATE);
    }

    /** Until the guest is let in, each run fails. */
    @ParameterizedTest
    @CsvSource({NO_FLAG + "," + NONE, NO_FLAG + "," + MOV_SS, INTERRUPT_FLAG + "," + MOV_SS, INTERRUPT_FLAG + "," + STI
    })
    void interruptThatTheGuestBlocksStaysInjected(int flags, int shadow) {
        setFlags(flags);
        ByteBuffer injected =
                events().put(KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 1).put(KvmVcpuEvents.INTERRUPT_NR, (byte) VECTOR);
        set(injected, shadow);
        if (world.isIntel()) {
            assertEntryFails();
            assertThat(events().get(KvmVcpuEvents.INTERRUPT_INJECTED)).isOne();
            assertEntryFails();
            setFlags(INTERRUPT_FLAG);
            set(events(), NONE);
        }
        guest.runTo(HANDLED);
        assertThat(events().get(KvmVcpuEvents.INTERRUPT_INJECTED)).isZero();
        guest.runTo(RealModeGuest.READY);
    }

    @Test
    void nmiInTheShadowOfMovSsStaysInjected() {
        set(events().put(KvmVcpuEvents.NMI_INJECTED, (byte) 1), MOV_SS);
        if (world.isIntel()) {
            assertEntryFails();
            assertThat(events().get(KvmVcpuEvents.NMI_INJECTED)).isOne();
            set(events(), NONE);
        }
        guest.runTo(HANDLED);
        assertThat(events().get(KvmVcpuEvents.NMI_INJECTED)).isZero();
    }

    @Test
    void shadowOfStiNeedsTheFlag() {
        set(events(), STI);
        if (world.isIntel()) {
            assertEntryFails();
            setFlags(INTERRUPT_FLAG);
        }
        guest.runTo(RealModeGuest.READY);
    }
}
