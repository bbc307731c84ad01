/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;

/**
 * A copy of an i8254 timer's state, read by {@link X86Vm#pit} and written by {@link X86Vm#setPit}. Not thread-safe.
 *
 * <p>Source: {@code struct kvm_pit_state2} in asm/kvm.h; 8254 datasheet.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="pit"}
 */
public final class X86Pit extends X86Fields<X86Pit.Name, X86Pit> {
    /** A field of one of the three channels. */
    public enum Name {
        /** Start value of channel 0's counter, 1 to 65536. */
        COUNT_0(0, Uapi.KvmPitChannelState.COUNT, Integer.BYTES),
        /** Mode of channel 0, 0 to 5; 0xff, in which the channel does not tick, until the guest sets a mode. */
        MODE_0(0, Uapi.KvmPitChannelState.MODE, Byte.BYTES),
        /** Whether channel 0 counts. */
        GATE_0(0, Uapi.KvmPitChannelState.GATE, Byte.BYTES),
        /**
         * The host time at which channel 0 began to count. {@link X86Vm#setPit} ignores it and restarts the channel.
         */
        LOADED_0(0, Uapi.KvmPitChannelState.COUNT_LOAD_TIME, Long.BYTES),
        /** Start value of channel 1's counter, 1 to 65536. */
        COUNT_1(1, Uapi.KvmPitChannelState.COUNT, Integer.BYTES),
        /** Mode of channel 1, 0 to 5; 0xff, in which the channel does not tick, until the guest sets a mode. */
        MODE_1(1, Uapi.KvmPitChannelState.MODE, Byte.BYTES),
        /** Whether channel 1 counts. */
        GATE_1(1, Uapi.KvmPitChannelState.GATE, Byte.BYTES),
        /**
         * The host time at which channel 1 began to count. {@link X86Vm#setPit} ignores it and restarts the channel.
         */
        LOADED_1(1, Uapi.KvmPitChannelState.COUNT_LOAD_TIME, Long.BYTES),
        /** Start value of channel 2's counter, 1 to 65536. */
        COUNT_2(2, Uapi.KvmPitChannelState.COUNT, Integer.BYTES),
        /** Mode of channel 2, 0 to 5; 0xff, in which the channel does not tick, until the guest sets a mode. */
        MODE_2(2, Uapi.KvmPitChannelState.MODE, Byte.BYTES),
        /** Whether channel 2 counts. */
        GATE_2(2, Uapi.KvmPitChannelState.GATE, Byte.BYTES),
        /**
         * The host time at which channel 2 began to count. {@link X86Vm#setPit} ignores it and restarts the channel.
         */
        LOADED_2(2, Uapi.KvmPitChannelState.COUNT_LOAD_TIME, Long.BYTES);

        private final int offset;
        private final int bytes;

        Name(int channel, int offset, int bytes) {
            this.offset = Uapi.KvmPitState2.CHANNELS + channel * Uapi.KvmPitChannelState.SIZE + offset;
            this.bytes = bytes;
        }
    }

    X86Pit() {
        super(Uapi.KvmPitState2.SIZE, Name.class, name -> name.offset, name -> name.bytes);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static X86Pit fromBytes(byte[] bytes) {
        return load(new X86Pit(), bytes);
    }
}
