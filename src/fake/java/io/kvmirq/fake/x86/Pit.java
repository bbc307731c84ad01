/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.uapi.Uapi.KvmPitChannelState;
import io.kvmirq.uapi.Uapi.KvmPitState2;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Consumer;

/**
 * The timer (PIT) of a VM: its channels as a VMM sets them, and whether it reinjects missed ticks. Neither ticks nor a
 * guest's access to its ports are modelled. Source: {@code pit_load_count()}, {@code kvm_pit_set_reinject()} and {@code
 * pit_in_range()} in arch/x86/kvm/i8254.c.
 */
final class Pit {
    private static final int FIRST_PORT = 0x40;
    private static final int COMMAND_PORT = 0x43;
    private static final int SPEAKER_PORT = 0x61;

    private static final int CHANNELS = 3;
    private static final int SPEAKER_CHANNEL = 2;
    /** The mode of a channel before the guest programs it, in which it does not tick. */
    private static final int NO_MODE = 0xff;

    private static final int LAST_TICKING_MODE = 4;
    /** KVM_PIT_FLAGS_HPET_LEGACY. */
    private static final int REPLACED = 1;

    private static final int WHOLE_COUNT = 0x10000;

    private final FakeTime time;
    private final boolean speaker;
    private final Consumer<Boolean> whenReinjecting;
    private final ByteBuffer state = ByteBuffer.allocate(KvmPitState2.SIZE).order(ByteOrder.nativeOrder());
    private boolean reinjects;

    /** KVM_CREATE_PIT2. {@code speaker}: the PIT also handles the speaker's port. */
    Pit(FakeTime time, boolean speaker, Consumer<Boolean> whenReinjecting) {
        this.time = time;
        this.speaker = speaker;
        this.whenReinjecting = whenReinjecting;
        for (int channel = 0; channel < CHANNELS; channel++) {
            state.put(at(channel) + KvmPitChannelState.MODE, (byte) NO_MODE)
                    .put(at(channel) + KvmPitChannelState.GATE, (byte) (channel == SPEAKER_CHANNEL ? 0 : 1));
            load(channel);
        }
        setReinjecting(true);
    }

    private static int at(int channel) {
        return KvmPitState2.CHANNELS + channel * KvmPitChannelState.SIZE;
    }

    /** Loads the count of a channel: 0 stands for the largest. */
    private void load(int channel) {
        int at = at(channel) + KvmPitChannelState.COUNT;
        state.putInt(at, state.getInt(at) == 0 ? WHOLE_COUNT : state.getInt(at));
        if (channel > 0) {
            state.putLong(at(channel) + KvmPitChannelState.COUNT_LOAD_TIME, time.now());
        }
    }

    void save(ByteBuffer to) {
        to.put(0, state, 0, state.capacity());
    }

    /** KVM_SET_PIT2. */
    void restore(ByteBuffer from) {
        state.put(0, from, 0, KvmPitState2.FLAGS + Integer.BYTES);
        for (int channel = 0; channel < CHANNELS; channel++) {
            load(channel);
        }
    }

    /** @throws NotModelledException before a run, if channel 0 would pulse its GSI */
    void checkModelled() {
        boolean ticks = (state.get(at(0) + KvmPitChannelState.MODE) & 0xff) <= LAST_TICKING_MODE;
        if (ticks && (state.getInt(KvmPitState2.FLAGS) & REPLACED) == 0) {
            throw new NotModelledException("running a guest whose timer (PIT) ticks");
        }
    }

    /** KVM_REINJECT_CONTROL: sets whether missed ticks are injected later. */
    void setReinjecting(boolean on) {
        if (on != reinjects) {
            reinjects = on;
            whenReinjecting.accept(on);
        }
    }

    /** Whether the timer handles an access of the guest. */
    boolean has(int port, int size) {
        return port >= FIRST_PORT && port + size <= COMMAND_PORT + 1 || speaker && port == SPEAKER_PORT;
    }
}
