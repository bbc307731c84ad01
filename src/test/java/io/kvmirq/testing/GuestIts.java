/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static io.kvmirq.arch.gic.model.EmulatedIts.BASER_COLLECTIONS;
import static io.kvmirq.arch.gic.model.EmulatedIts.BASER_DEVICES;
import static io.kvmirq.arch.gic.model.EmulatedIts.CBASER;
import static io.kvmirq.arch.gic.model.EmulatedIts.CTLR;
import static io.kvmirq.arch.gic.model.EmulatedIts.CWRITER;
import static io.kvmirq.arch.gic.model.EmulatedIts.ENABLED;
import static io.kvmirq.arch.gic.model.EmulatedIts.VALID;

import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.function.IntConsumer;

/**
 * A VGICv3 with an ITS, set up through registers and tables as a guest's driver does it. No guest runs. The events of one
 * device go to the vCPUs in turn. For one thread.
 *
 * <p>Source: GIC architecture (IHI 0069), 5.3 (commands), 12.11 (GICR) and 12.19 (GITS).
 */
public final class GuestIts {
    /** Events of the device. */
    public static final int EVENTS = 256;
    /** The device as the guest's ITS knows it. */
    public static final int DEVICE = 0x10;

    /** The address of the ITS's registers. */
    public static final long ITS = 0x808_0000L;

    private static final long DISTRIBUTOR = 0x800_0000L;
    private static final long REDISTRIBUTORS = 0x80a_0000L;
    private static final long MEMORY = 0x4000_0000L;
    private static final int TABLE = 0x1_0000;
    private static final int PROPERTIES = 0;
    private static final int DEVICES = TABLE;
    private static final int COLLECTIONS = 2 * TABLE;
    private static final int RING = 3 * TABLE;
    private static final int EVENT_TABLE = 4 * TABLE;
    /** One for each vCPU. */
    private static final int PENDING = 5 * TABLE;

    private static final int RING_PAGES = 16;
    private static final int NUMBER_BITS = 14;
    private static final int EVENT_BITS = 8;
    /** Enabled, with priority 0xa0. */
    private static final byte PROPERTY = (byte) 0xa1;

    private final VgicV3 vgic;
    private final Its its;
    private final GuestMemory ram;
    private final Mapping memory;
    private final int vcpus;
    private int end;

    /** The ITS of a VM whose vCPUs have ids from 0 on and are initialized. New parts are added to {@code made}. */
    public GuestIts(Vm vm, int vcpus, Undo made) {
        this(vm, made, vcpus);
        programme();
    }

    /** The devices are made, and no driver has programmed them. */
    private GuestIts(Vm vm, Undo made, int vcpus) {
        this.vcpus = vcpus;
        vgic = made.add(vm.arm64().createVgicV3());
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        its = made.add(vm.arm64().createIts());
        its.setAddress(ITS);
        vgic.init();
        its.init();
        ram = made.add(vm.addMemory(MEMORY, PENDING + vcpus * TABLE));
        memory = ram.mapping();
    }

    /** As the constructor, for {@link #copyMemory} and a snapshot: no driver has programmed the devices. */
    public static GuestIts toRestore(Vm vm, int vcpus, Undo made) {
        return new GuestIts(vm, made, vcpus);
    }

    private void programme() {
        GuestGic.enable(vgic);
        for (int i = 0; i < vcpus; i++) {
            VcpuId vcpu = new VcpuId(i);
            GuestGic.enable(vgic, vcpu);
            GuestGic.write(vgic, vcpu, RedistributorRegister.GICR_PROPBASER, MEMORY + PROPERTIES | NUMBER_BITS - 1);
            GuestGic.write(vgic, vcpu, RedistributorRegister.GICR_PENDBASER, MEMORY + pending(i));
            vgic.writeRedistributor(vcpu, RedistributorRegister.GICR_CTLR.offset(), 1);
        }
        its.writeRegister(BASER_DEVICES, VALID | MEMORY + DEVICES);
        its.writeRegister(BASER_COLLECTIONS, VALID | MEMORY + COLLECTIONS);
        its.writeRegister(CBASER, VALID | MEMORY + RING | RING_PAGES - 1);
        its.writeRegister(CTLR, ENABLED);
        for (int i = 0; i < vcpus; i++) {
            send(ItsCommand.mapCollection(i, i));
        }
        send(ItsCommand.mapDevice(DEVICE, EVENT_BITS, MEMORY + EVENT_TABLE));
    }

    private static int pending(int vcpu) {
        return PENDING + vcpu * TABLE;
    }

    private void send(long... words) {
        memory.put(RING + end, ItsCommand.bytes(words));
        end = (end + ItsCommand.SIZE) % TABLE;
        its.writeRegister(CWRITER, end);
    }

    /** The guest of another VM goes on in this one: its memory, and so its tables, are here after it was saved. */
    public void copyMemory(GuestIts from) {
        ByteBuffer contents = ByteBuffer.allocate(PENDING + vcpus * TABLE);
        from.memory.get(0, contents);
        memory.put(0, contents.array());
        end = from.end;
    }

    /** The VGIC. */
    public VgicV3 vgic() {
        return vgic;
    }

    public Its its() {
        return its;
    }

    /** The memory that has the tables. */
    public GuestMemory memory() {
        return ram;
    }

    /** The 8 bytes of an event that KVM writes in the table of the device. */
    public byte[] eventEntry(int event) {
        ByteBuffer entry = ByteBuffer.allocate(Long.BYTES);
        memory.get(EVENT_TABLE + event * Long.BYTES, entry);
        return entry.array();
    }

    public void setEventEntry(int event, byte[] entry) {
        memory.put(EVENT_TABLE + event * Long.BYTES, entry);
    }

    /** The interrupt of an event. */
    public static int lpi(int event) {
        return InterruptId.FIRST_LPI + event;
    }

    /** The message of an event. */
    public static MsiMessage message(int event) {
        return MsiMessage.toIts(ITS, DEVICE, event);
    }

    /** Makes an event an interrupt: the vCPUs get the events in turn. */
    public void map(int event) {
        map(event, event % vcpus);
    }

    public void map(int event, int vcpu) {
        memory.putByte(PROPERTIES + event, PROPERTY);
        send(ItsCommand.mapEvent(DEVICE, event, lpi(event), vcpu));
    }

    /** Maps event 0 of another device, whose table of events is at an address of its own. */
    public void mapDevice(int device, long events) {
        send(ItsCommand.mapDevice(device, EVENT_BITS, events));
        send(ItsCommand.mapEvent(device, 0, lpi(0), 0));
    }

    /** MOVI: the event goes to another vCPU. */
    public void move(int event, int vcpu) {
        long[] words = ItsCommand.MOVI.ofEvent(DEVICE, event);
        words[ItsCommand.COLLECTION.word()] = ItsCommand.COLLECTION.put(words[ItsCommand.COLLECTION.word()], vcpu);
        send(words);
    }

    /** Disables the LPI of an event. */
    public void disable(int event) {
        memory.putByte(PROPERTIES + event, (byte) (PROPERTY & ~1));
        send(ItsCommand.INV.ofEvent(DEVICE, event));
    }

    public void discard(int event) {
        send(ItsCommand.DISCARD.ofEvent(DEVICE, event));
    }

    /** Takes all that is pending, as the VGIC writes it into the tables that a VMM saves. */
    public void take(IntConsumer taken) {
        vgic.savePendingTables();
        for (int event = 0; event < EVENTS; event++) {
            int lpi = lpi(event);
            byte bits = memory.getByte(pending(event % vcpus) + lpi / Byte.SIZE);
            if ((bits >>> lpi % Byte.SIZE & 1) == 1) {
                taken.accept(event);
                send(ItsCommand.CLEAR.ofEvent(DEVICE, event));
            }
        }
    }
}
