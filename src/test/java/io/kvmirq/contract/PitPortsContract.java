/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmPitChannelState;
import io.kvmirq.uapi.Uapi.KvmPitState2;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A guest that programs the timer in the kernel by its ports: arch/x86/kvm/i8254.c. */
@Contract
class PitPortsContract extends KernelSuite {
    private static final int COMMAND = 0x43;
    private static final int TICK = 0x30;
    private static final int TICKED = 0x85;
    private static final int TICK_ENDED = 0x86;
    private static final String END_OF_INTERRUPT = "b020e620";
    /** Vectors from 0x30 on, pins 0 and 1 unmasked. */
    private static final String PIC = "b011e620" + "b030e621" + "b004e621" + "b001e621" + "b0fce621";

    private static final int SPEAKER_ON = 2;

    private int vm;

    @BeforeEach
    void setUp() {
        vm = world.fullVm();
        createPit(Uapi.KVM_PIT_SPEAKER_DUMMY);
    }

    private void createPit(int flags) {
        ByteBuffer config = Buffers.allocate(Uapi.KvmPitConfig.SIZE).putInt(Uapi.KvmPitConfig.FLAGS, flags);
        assertOk(libc.ioctl(vm, Uapi.KVM_CREATE_PIT2, config));
    }

    private static String hex(int value) {
        return HexFormat.of().toHexDigits((byte) value);
    }

    private static String out(int port, int value) {
        return "b0" + hex(value) + "e6" + hex(port);
    }

    /** Reads a port and writes what it read to the VMM. */
    private static String in(int port) {
        return "e4" + hex(port) + "e690";
    }

    private RealModeGuest run(String code) {
        return new RealModeGuest(world, vm, code + "e682");
    }

    private RealModeGuest runToEnd(String code) {
        RealModeGuest guest = run(code);
        guest.runTo(RealModeGuest.READY);
        return guest;
    }

    private int read(RealModeGuest guest) {
        guest.runTo(0x90);
        return guest.written();
    }

    private ByteBuffer state() {
        ByteBuffer state = Buffers.allocate(KvmPitState2.SIZE);
        assertOk(libc.ioctl(vm, Uapi.KVM_GET_PIT2, state));
        return state;
    }

    private static int at(int channel) {
        return KvmPitState2.CHANNELS + channel * KvmPitChannelState.SIZE;
    }

    private static void assertField(ByteBuffer state, int channel, int field, int value) {
        assertThat(state.get(at(channel) + field) & 0xff)
                .as("channel %d, offset %d", channel, field)
                .isEqualTo(value);
    }

    // What a VMM sees of a command

    @ParameterizedTest
    @CsvSource({"0, 0x34, 3, 2, 0", "1, 0x54, 1, 2, 0", "2, 0xa7, 2, 3, 1", "0, 0x3e, 3, 3, 0", "2, 0xbc, 3, 2, 0"})
    void commandIsKept(int channel, String command, int access, int mode, int decimal) {
        runToEnd(out(COMMAND, Integer.decode(command)));
        ByteBuffer state = state();
        assertField(state, channel, KvmPitChannelState.RW_MODE, access);
        assertField(state, channel, KvmPitChannelState.READ_STATE, access);
        assertField(state, channel, KvmPitChannelState.WRITE_STATE, access);
        assertField(state, channel, KvmPitChannelState.MODE, mode);
        assertField(state, channel, KvmPitChannelState.BCD, decimal);
    }

    private int count(int channel) {
        return state().getInt(at(channel) + KvmPitChannelState.COUNT);
    }

    @Test
    void countIsLoadedByBytesAsTheCommandSays() {
        runToEnd(out(COMMAND, 0xb0) + out(0x42, 0x34));
        ByteBuffer half = state();
        assertField(half, 2, KvmPitChannelState.WRITE_LATCH, 0x34);
        assertField(half, 2, KvmPitChannelState.WRITE_STATE, 4);
        assertThat(count(2)).as("not loaded yet").isEqualTo(0x10000);
    }

    @ParameterizedTest
    @CsvSource({
        "b0b0e643 b034e642 b012e642, 0x1234",
        "b090e643 b034e642, 0x34",
        "b0a0e643 b012e642, 0x1200",
        "b090e643 b000e642, 0x10000",
        "b0b0e643 b8cdab e742 e742, 0xcdcd",
        "b034e642, 0x34"
    })
    void countIs(String code, String count) {
        runToEnd(code.replace(" ", ""));
        assertThat(count(2)).isEqualTo(Integer.decode(count));
    }

    /** Of two bytes at the last port nothing is the timer's. */
    @Test
    void accessBeyondTheLastPortLeaves() {
        RealModeGuest guest = run("b8b000e743");
        guest.runTo(COMMAND);
        assertField(state(), 2, KvmPitChannelState.MODE, 0xff);
    }

    // What a guest reads

    @Test
    void latchedCountIsReadOnceAndStandsStill() {
        RealModeGuest guest =
                run(out(COMMAND, 0xb4) + out(0x42, 0xff) + out(0x42, 0xff) + out(COMMAND, 0x80) + in(0x42) + in(0x42));
        guest.runTo(0x90);
        int low = guest.written();
        int latched = state().getShort(at(2) + KvmPitChannelState.LATCHED_COUNT) & 0xffff;
        assertField(state(), 2, KvmPitChannelState.COUNT_LATCHED, 2);
        assertThat(low).isEqualTo(latched & 0xff);
        guest.runTo(0x90);
        assertThat(guest.written()).isEqualTo(latched >> 8);
        assertField(state(), 2, KvmPitChannelState.COUNT_LATCHED, 0);
        guest.runTo(RealModeGuest.READY);
    }

    @Test
    void secondLatchKeepsTheFirst() {
        String latch = out(COMMAND, 0x80) + "e682";
        RealModeGuest guest = run(out(COMMAND, 0xb4) + out(0x42, 0xff) + out(0x42, 0xff) + latch + latch);
        guest.runTo(RealModeGuest.READY);
        short latched = state().getShort(at(2) + KvmPitChannelState.LATCHED_COUNT);
        guest.runTo(RealModeGuest.READY);
        assertField(state(), 2, KvmPitChannelState.COUNT_LATCHED, 3);
        assertThat(state().getShort(at(2) + KvmPitChannelState.LATCHED_COUNT)).isEqualTo(latched);
    }

    /** A count of 1 in the modes 2 and 3 is always the whole count. */
    @ParameterizedTest
    @ValueSource(ints = {0x94, 0x96})
    void countOfOneStands(int command) {
        RealModeGuest guest = run(out(COMMAND, command) + out(0x42, 1) + in(0x42) + in(0x42));
        assertThat(read(guest)).isOne();
        assertThat(read(guest)).isOne();
    }

    @Test
    void twoBytesAreReadInTurn() {
        RealModeGuest guest = run(out(COMMAND, 0xb4) + out(0x42, 1) + out(0x42, 0) + in(0x42) + in(0x42) + in(0x42));
        assertThat(read(guest)).isOne();
        assertField(state(), 2, KvmPitChannelState.READ_STATE, 4);
        assertThat(read(guest)).isZero();
        assertField(state(), 2, KvmPitChannelState.READ_STATE, 3);
        assertThat(read(guest)).isOne();
    }

    /** Bit 7 is the output. */
    @Test
    void statusIsReadBeforeTheLatchedCount() {
        RealModeGuest guest = run(out(COMMAND, 0x90)
                + out(0x42, 1)
                + out(COMMAND, 0xc8)
                + in(0x42)
                + in(0x42)
                + out(COMMAND, 0xe8)
                + in(0x42));
        assertThat(read(guest) & 0x7f).isEqualTo(0x10);
        assertField(state(), 2, KvmPitChannelState.STATUS_LATCHED, 0);
        int latched = state().getShort(at(2) + KvmPitChannelState.LATCHED_COUNT) & 0xff;
        assertThat(read(guest)).isEqualTo(latched);
        assertThat(read(guest) & 0x7f).as("the status alone").isEqualTo(0x10);
        assertField(state(), 2, KvmPitChannelState.COUNT_LATCHED, 0);
    }

    /** The kernel gives no value. Where it emulates real mode, it is that of the last IN. */
    @Test
    void commandPortLeavesTheRegister() {
        assumeFalse(world.isPvm(), "a kvm_pvm emulates the instruction");
        assertThat(read(run("b0aa" + in(COMMAND)))).isEqualTo(0xaa);
    }

    /** Zero-extended. */
    @Test
    void wideReadHasOneByte() {
        RealModeGuest guest = run(out(COMMAND, 0x94) + out(0x42, 1) + "b8ffff" + "e542" + "e690" + "88e0e690");
        assertThat(read(guest)).isOne();
        assertThat(read(guest)).isZero();
    }

    @Test
    void countGoesDown() {
        RealModeGuest guest = run(
                out(COMMAND, 0x70) + out(0x41, 0) + out(0x41, 0) + "e682" + out(COMMAND, 0x40) + in(0x41) + in(0x41));
        guest.runTo(RealModeGuest.READY);
        int low = read(guest);
        int count = read(guest) << 8 | low;
        assertThat(count).as("of 65536").isPositive();
    }

    // The speaker's port

    @Test
    void speakerGatesChannel2() {
        RealModeGuest guest = run(out(0x61, 3) + in(0x61) + out(0x61, 2) + in(0x61) + out(0x61, 1) + in(0x61));
        assertThat(read(guest) & 3).isEqualTo(3);
        assertField(state(), 2, KvmPitChannelState.GATE, 1);
        assertThat(state().getInt(KvmPitState2.FLAGS)).isEqualTo(SPEAKER_ON);
        assertThat(read(guest) & 3).isEqualTo(2);
        assertField(state(), 2, KvmPitChannelState.GATE, 0);
        assertThat(read(guest) & 3).isOne();
        assertThat(state().getInt(KvmPitState2.FLAGS)).isZero();
    }

    /** As Linux measures its TSC: mode 0 is started by the count, and ends. */
    @Test
    void outputOfChannel2IsSeenAtTheSpeaker() {
        // in $0x61, %al; and $0x20, %al; jz back
        runToEnd(out(0x61, 1) + out(COMMAND, 0xb0) + out(0x42, 0xff) + out(0x42, 1) + "e461242074fa");
    }

    @Test
    void speakerWithoutItsFlagLeaves() {
        vm = world.fullVm();
        createPit(0);
        run(out(0x61, 3)).runTo(0x61);
    }

    @Test
    void portsBehindTheSpeakerLeave() {
        run(out(0x62, 3)).runTo(0x62);
    }

    // Ticks

    @ParameterizedTest
    @ValueSource(ints = {0x34, 0x36})
    void channel0TicksAsTheGuestSays(int command) {
        RealModeGuest guest = new RealModeGuest(
                world, vm, PIC + out(COMMAND, command) + out(0x40, 0xa9) + out(0x40, 4) + "e682fbf4ebfd");
        guest.handle(TICK, "e685" + END_OF_INTERRUPT + "e686cf");
        guest.runTo(RealModeGuest.READY);
        for (int i = 0; i < 5; i++) {
            guest.runTo(TICKED);
            guest.runTo(TICK_ENDED);
        }
    }

    /** The command alone does not stop a channel that ticks. */
    @Test
    void channel0TicksOnceInMode0() {
        RealModeGuest guest = new RealModeGuest(
                world,
                vm,
                PIC + out(COMMAND, 0x30) + out(0x40, 0xa9) + out(0x40, 4) + "e682fbf4" + "fa" + out(0x40, 0xa9)
                        + out(0x40, 4) + "fbf4e683");
        guest.handle(TICK, "e685" + END_OF_INTERRUPT + "e686cf");
        guest.runTo(RealModeGuest.READY);
        for (int i = 0; i < 2; i++) {
            guest.runTo(TICKED);
            guest.runTo(TICK_ENDED);
        }
        guest.runTo(0x83);
    }
}
