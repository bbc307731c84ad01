/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakePlatformDevice;

/** The actions of a device's hardware. */
public interface Hardware {
    /** Sends the message of a vector. */
    void send(int vector);

    /** Requests service through the interrupt pin, until {@link #serve}. */
    void request();

    void serve();

    /** After the device was made bus master. */
    default void start() {}

    /**
     * Whether it must be reset before its interrupts are disabled. QEMU's e1000e counts 128 us from each message, and
     * QEMU aborts if MSI-X is off at their end; a reset stops that.
     */
    default boolean isCounting() {
        return false;
    }

    /** Hardware of a fake kernel. */
    static Hardware of(FakePciDevice device) {
        return new Hardware() {
            @Override
            public void send(int vector) {
                device.sendMessage(vector);
            }

            @Override
            public void request() {
                device.requestService();
            }

            @Override
            public void serve() {
                device.serve();
            }
        };
    }

    /** A platform device of a fake kernel: a level at index 0, and edges at other indexes. */
    static Hardware of(FakePlatformDevice device) {
        return new Hardware() {
            @Override
            public void send(int index) {
                device.pulse(index);
            }

            @Override
            public void request() {
                device.requestService(0);
            }

            @Override
            public void serve() {
                device.serve(0);
            }
        };
    }

    /** Registers at the start of BAR 0. */
    interface Registers {
        void write(int at, int value);

        /** By VFIO's region 0, which is at offset 0. */
        static Registers of(Libc libc, int device) {
            return (at, value) -> assertThat(
                            libc.pwrite(device, Buffers.allocate(Integer.BYTES).putInt(0, value), at))
                    .as("bytes written to BAR 0")
                    .isEqualTo(Integer.BYTES);
        }
    }

    /** QEMU's edu: sends its one message, or drives its pin, while an interrupt status is set. */
    static Hardware edu(Registers registers) {
        final int raise = 0x60;
        final int acknowledge = 0x64;
        return new Hardware() {
            @Override
            public void send(int vector) {
                request();
                serve();
            }

            @Override
            public void request() {
                registers.write(raise, 1);
            }

            @Override
            public void serve() {
                registers.write(acknowledge, 1);
            }
        };
    }

    /** QEMU's e1000e: each of its 5 causes is assigned the vector of its number. */
    static Hardware e1000e(Registers registers) {
        final int cause = 0xc0;
        final int causeSet = 0xc8;
        final int maskSet = 0xd0;
        final int allocation = 0xe4;
        final int allVectors = 0x01f00000;
        final int firstVector = 20;
        final int linkChange = 4;
        return new Hardware() {
            private boolean counting;

            @Override
            public boolean isCounting() {
                return counting;
            }

            @Override
            public void start() {
                registers.write(allocation, 0x000cba98);
            }

            /** A cause is cleared and unmasked first: the device masks it with each message. */
            @Override
            public void send(int vector) {
                counting = true;
                int bit = 1 << firstVector + vector;
                registers.write(cause, bit);
                registers.write(maskSet, allVectors);
                registers.write(causeSet, bit);
            }

            @Override
            public void request() {
                registers.write(maskSet, linkChange);
                registers.write(causeSet, linkChange);
            }

            @Override
            public void serve() {
                registers.write(cause, -1);
            }
        };
    }
}
