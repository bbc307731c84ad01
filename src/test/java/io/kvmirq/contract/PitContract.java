/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmPitChannelState;
import io.kvmirq.uapi.Uapi.KvmPitState2;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The ticks that {@code X86Vm.createPit}, {@code restore(X86Pit)} and {@code reinjectPit} are for: arch/x86/kvm/i8254.c. */
@Contract
class PitContract extends KernelSuite {
    private static final int TICK = 0x30;
    private static final int OTHER = 0x31;
    private static final int TICKED = 0x85;
    private static final int TICK_ENDED = 0x86;
    /** In units of 838 ns: a millisecond. */
    private static final int SHORT = 1193;
    /** An interrupt controller's pin that a BIOS gives the timer. */
    private static final int PIN = 2;

    /** Vectors from 0x30 on, pins 0 and 1 unmasked; {@code sti; hlt} for ever. */
    private static final String WITH_PIC =
            asm("mov al, 0x11; out 0x20, al; mov al, 0x30; out 0x21, al; mov al, 0x4; out 0x21, al; "
                    + "mov al, 0x1; out 0x21, al; mov al, 0xfc; out 0x21, al; out 0x82, al; sti; "
                    + "idle: hlt; jmp idle");

    private static final String END_OF_INTERRUPT = asm("mov al, 0x20; out 0x20, al");

    private int vm;

    @BeforeEach
    void setUp() {
        vm = world.fullVm();
        assertOk(libc.ioctl(vm, Uapi.KVM_CREATE_PIT2, Buffers.allocate(Uapi.KvmPitConfig.SIZE)));
    }

    private RealModeGuest guestWithPic() {
        RealModeGuest guest = new RealModeGuest(world, vm, WITH_PIC);
        guest.handle(TICK, asm("out 0x85, al") + END_OF_INTERRUPT + asm("out 0x86, al; iret"));
        guest.handle(OTHER, asm("out 0x87, al; iret"));
        guest.runTo(RealModeGuest.READY);
        return guest;
    }

    private void start(int mode, int flags) {
        ByteBuffer state = Buffers.allocate(KvmPitState2.SIZE);
        assertOk(libc.ioctl(vm, Uapi.KVM_GET_PIT2, state));
        state.put(KvmPitChannelState.MODE, (byte) mode)
                .putInt(KvmPitChannelState.COUNT, SHORT)
                .putInt(KvmPitState2.FLAGS, flags);
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_PIT2, state));
        assertOk(libc.ioctl(vm, Uapi.KVM_GET_PIT2, state));
        assertThat(state.get(KvmPitChannelState.MODE)).isEqualTo((byte) mode);
        assertThat(state.getInt(KvmPitChannelState.COUNT)).isEqualTo(SHORT);
    }

    private void setReinjecting(int reinjects) {
        assertOk(libc.ioctl(
                vm,
                Uapi.KVM_REINJECT_CONTROL,
                Buffers.allocate(Uapi.KvmReinjectControl.SIZE)
                        .put(Uapi.KvmReinjectControl.PIT_REINJECT, (byte) reinjects)));
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void periodicChannelTicksAgain(int mode) {
        RealModeGuest guest = guestWithPic();
        start(mode, 0);
        for (int i = 0; i < 5; i++) {
            guest.runTo(TICKED);
            guest.runTo(TICK_ENDED);
        }
    }

    /** As a VMM routes GSI 0. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1})
    void ticksGoThroughTheIoapicToo(int reinjects) {
        assertOk(world.setPinRoutes(vm, new World.PinRoute(0, IOAPIC, PIN, 0)));
        setReinjecting(reinjects);
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        world.redirect(vm, PIN, VECTOR);
        start(2, 0);
        for (int i = 0; i < 5; i++) {
            guest.answer();
        }
    }
}
