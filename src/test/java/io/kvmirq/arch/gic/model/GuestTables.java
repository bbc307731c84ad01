/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.gic.ItsCommand;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A guest's memory of 1 MiB with the tables of an ITS, and the driver that sends commands. */
final class GuestTables implements GuestRam {
    static final int RING = 0x1_0000;
    static final int DEVICES = 0x2_0000;
    static final int COLLECTIONS = 0x3_0000;
    static final int PROPERTIES = 0x4_0000;
    static final int PENDING = 0x6_0000;
    static final int SIZE = 0x10_0000;
    private static final int RING_SIZE = 0x1000;

    final ByteBuffer memory = ByteBuffer.allocate(SIZE).order(ByteOrder.LITTLE_ENDIAN);
    /** An address that cannot be written. */
    long readOnly = -1;

    private int end;

    @Override
    public boolean read(long address, ByteBuffer to) {
        boolean inside = address >= 0 && address + to.remaining() <= SIZE;
        if (inside) {
            to.put(to.position(), memory, (int) address, to.remaining());
        }
        return inside;
    }

    @Override
    public boolean write(long address, ByteBuffer from) {
        boolean inside = address >= 0 && address + from.remaining() <= SIZE && address != readOnly;
        if (inside) {
            memory.put((int) address, from, from.position(), from.remaining());
        }
        return inside;
    }

    @Override
    public boolean isVisible(long address) {
        return address >= 0 && address < SIZE;
    }

    /** The offset after the last command. */
    int end() {
        return end;
    }

    /** Enables LPIs at each vCPU, and the ITS. */
    void enable(Lpis lpis, int vcpus, EmulatedIts service) {
        for (int vcpu = 0; vcpu < vcpus; vcpu++) {
            lpis.setPropertyBase(vcpu, PROPERTIES | 15);
            lpis.setPendingBase(vcpu, PENDING + vcpu * 0x1_0000L);
            lpis.enable(vcpu, true);
        }
        end = 0;
        service.write(EmulatedIts.CBASER, EmulatedIts.VALID | RING);
        service.write(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | DEVICES);
        service.write(EmulatedIts.BASER_COLLECTIONS, EmulatedIts.VALID | COLLECTIONS);
        service.write(EmulatedIts.CTLR, EmulatedIts.ENABLED);
    }

    /** A value in a field of a command. */
    record With(BitField field, long value) {}

    static With with(BitField field, long value) {
        return new With(field, value);
    }

    void command(EmulatedIts service, ItsCommand command, With... fields) {
        long[] words = new long[ItsCommand.SIZE / Long.BYTES];
        words[0] = ItsCommand.NUMBER.with(command.number());
        for (With field : fields) {
            words[field.field().word()] = field.field().put(words[field.field().word()], field.value());
        }
        command(service, words);
    }

    void command(EmulatedIts service, long[] words) {
        for (int i = 0; i < words.length; i++) {
            memory.putLong(RING + end + i * Long.BYTES, words[i]);
        }
        end = (end + ItsCommand.SIZE) % RING_SIZE;
        service.write(EmulatedIts.CWRITER, end);
    }

    /** The address of a device's table of up to 32 events. */
    static int events(int device) {
        return 0x9_0000 + (device & 0xff) * 0x100;
    }

    void mapDevice(EmulatedIts service, int device, int bits) {
        command(service, ItsCommand.mapDevice(device, bits, events(device)));
    }

    void mapCollection(EmulatedIts service, int collection, int vcpu, boolean valid) {
        command(
                service,
                ItsCommand.MAPC,
                with(ItsCommand.COLLECTION, collection),
                with(ItsCommand.TARGET, vcpu),
                with(ItsCommand.VALID, valid ? 1 : 0));
    }

    void mapEvent(EmulatedIts service, int device, int event, int lpi, int collection) {
        command(service, ItsCommand.mapEvent(device, event, lpi, collection));
    }
}
