/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.uapi.Uapi.KvmPitChannelState;
import io.kvmirq.uapi.Uapi.KvmPitState2;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The three channels of a VM's timer (PIT). Guests program them by ports 0x40 to 0x43 and the speaker's port. Source:
 * {@code pit_ioport_write()}, {@code pit_ioport_read()} and {@code speaker_ioport_read()} in arch/x86/kvm/i8254.c.
 */
final class PitChannels {
    private static final int FIRST_PORT = 0x40;
    private static final int COMMAND_PORT = 0x43;
    private static final int SPEAKER_PORT = 0x61;

    private static final int CHANNELS = 3;
    private static final int SPEAKER_CHANNEL = 2;
    /** The mode of a channel before the guest programs it, in which it does not tick. */
    private static final int NO_MODE = 0xff;

    private static final int ONE_SHOT = 1;
    private static final int RATE = 2;
    private static final int SQUARE_WAVE = 3;
    private static final int SOFTWARE_STROBE = 4;
    private static final int HARDWARE_STROBE = 5;

    /** The access state of a channel: high byte, or both with the high byte next; any other value is the low byte. */
    private static final int HIGH = 2;

    private static final int BOTH = 3;
    private static final int SECOND = 4;

    /** KVM_PIT_FLAGS_HPET_LEGACY and KVM_PIT_FLAGS_SPEAKER_DATA_ON. */
    private static final int REPLACED = 1;

    private static final int SPEAKER_ON = 2;

    private static final int WHOLE_COUNT = 0x10000;
    private static final int BYTE = 0xff;
    private static final long FREQUENCY = 1_193_182;
    private static final long SECOND_NANOS = 1_000_000_000;
    /** The period of the refresh clock in the speaker's port, as a power of two in nanoseconds. */
    private static final int REFRESH = 14;

    private final X86Vm vm;
    private final PitTimer timer;
    private final FakeTime time;
    private final ByteBuffer state = ByteBuffer.allocate(KvmPitState2.SIZE).order(ByteOrder.nativeOrder());

    PitChannels(X86Vm vm, PitTimer timer) {
        this.vm = vm;
        this.timer = timer;
        this.time = vm.host().time();
    }

    /** Resets the channels as the timer is created. */
    void reset() {
        for (int channel = 0; channel < CHANNELS; channel++) {
            put(channel, KvmPitChannelState.MODE, NO_MODE);
            put(channel, KvmPitChannelState.GATE, channel == SPEAKER_CHANNEL ? 0 : 1);
            load(channel, 0);
        }
    }

    void save(ByteBuffer to) {
        to.put(0, state, 0, state.capacity());
    }

    /** KVM_SET_PIT2. A timer that an HPET replaces continues unchanged. */
    void restore(ByteBuffer from) {
        boolean replaced = (from.getInt(KvmPitState2.FLAGS) & ~flags() & REPLACED) != 0;
        state.put(0, from, 0, KvmPitState2.FLAGS + Integer.BYTES);
        if (replaced) {
            timer.stop();
        }
        for (int channel = replaced ? 1 : 0; channel < CHANNELS; channel++) {
            load(channel, count(channel));
        }
        if (replaced && count(0) == 0) {
            state.putInt(KvmPitChannelState.COUNT, WHOLE_COUNT);
        }
    }

    private static int at(int channel) {
        return KvmPitState2.CHANNELS + channel * KvmPitChannelState.SIZE;
    }

    private int get(int channel, int field) {
        return state.get(at(channel) + field) & BYTE;
    }

    private void put(int channel, int field, int value) {
        state.put(at(channel) + field, (byte) value);
    }

    private int flags() {
        return state.getInt(KvmPitState2.FLAGS);
    }

    private int count(int channel) {
        return state.getInt(at(channel) + KvmPitChannelState.COUNT);
    }

    /** Loads a count. The timer of channel 0 keeps its time. */
    private void load(int channel, int from) {
        state.putInt(at(channel) + KvmPitChannelState.COUNT, from == 0 ? WHOLE_COUNT : from);
        if (channel > 0) {
            state.putLong(at(channel) + KvmPitChannelState.COUNT_LOAD_TIME, time.now());
            return;
        }
        int mode = get(0, KvmPitChannelState.MODE);
        if (mode > SOFTWARE_STROBE) {
            timer.stop();
        } else if (vm.irqchip() == X86Vm.Irqchip.FULL && (flags() & REPLACED) == 0) {
            timer.start(count(0), mode == RATE || mode == SQUARE_WAVE);
        }
    }

    // Progress of a count

    /** The cycles since a channel's count was loaded. */
    private long elapsed(int channel) {
        long nanos = channel == 0
                ? timer.elapsed()
                : time.now() - state.getLong(at(channel) + KvmPitChannelState.COUNT_LOAD_TIME);
        return nanos / SECOND_NANOS * FREQUENCY + nanos % SECOND_NANOS * FREQUENCY / SECOND_NANOS;
    }

    private int current(int channel) {
        long elapsed = elapsed(channel);
        long count = Integer.toUnsignedLong(count(channel));
        return (int)
                switch (get(channel, KvmPitChannelState.MODE)) {
                    case 0, ONE_SHOT, SOFTWARE_STROBE, HARDWARE_STROBE -> count - elapsed & 0xffff;
                    case SQUARE_WAVE -> count - 2 * elapsed % count;
                    default -> count - elapsed % count;
                };
    }

    private boolean isOutputHigh(int channel) {
        long elapsed = elapsed(channel);
        long count = Integer.toUnsignedLong(count(channel));
        return switch (get(channel, KvmPitChannelState.MODE)) {
            case ONE_SHOT -> elapsed < count;
            case RATE -> elapsed % count == 0 && elapsed != 0;
            case SQUARE_WAVE -> elapsed % count < count + 1 >> 1;
            case SOFTWARE_STROBE, HARDWARE_STROBE -> elapsed == count;
            default -> elapsed >= count;
        };
    }

    // Ports

    /** Whether the timer handles an access. */
    boolean has(int port, int size) {
        boolean isChannel = port >= FIRST_PORT && port + size <= COMMAND_PORT + 1;
        return vm.hasPit() && (isChannel || vm.hasSpeaker() && port == SPEAKER_PORT);
    }

    /** Writes to a port. Only the lowest byte of a wide access counts. */
    void write(int port, int wide) {
        vm.note(ChipAnswer.PIT_PORTS);
        int value = wide & BYTE;
        if (port == SPEAKER_PORT) {
            writeSpeaker(value);
        } else if (port != COMMAND_PORT) {
            writeCount(port - FIRST_PORT, value);
        } else if (value >> 6 == CHANNELS) {
            readBack(value);
        } else {
            writeCommand(value >> 6, value);
        }
    }

    private void readBack(int value) {
        for (int channel = 0; channel < CHANNELS; channel++) {
            if ((value & 2 << channel) != 0) {
                if ((value & 0x20) == 0) {
                    latchCount(channel);
                }
                if ((value & 0x10) == 0) {
                    latchStatus(channel);
                }
            }
        }
    }

    private void writeCommand(int channel, int value) {
        int access = value >> 4 & BOTH;
        if (access == 0) {
            latchCount(channel);
            return;
        }
        int mode = value >> 1 & 7;
        put(channel, KvmPitChannelState.RW_MODE, access);
        put(channel, KvmPitChannelState.READ_STATE, access);
        put(channel, KvmPitChannelState.WRITE_STATE, access);
        put(channel, KvmPitChannelState.MODE, mode > HARDWARE_STROBE ? mode - 4 : mode);
        put(channel, KvmPitChannelState.BCD, value & 1);
    }

    private void latchCount(int channel) {
        if (get(channel, KvmPitChannelState.COUNT_LATCHED) == 0) {
            state.putShort(at(channel) + KvmPitChannelState.LATCHED_COUNT, (short) current(channel));
            put(channel, KvmPitChannelState.COUNT_LATCHED, get(channel, KvmPitChannelState.RW_MODE));
        }
    }

    private void latchStatus(int channel) {
        if (get(channel, KvmPitChannelState.STATUS_LATCHED) == 0) {
            int status = (isOutputHigh(channel) ? 1 : 0) << 7
                    | get(channel, KvmPitChannelState.RW_MODE) << 4
                    | get(channel, KvmPitChannelState.MODE) << 1
                    | get(channel, KvmPitChannelState.BCD);
            put(channel, KvmPitChannelState.STATUS, status);
            put(channel, KvmPitChannelState.STATUS_LATCHED, 1);
        }
    }

    private void writeCount(int channel, int value) {
        switch (get(channel, KvmPitChannelState.WRITE_STATE)) {
            case HIGH -> load(channel, value << Byte.SIZE);
            case BOTH -> {
                put(channel, KvmPitChannelState.WRITE_LATCH, value);
                put(channel, KvmPitChannelState.WRITE_STATE, SECOND);
            }
            case SECOND -> {
                load(channel, get(channel, KvmPitChannelState.WRITE_LATCH) | value << Byte.SIZE);
                put(channel, KvmPitChannelState.WRITE_STATE, BOTH);
            }
            default -> load(channel, value);
        }
    }

    private void writeSpeaker(int value) {
        state.putInt(KvmPitState2.FLAGS, flags() & ~SPEAKER_ON | value & SPEAKER_ON);
        int mode = get(SPEAKER_CHANNEL, KvmPitChannelState.MODE);
        boolean restarts = mode == ONE_SHOT || mode == RATE || mode == SQUARE_WAVE || mode == HARDWARE_STROBE;
        if (restarts && get(SPEAKER_CHANNEL, KvmPitChannelState.GATE) < (value & 1)) {
            state.putLong(at(SPEAKER_CHANNEL) + KvmPitChannelState.COUNT_LOAD_TIME, time.now());
        }
        put(SPEAKER_CHANNEL, KvmPitChannelState.GATE, value & 1);
    }

    /** @param before the guest's register, which a read of the command port leaves unchanged */
    int read(int port, int before) {
        if (port == COMMAND_PORT && vm.host().build().pvm()) {
            throw new NotModelledException("a guest of a kvm_pvm that reads its timer's port of commands");
        }
        vm.note(ChipAnswer.PIT_PORTS);
        if (port == SPEAKER_PORT) {
            return flags() & SPEAKER_ON
                    | get(SPEAKER_CHANNEL, KvmPitChannelState.GATE)
                    | (isOutputHigh(SPEAKER_CHANNEL) ? 1 : 0) << 5
                    | (int) (time.now() >>> REFRESH & 1) << 4;
        }
        return port == COMMAND_PORT ? before : readChannel(port - FIRST_PORT);
    }

    private int readChannel(int channel) {
        if (get(channel, KvmPitChannelState.STATUS_LATCHED) != 0) {
            put(channel, KvmPitChannelState.STATUS_LATCHED, 0);
            return get(channel, KvmPitChannelState.STATUS);
        }
        int latched = get(channel, KvmPitChannelState.COUNT_LATCHED);
        if (latched != 0) {
            int count = Short.toUnsignedInt(state.getShort(at(channel) + KvmPitChannelState.LATCHED_COUNT));
            put(channel, KvmPitChannelState.COUNT_LATCHED, latched == BOTH ? HIGH : 0);
            return latched == HIGH ? count >> Byte.SIZE : count & BYTE;
        }
        int count = current(channel);
        return switch (get(channel, KvmPitChannelState.READ_STATE)) {
            case HIGH -> count >> Byte.SIZE & BYTE;
            case BOTH -> {
                put(channel, KvmPitChannelState.READ_STATE, SECOND);
                yield count & BYTE;
            }
            case SECOND -> {
                put(channel, KvmPitChannelState.READ_STATE, BOTH);
                yield count >> Byte.SIZE & BYTE;
            }
            default -> count & BYTE;
        };
    }
}
