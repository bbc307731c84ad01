/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.uapi.Uapi.KvmPitChannelState;
import io.kvmirq.uapi.Uapi.KvmPitState2;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.BooleanSupplier;

/**
 * The three channels of a VM's timer (PIT), as a VMM sets them. A guest's access to their ports is not modelled. Source:
 * {@code pit_load_count()} and {@code pit_in_range()} in arch/x86/kvm/i8254.c.
 */
final class PitChannels {
    private static final int FIRST_PORT = 0x40;
    private static final int COMMAND_PORT = 0x43;
    private static final int SPEAKER_PORT = 0x61;

    private static final int CHANNELS = 3;
    private static final int SPEAKER_CHANNEL = 2;
    /** The mode of a channel before the guest programs it, in which it does not tick. */
    private static final int NO_MODE = 0xff;

    private static final int RATE = 2;
    private static final int SQUARE_WAVE = 3;
    private static final int SOFTWARE_STROBE = 4;
    /** KVM_PIT_FLAGS_HPET_LEGACY. */
    private static final int REPLACED = 1;

    private static final int WHOLE_COUNT = 0x10000;
    private static final int BYTE = 0xff;

    private final BooleanSupplier ticks;
    private final PitTimer timer;
    private final FakeTime time;
    private final ByteBuffer state = ByteBuffer.allocate(KvmPitState2.SIZE).order(ByteOrder.nativeOrder());

    /** @param ticks whether the VM has the irqchip that takes ticks */
    PitChannels(FakeTime time, BooleanSupplier ticks, PitTimer timer) {
        this.time = time;
        this.ticks = ticks;
        this.timer = timer;
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
        } else if (ticks.getAsBoolean() && (flags() & REPLACED) == 0) {
            timer.start(count(0), mode == RATE || mode == SQUARE_WAVE);
        }
    }

    /** Whether a created timer handles an access of the guest; {@code speaker}: also of the speaker's port. */
    static boolean has(int port, int size, boolean speaker) {
        return port >= FIRST_PORT && port + size <= COMMAND_PORT + 1 || speaker && port == SPEAKER_PORT;
    }
}
