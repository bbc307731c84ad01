/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.vfio.PciConfig;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The configuration space behind the guest's view: a device's, or an emulated function's memory. */
interface ConfigSource {
    /** Reads 1, 2 or 4 bytes at a multiple of the size, zero-extended. */
    int read(int at, int size);

    void write(int at, int size, int value);

    default int getByte(int at) {
        return read(at, Byte.BYTES);
    }

    default int getShort(int at) {
        return read(at, Short.BYTES);
    }

    default int getInt(int at) {
        return read(at, Integer.BYTES);
    }

    default void putShort(int at, int value) {
        write(at, Short.BYTES, value);
    }

    static ConfigSource of(PciConfig device) {
        return new ConfigSource() {
            @Override
            public int read(int at, int size) {
                return switch (size) {
                    case Byte.BYTES -> device.getByte(at);
                    case Short.BYTES -> device.getShort(at);
                    default -> device.getInt(at);
                };
            }

            @Override
            public void write(int at, int size, int value) {
                switch (size) {
                    case Byte.BYTES -> device.putByte(at, value);
                    case Short.BYTES -> device.putShort(at, value);
                    default -> device.putInt(at, value);
                }
            }
        };
    }

    /** Constant registers: a write has no effect. */
    static ConfigSource of(byte[] registers) {
        ByteBuffer image = ByteBuffer.wrap(registers).order(ByteOrder.LITTLE_ENDIAN);
        return new ConfigSource() {
            @Override
            public int read(int at, int size) {
                return switch (size) {
                    case Byte.BYTES -> image.get(at) & 0xff;
                    case Short.BYTES -> image.getShort(at) & 0xffff;
                    default -> image.getInt(at);
                };
            }

            @Override
            public void write(int at, int size, int value) {}
        };
    }
}
