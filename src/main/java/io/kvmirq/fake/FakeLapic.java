/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Consumer;

/** A local APIC; source: arch/x86/kvm/lapic.c, Intel SDM vol. 3, chapter 11. */
final class FakeLapic {
    static final int SIZE = 1024;

    private static final int ID = 0x20;
    private static final int VERSION = 0x30;
    private static final int TPR = 0x80;
    private static final int PPR = 0xa0;
    private static final int LDR = 0xd0;
    private static final int DFR = 0xe0;
    private static final int SVR = 0xf0;
    private static final int ISR = 0x100;
    private static final int TMR = 0x180;
    private static final int IRR = 0x200;
    private static final int LVT_TIMER = 0x320;
    private static final int LVT_LINT0 = 0x350;
    private static final int LVT_COUNT = 6;
    private static final int LVT_MASKED = 0x10000;
    /** The PIC's interrupts reach the first vCPU. */
    private static final int EXTERNAL = 0x700;

    private static final int SVR_ENABLE = 0x100;
    private static final int KVM_VERSION = 0x50014;
    /** Of the version: the guest may tell the VMM's IOAPIC of ends of interrupts itself. */
    private static final int DIRECTED_EOI = 1 << 24;

    /** Formats of logical ids of xAPIC mode. */
    private static final int FLAT = -1;

    private static final int CLUSTERS = 0x0fffffff;

    static final int FIXED = 0;
    static final int LOWEST_PRIORITY = 1;
    private static final int NMI = 4;
    private static final int INIT = 5;
    private static final int STARTUP = 6;
    private static final int EXTERNAL_MODE = 7;

    private final FakeVm vm;
    private final Lapics all;
    private final int vcpuId;
    private final ByteBuffer registers = ByteBuffer.allocate(SIZE).order(ByteOrder.nativeOrder());
    private final VectorSet requested = new VectorSet(registers, IRR);
    private final VectorSet served = new VectorSet(registers, ISR);
    private final VectorSet levels = new VectorSet(registers, TMR);
    private final HeardEnds ends = new HeardEnds();
    private final VcpuEvents events = new VcpuEvents();
    private boolean x2apicOffered;
    private boolean x2apic;
    /** How many vectors are in service, and the highest, as the kernel remembers them; -1 for having to look. */
    private int inService;

    private int latestInService = -1;

    FakeLapic(FakeVm vm, Lapics all, int vcpuId) {
        this.vm = vm;
        this.all = all;
        this.vcpuId = vcpuId;
        registers.putInt(ID, vcpuId << 24);
        reset();
    }

    /** What power-on and INIT have in common: the ids of x2APIC mode stay. */
    private void reset() {
        int id = registers.getInt(ID);
        int logical = x2apic ? registers.getInt(LDR) : 0;
        for (int i = 0; i < SIZE; i += Integer.BYTES) {
            registers.putInt(i, 0);
        }
        registers.putInt(ID, id).putInt(LDR, logical).putInt(DFR, -1).putInt(SVR, 0xff);
        for (int i = 0; i < LVT_COUNT; i++) {
            registers.putInt(LVT_TIMER + i * 16, LVT_MASKED);
        }
        if (vm.isBootVcpu(vcpuId)) {
            registers.putInt(LVT_LINT0, EXTERNAL);
        }
        putVersion();
        countInService();
    }

    private void countInService() {
        inService = served.count();
        latestInService = -1;
    }

    /** Whether it has an id that long APIC ids do not allow; only before 6.12 it can have got one. */
    boolean hasOtherId() {
        return x2apic && all.hasLongIds() && registers.getInt(ID) != vcpuId;
    }

    /** KVM_GET_LAPIC: the id of x2APIC mode is shown as one of xAPIC mode where ids are not long. */
    ByteBuffer save() {
        ByteBuffer state =
                ByteBuffer.allocate(SIZE).order(ByteOrder.nativeOrder()).put(0, registers, 0, SIZE);
        return x2apic && !all.hasLongIds() ? state.putInt(ID, registers.getInt(ID) << 24) : state;
    }

    /**
     * KVM_SET_LAPIC. The version is the kernel's, the processor priority follows from the rest; but without APICv the
     * kernel notices only afterwards that something is in service now.
     */
    int restore(ByteBuffer state) {
        vm.note(Rule.LAPIC_RESTORED);
        if (x2apic && all.hasLongIds() && state.getInt(ID) != vcpuId) {
            setSpurious(state.getInt(SVR));
            return vm.kernel().refuse(Rule.LAPIC_X2APIC_ID);
        }
        registers.put(0, state, 0, SIZE);
        putVersion();
        if (x2apic) {
            restoreX2apicIds(state.getInt(ID));
        }
        updatePriority();
        countInService();
        vm.restored(this);
        return 0;
    }

    /** As it was saved; 6.12 takes no other than the vCPU's, 6.1 any of 8 bits. */
    private void restoreX2apicIds(int saved) {
        if (vm.kernel().profile().isSince(6, 12)) {
            putX2apicIds(vcpuId);
        } else {
            vm.note(Rule.LAPIC_X2APIC_ID_BEFORE);
            putX2apicIds(all.hasLongIds() ? saved : saved >>> 24);
        }
    }

    private void updatePriority() {
        int task = registers.getInt(TPR) & 0xff;
        int serviced = Math.max(highestInService(), 0) & 0xf0;
        registers.putInt(PPR, (task & 0xf0) >= serviced ? task : serviced);
    }

    private int highestInService() {
        return inService == 0 ? -1 : latestInService >= 0 ? latestInService : served.highest();
    }

    /** CR8, the upper half of the task priority; the lower is lost. */
    int taskPriority() {
        return registers.getInt(TPR) >>> 4 & 0xf;
    }

    void setTaskPriority(int priority) {
        registers.putInt(TPR, (priority & 0xf) << 4);
        updatePriority();
    }

    /** The guest's CPUID has x2APIC or not, which makes a difference where the VMM has the IOAPIC. */
    void offerX2apic(boolean offered) {
        x2apicOffered = offered;
        putVersion();
    }

    private void putVersion() {
        boolean directed = x2apicOffered && all.hasDirectedEoi();
        registers.putInt(VERSION, directed ? KVM_VERSION | DIRECTED_EOI : KVM_VERSION);
    }

    /** MSR 0x1b: the mode bits. */
    void setX2apic(boolean on) {
        if (on == x2apic) {
            return;
        }
        x2apic = on;
        if (on) {
            putX2apicIds(vcpuId);
        }
        all.redrawMap();
    }

    private void putX2apicIds(int id) {
        registers.putInt(ID, id).putInt(LDR, id >>> 4 << 16 | 1 << (id & 0xf));
    }

    void setSpurious(int value) {
        boolean before = enabled();
        registers.putInt(SVR, value);
        if (enabled() != before) {
            all.redrawMap();
        }
    }

    /** What the PIC's interrupts come through. */
    void setLint0(int value) {
        registers.putInt(LVT_LINT0, value);
    }

    boolean isX2apic() {
        return x2apic;
    }

    int logicalId() {
        return registers.getInt(LDR);
    }

    int logicalFormat() {
        return registers.getInt(DFR);
    }

    /** Asked alone; everybody's destination is 0xff, in x2APIC mode unless the quirk that makes it so is off. */
    boolean isFor(int destination, boolean logical, boolean quirk) {
        boolean everybody = x2apic
                ? destination == -1 || quirk && destination == Interrupt.BROADCAST
                : destination == Interrupt.BROADCAST;
        return everybody || (logical ? isLogical(destination) : isPhysical(destination));
    }

    private boolean isLogical(int destination) {
        int id = registers.getInt(LDR);
        if (x2apic) {
            return id >>> 16 == destination >>> 16 && (id & destination & 0xffff) != 0;
        }
        int own = id >>> 24;
        return switch (logicalFormat()) {
            case FLAT -> (own & destination) != 0;
            case CLUSTERS -> own >>> 4 == destination >>> 4 && (own & destination & 0xf) != 0;
            default -> false;
        };
    }

    int vcpuId() {
        return vcpuId;
    }

    private boolean isPhysical(int destination) {
        return id() == destination || vcpuId > 0xff && vcpuId == destination;
    }

    /** The one it is addressed by: of 8 bits but in x2APIC mode. */
    int id() {
        return x2apic ? registers.getInt(ID) : registers.getInt(ID) >>> 24;
    }

    boolean enabled() {
        return (registers.getInt(SVR) & SVR_ENABLE) != 0;
    }

    /** @return whether it was taken */
    boolean accept(Interrupt interrupt, int mode, Consumer<FakeLapic> taker) {
        switch (mode) {
            case FIXED, LOWEST_PRIORITY -> {
                if (!enabled()) {
                    return false;
                }
                vm.note(Rule.LAPIC_ACCEPTS);
                levels.set(interrupt.vector(), interrupt.level());
                requested.set(interrupt.vector(), true);
                taker.accept(this);
                return true;
            }
            case NMI -> {
                events.sendNmi();
                return true;
            }
            case INIT -> {
                events.sendInit();
                return true;
            }
            case STARTUP -> {
                events.sendStartup();
                return true;
            }
            case EXTERNAL_MODE -> {
                return false;
            }
            default -> throw new NotModelledException("interrupt delivery mode " + mode);
        }
    }

    /** Whether a vector is requested or in service. */
    boolean isPending(int vector) {
        return requested.has(vector) || served.has(vector);
    }

    VcpuEvents events() {
        return events;
    }

    /** @return whether INIT has reset the vCPU since it was last asked */
    boolean takeInit() {
        boolean taken = events.takeInit();
        if (taken) {
            vm.note(Rule.INIT_RESETS_LAPIC);
            reset();
            updatePriority();
            all.redrawMap();
        }
        return taken;
    }

    HeardEnds ends() {
        return ends;
    }

    /** Before the guest goes on, if the pins or who they are for have changed. */
    void scanIfWanted() {
        if (ends.beginScan()) {
            vm.scan(this);
        }
    }

    /** The vector to deliver now, moved from request to service; -1 for none. */
    int takeRequest(boolean interruptsOn) {
        updatePriority();
        int vector = requested.highest();
        if (!interruptsOn || vector < 0 || (vector & 0xf0) <= registers.getInt(PPR)) {
            return -1;
        }
        requested.set(vector, false);
        if (!served.has(vector)) {
            served.set(vector, true);
            inService++;
            latestInService = vector;
        }
        updatePriority();
        return vector;
    }

    void endOfInterrupt() {
        int vector = highestInService();
        if (vector < 0) {
            return;
        }
        vm.note(Rule.LAPIC_EOI);
        if (served.has(vector)) {
            served.set(vector, false);
            inService--;
            latestInService = -1;
        }
        updatePriority();
        if (ends.hears(vector)) {
            vm.endOfInterrupt(this, vector, levels.has(vector));
        }
    }
}
