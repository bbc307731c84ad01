/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

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
import io.kvmirq.mirror.Event;
import java.util.List;

/**
 * Programs an ITS and the LPIs of a vCPU, as a guest's driver does, with tables in guest memory. For one thread.
 *
 * <p>Source: GIC architecture (IHI 0069), 5.3 (commands), 12.11 (GICR) and 12.19 (GITS).
 */
final class ItsDriver {
    /** Where the guest sees the ITS. */
    static final long ITS = 0x808_0000L;
    /** How the guest knows the device: its table of devices has 512 entries. */
    static final int DEVICE = 0x10;

    static final String NO_ITS = "KVM on this host does not support a guest ITS, which device messages need";
    /** Bytes of guest memory that the tables need. */
    static final int MEMORY = 0x6_0000;

    private static final int PROPERTIES = 0;
    private static final int PENDING = 0x1_0000;
    private static final int DEVICES = 0x2_0000;
    private static final int COLLECTIONS = 0x3_0000;
    private static final int COMMANDS = 0x4_0000;
    private static final int EVENTS = 0x5_0000;

    private static final int COMMAND_PAGES = 16;
    private static final int NUMBER_BITS = 14;
    /** Enabled, with priority 0xa0. */
    private static final byte PROPERTY = (byte) 0xa1;

    /** As many events as MSI-X has vectors. */
    private static final int EVENT_BITS = 11;

    private static final int QUEUE = COMMAND_PAGES * 0x1000;

    private final VgicV3 vgic;
    private final Its service;
    private final long base;
    private final Mapping memory;
    private final int at;
    private int end;

    /**
     * An ITS whose tables lie in a part of guest memory.
     *
     * @param base the guest-physical address of {@code memory}
     * @param at where the part begins in it
     */
    ItsDriver(VgicV3 vgic, Its service, long base, int at, GuestMemory memory) {
        this.vgic = vgic;
        this.service = service;
        this.base = base + at;
        this.at = at;
        this.memory = memory.mapping();
    }

    void enable(VcpuId vcpu) {
        writeWide(vcpu, RedistributorRegister.GICR_PROPBASER, base + PROPERTIES | NUMBER_BITS - 1);
        writeWide(vcpu, RedistributorRegister.GICR_PENDBASER, base + PENDING);
        vgic.writeRedistributor(vcpu, RedistributorRegister.GICR_CTLR.offset(), 1);
        service.writeRegister(BASER_DEVICES, VALID | base + DEVICES);
        service.writeRegister(BASER_COLLECTIONS, VALID | base + COLLECTIONS);
        service.writeRegister(CBASER, VALID | base + COMMANDS | COMMAND_PAGES - 1);
        service.writeRegister(CTLR, ENABLED);
    }

    private void writeWide(VcpuId vcpu, RedistributorRegister register, long value) {
        vgic.writeRedistributor(vcpu, register.offset(), (int) value);
        vgic.writeRedistributor(vcpu, register.offset() + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    /** Lets the device send events; all go to the vCPU with index 0. */
    void mapDevice() {
        send(ItsCommand.mapCollection(0, 0));
        send(ItsCommand.mapDevice(DEVICE, EVENT_BITS, base + EVENTS));
    }

    void mapEvent(int event, int lpi) {
        memory.putByte(at + PROPERTIES + lpi - InterruptId.FIRST_LPI, PROPERTY);
        send(ItsCommand.mapEvent(DEVICE, event, lpi, 0));
    }

    /** The message by which the device sends an event. */
    static MsiMessage message(int event) {
        return MsiMessage.toIts(ITS, DEVICE, event);
    }

    /** The events that tell a mirror of {@link #mapEvent}. */
    static List<Event> mapped(int event, int lpi) {
        return List.of(new Event.ItsAdded(ITS), new Event.EventMapped(ITS, DEVICE, event, lpi, Board.VCPU));
    }

    private void send(long... words) {
        memory.put(at + COMMANDS + end, ItsCommand.bytes(words));
        end = (end + ItsCommand.SIZE) % QUEUE;
        service.writeRegister(CWRITER, end);
    }

    /** Whether an LPI is pending: the VGIC writes the table that a VMM saves. */
    boolean isPending(int lpi) {
        vgic.savePendingTables();
        return (memory.getByte(at + PENDING + lpi / Byte.SIZE) >>> lpi % Byte.SIZE & 1) == 1;
    }
}
