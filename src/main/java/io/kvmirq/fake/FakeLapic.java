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

    static final int FIXED = 0;
    static final int LOWEST_PRIORITY = 1;
    private static final int NMI = 4;

    private final FakeVm vm;
    private final int vcpuId;
    private final ByteBuffer registers = ByteBuffer.allocate(SIZE).order(ByteOrder.nativeOrder());
    private boolean x2apic;
    private boolean nmiPending;

    FakeLapic(FakeVm vm, int vcpuId) {
        this.vm = vm;
        this.vcpuId = vcpuId;
        registers
                .putInt(ID, vcpuId << 24)
                .putInt(VERSION, KVM_VERSION)
                .putInt(DFR, -1)
                .putInt(SVR, 0xff);
        for (int i = 0; i < LVT_COUNT; i++) {
            registers.putInt(LVT_TIMER + i * 16, LVT_MASKED);
        }
        if (vm.isBootVcpu(vcpuId)) {
            registers.putInt(LVT_LINT0, EXTERNAL);
        }
    }

    ByteBuffer registers() {
        return registers;
    }

    /**
     * KVM_SET_LAPIC. The version is the kernel's, the processor priority follows from the rest; but without APICv the
     * kernel notices only afterwards that something is in service now.
     */
    void restore(ByteBuffer state) {
        vm.note(Rule.LAPIC_RESTORED);
        boolean noticed = highest(ISR) >= 0;
        registers.put(0, state, 0, SIZE);
        registers.putInt(VERSION, KVM_VERSION);
        updatePriority(noticed ? highest(ISR) : 0);
        vm.restored(this);
    }

    private void updatePriority(int serviced) {
        int task = registers.getInt(TPR) & 0xff;
        int inService = Math.max(serviced, 0) & 0xf0;
        registers.putInt(PPR, (task & 0xf0) >= inService ? task : inService);
    }

    /** MSR 0x1b: the mode bits. */
    void setX2apic(boolean on) {
        x2apic = on;
        if (on) {
            registers.putInt(ID, vcpuId).putInt(LDR, vcpuId >>> 4 << 16 | 1 << (vcpuId & 0xf));
        }
        vm.redrawMap();
    }

    void setSpurious(int value) {
        registers.putInt(SVR, value);
        vm.redrawMap();
    }

    int vcpuId() {
        return vcpuId;
    }

    boolean isPhysical(int destination) {
        return id() == destination || vcpuId > 0xff && vcpuId == destination;
    }

    /** The one it is addressed by: of 8 bits but in x2APIC mode. */
    int id() {
        return x2apic ? vcpuId : registers.getInt(ID) >>> 24;
    }

    boolean enabled() {
        return (registers.getInt(SVR) & SVR_ENABLE) != 0;
    }

    private int word(int array, int vector) {
        return array + vector / 32 * 16;
    }

    private boolean get(int array, int vector) {
        return (registers.getInt(word(array, vector)) >>> vector % 32 & 1) == 1;
    }

    private void set(int array, int vector, boolean on) {
        int at = word(array, vector);
        int bit = 1 << vector % 32;
        registers.putInt(at, on ? registers.getInt(at) | bit : registers.getInt(at) & ~bit);
    }

    /** @return whether it was taken */
    boolean accept(Interrupt interrupt, int mode, Consumer<FakeLapic> taker) {
        switch (mode) {
            case FIXED, LOWEST_PRIORITY -> {
                if (!enabled()) {
                    return false;
                }
                vm.note(Rule.LAPIC_ACCEPTS);
                set(TMR, interrupt.vector(), interrupt.level());
                set(IRR, interrupt.vector(), true);
                taker.accept(this);
                return true;
            }
            case NMI -> {
                nmiPending = true;
                return true;
            }
            default -> throw new NotModelledException("interrupt delivery mode " + mode);
        }
    }

    /** Whether a vector is requested or in service. */
    boolean isPending(int vector) {
        return get(IRR, vector) || get(ISR, vector);
    }

    boolean takeNmi() {
        boolean taken = nmiPending;
        nmiPending = false;
        return taken;
    }

    private int highest(int array) {
        for (int vector = 255; vector >= 0; vector--) {
            if (get(array, vector)) {
                return vector;
            }
        }
        return -1;
    }

    /** The vector to deliver now, moved from request to service; -1 for none. */
    int takeRequest() {
        int vector = highest(IRR);
        if (!enabled() || vector < 0 || vector >>> 4 <= highest(ISR) >>> 4 && highest(ISR) >= 0) {
            return -1;
        }
        set(IRR, vector, false);
        set(ISR, vector, true);
        updatePriority(vector);
        return vector;
    }

    void endOfInterrupt() {
        int vector = highest(ISR);
        if (vector < 0) {
            return;
        }
        vm.note(Rule.LAPIC_EOI);
        set(ISR, vector, false);
        updatePriority(highest(ISR));
        vm.ended(this);
        if (get(TMR, vector)) {
            vm.endOfInterrupt(vector);
        }
    }
}
