/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.LocalApic;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Ledger;
import io.kvmirq.fake.posting.PostingVcpu;
import io.kvmirq.fake.posting.VirtualLapic;
import io.kvmirq.fake.x86.cpu.GuestCpuid;
import io.kvmirq.fake.x86.cpu.VcpuEvents;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A local APIC; source: arch/x86/kvm/lapic.c, Intel SDM vol. 3, chapter 11. */
final class FakeLapic implements LocalApic, VirtualLapic {
    static final int SIZE = Uapi.KvmLapicState.SIZE;

    private static final int KVM_VERSION = 0x50014;
    /** The bit position of an xAPIC id in the registers ID and LDR. */
    private static final int XAPIC_ID = LapicPage.XAPIC_ID.low();

    /** The offset of ICR2, the upper half of ICR as a separate register. */
    private static final int SECOND_COMMAND_AT = LapicPage.ICR_AT + LapicPage.STRIDE;
    /** The offset of the upper half of a 64-bit ICR. */
    private static final int UPPER_COMMAND_AT = LapicPage.ICR_AT + Integer.BYTES;

    // Fields of ICR, Intel SDM vol. 3, figure 12-28
    private static final int COMMAND_LOGICAL = 1 << 11;
    private static final int COMMAND_BUSY = 1 << 12;
    private static final int COMMAND_ASSERT = 1 << 14;
    /** The position of the shorthand: none, self, all, or all but self. */
    private static final int COMMAND_SHORTHAND = 18;

    private static final int COMMAND_RESERVED = 1 << 13 | 3 << 16 | 0xfff << 20;

    private static final int SPURIOUS = 0xff;
    /** The trigger mode of an entry of the local vector table. */
    private static final int LEVEL = 1 << 15;
    /** The number of 32-bit registers of ISR, TMR and IRR. */
    private static final int VECTOR_REGISTERS = 24;

    private static final List<Integer> CLEARED = List.of(
            LapicPage.TPR_AT,
            LapicPage.PPR_AT,
            LapicPage.ESR_AT,
            LapicPage.ICR_AT,
            LapicPage.INITIAL_COUNT_AT,
            LapicPage.DIVIDER_AT);

    private final X86Vm vm;
    private final FakeLapics all;
    private final int vcpuId;
    private final ByteBuffer registers = ByteBuffer.allocate(SIZE).order(ByteOrder.nativeOrder());
    private final VectorSet requested = new VectorSet(registers, LapicPage.IRR_AT);
    private final VectorSet served = new VectorSet(registers, LapicPage.ISR_AT);
    private final VectorSet levels = new VectorSet(registers, LapicPage.TMR_AT);
    private final EoiExitBitmap eoiExitBitmap = new EoiExitBitmap();
    /** Whether Intel's APICv was on at the vCPU's last entry. */
    private boolean wasVirtual = true;

    private final VcpuEvents events;
    /** The hardware state of the vCPU; null on a host without posting hardware. */
    private @Nullable PostingVcpu hardware;

    private final Ledger ledger;
    private final LapicMessages messages;
    private final LapicTimer timer;
    private boolean x2apicOffered;
    private boolean x2apic;
    /** The enable bit of IA32_APIC_BASE. */
    private boolean present = true;

    /** The kernel's cache of ISR: the number of set bits, and the highest vector (-1 if not cached). */
    private int inService;

    private int latestInService = -1;

    FakeLapic(X86Vm vm, FakeLapics all, int vcpuId) {
        this.vm = vm;
        this.all = all;
        this.vcpuId = vcpuId;
        this.events = new VcpuEvents(vm.host());
        ledger = vm.host().ledger();
        messages = new LapicMessages(ledger, requested, vcpuId, this::hasToWake);
        timer = new LapicTimer(vm, this, registers);
        registers.putInt(LapicPage.ID_AT, vcpuId << XAPIC_ID);
        reset();
    }

    /** Resets at power-on and by INIT. Keeps the id, and state outside registers. */
    private void reset() {
        messages.reset();
        if (hardware != null) {
            hardware.reset();
        }
        for (int at : CLEARED) {
            registers.putInt(at, 0);
        }
        for (int i = 0; i < VECTOR_REGISTERS; i++) {
            registers.putInt(LapicPage.ISR_AT + i * LapicPage.STRIDE, 0);
        }
        if (x2apic) { // LDR is derived from the id
            registers.putInt(UPPER_COMMAND_AT, 0);
        } else {
            registers.putInt(LapicPage.LDR_AT, 0).putInt(SECOND_COMMAND_AT, 0);
        }
        registers.putInt(LapicPage.DFR_AT, LapicPage.DFR_FLAT).putInt(LapicPage.SVR_AT, SPURIOUS);
        for (int i = 0; i < LapicPage.LVT_COUNT; i++) {
            registers.putInt(LapicPage.LVT_AT + i * LapicPage.STRIDE, (int) LapicPage.LVT_MASKED.mask());
        }
        if (vm.isBootVcpu(vcpuId)) {
            registers.putInt(LapicPage.LINT0_AT, (int) LapicPage.LVT_MODE.with(DeliveryMode.EXTINT.number()));
        }
        timer.stop();
        putVersion();
        countInService();
    }

    LapicMessages messages() {
        return messages;
    }

    void setHardware(PostingVcpu of) {
        hardware = of;
    }

    @Nullable
    PostingVcpu hardware() {
        return hardware;
    }

    @Override
    public void request(int vector) {
        requested.set(vector, true);
        messages.request(vector);
    }

    @Override
    public boolean isRequested(int vector) {
        return requested.has(vector);
    }

    @Override
    public boolean hasInterrupt() {
        int vector = requested.highest();
        return present && vector >= 0 && (vector & 0xf0) > registers.getInt(LapicPage.PPR_AT);
    }

    /** Whether this request must wake the vCPU, which sleeps in KVM. */
    private boolean hasToWake(int vector) {
        return hardware != null
                && hardware.isWaitingForInterrupts()
                && present
                && (vector & 0xf0) > registers.getInt(LapicPage.PPR_AT);
    }

    /** Does a wanted scan before the guest takes an interrupt, because the scan request kicks the vCPU. */
    @Override
    public int acknowledge() {
        scanIfWanted();
        return takeRequest(true);
    }

    private void countInService() {
        inService = served.count();
        latestInService = -1;
    }

    /** Whether the x2APIC id differs from the vCPU id, which 32-bit APIC ids forbid. Only possible before 6.12. */
    boolean hasOtherId() {
        return x2apic && all.has32BitIds() && registers.getInt(LapicPage.ID_AT) != vcpuId;
    }

    /** KVM_GET_LAPIC. Without 32-bit APIC ids, an x2APIC id is returned in the xAPIC position. */
    void save(ByteBuffer to) {
        if (hardware != null) {
            hardware.look();
        }
        messages.show();
        to.put(0, registers, 0, SIZE).putInt(LapicPage.CURRENT_COUNT_AT, timer.currentCount());
        if (x2apic && !all.has32BitIds()) {
            to.putInt(LapicPage.ID_AT, registers.getInt(LapicPage.ID_AT) << XAPIC_ID);
        }
        if (hasWideCommand()) {
            to.putInt(SECOND_COMMAND_AT, registers.getInt(UPPER_COMMAND_AT));
        }
    }

    /** Whether ICR is one 64-bit register: in x2APIC mode, except on AMD processors, which split it. */
    private boolean hasWideCommand() {
        boolean split = vm.host().build().hardware().isAmd();
        if (x2apic) {
            vm.note(split ? ChipAnswer.LAPIC_COMMAND_SPLIT : ChipAnswer.LAPIC_COMMAND_WIDE);
        }
        return x2apic && !split;
    }

    /** KVM_SET_LAPIC. The kernel computes PPR before it updates its cache of ISR, which it uses only without APICv. */
    int restore(ByteBuffer state) {
        vm.note(ChipAnswer.LAPIC_RESTORED);
        if (x2apic && all.has32BitIds() && state.getInt(LapicPage.ID_AT) != vcpuId) {
            setSpurious(state.getInt(LapicPage.SVR_AT));
            return vm.host().refuse(VmAnswer.LAPIC_X2APIC_ID);
        }
        if (hardware != null) {
            hardware.discard(new VectorSet(state, LapicPage.IRR_AT)::has);
        }
        registers.put(0, state, 0, SIZE);
        messages.replaced();
        putVersion();
        if (x2apic) {
            restoreX2apicIds(state.getInt(LapicPage.ID_AT));
        }
        if (hasWideCommand()) {
            registers.putInt(UPPER_COMMAND_AT, state.getInt(SECOND_COMMAND_AT));
        }
        updatePriority();
        vm.note(ChipAnswer.LAPIC_COUNT);
        timer.restart();
        countInService();
        vm.restored(this);
        return 0;
    }

    /** Restores the id: since 6.12 the vCPU id; on 6.1 the saved id, of 8 bits unless APIC ids have 32. */
    private void restoreX2apicIds(int saved) {
        if (vm.host().build().isSince(6, 12)) {
            putX2apicIds(vcpuId);
        } else {
            vm.note(VmAnswer.LAPIC_X2APIC_ID_BEFORE);
            putX2apicIds(all.has32BitIds() ? saved : saved >>> XAPIC_ID);
        }
    }

    void updatePriority() {
        int task = registers.getInt(LapicPage.TPR_AT) & 0xff;
        int serviced = Math.max(highestInService(), 0) & 0xf0;
        registers.putInt(LapicPage.PPR_AT, (task & 0xf0) >= serviced ? task : serviced);
    }

    private int highestInService() {
        if (hardware != null && hardware.isActive()) {
            return served.highest();
        }
        return inService == 0 ? -1 : latestInService >= 0 ? latestInService : served.highest();
    }

    /** CR8: the upper 4 bits of the task priority. Setting it clears the lower 4. */
    int taskPriority() {
        return registers.getInt(LapicPage.TPR_AT) >>> 4 & 0xf;
    }

    void setTaskPriority(int priority) {
        registers.putInt(LapicPage.TPR_AT, (priority & 0xf) << 4);
        updatePriority();
    }

    /**
     * Takes CR8 at the guest's exit. SVM keeps the upper half of the TPR for a running guest, so its lower half is lost.
     * KVM leaves the TPR alone while it masks a requested vector: {@code sync_cr8_to_lapic()}, {@code
     * update_cr8_intercept()}. The fake decides this at each exit, and models it on hosts without AVIC alone.
     */
    void leaveGuest() {
        if (vm.host().build().hardware().isAmd() && hardware == null) {
            int vector = requested.highest();
            if (vector < 0 || taskPriority() < vector >>> 4) {
                setTaskPriority(taskPriority());
            }
        }
    }

    /** Sets the version register, which depends on the CPUID with the split irqchip. Without leaf 1 it stays. */
    void identify(GuestCpuid cpuid) {
        x2apicOffered = cpuid.hasX2apic();
        if (cpuid.hasFeatures()) {
            timer.offer(cpuid.hasDeadlineTimer());
            putVersion();
        }
    }

    private void putVersion() {
        boolean directed = x2apicOffered && all.hasDirectedEoi();
        registers.putInt(
                LapicPage.VERSION_AT, directed ? KVM_VERSION | (int) LapicPage.DIRECTED_EOI.mask() : KVM_VERSION);
    }

    /** Sets the mode of IA32_APIC_BASE. A LAPIC that is enabled, or leaves x2APIC mode, gets the id of its vCPU. */
    void setMode(boolean on, boolean x2apicOn) {
        if (!on) {
            vm.note(ChipAnswer.LAPIC_OFF);
        }
        boolean changed = on != present || x2apicOn != x2apic;
        if (changed && on && (!present || vm.host().build().isSince(6, 3))) {
            registers.putInt(LapicPage.ID_AT, vcpuId << XAPIC_ID);
        }
        if (x2apicOn && !x2apic) {
            putX2apicIds(vcpuId);
        }
        present = on;
        x2apic = x2apicOn;
        if (changed) {
            all.recalculateApicMap();
        }
    }

    /** Inhibits APIC virtualization for the life of the VM ({@code __kvm_apic_set_base}). */
    void baseMoved() {
        vm.posting().ifPresent(posting -> posting.setInhibit(InhibitReason.APIC_BASE_MODIFIED, true));
    }

    @Override
    public boolean isPresent() {
        return present;
    }

    private void putX2apicIds(int id) {
        registers.putInt(LapicPage.ID_AT, id).putInt(LapicPage.LDR_AT, id >>> 4 << 16 | 1 << (id & 0xf));
    }

    void setSpurious(int value) {
        boolean before = enabled();
        registers.putInt(LapicPage.SVR_AT, value);
        if (enabled() != before) {
            all.recalculateApicMap();
        }
    }

    /** LINT0, the input for interrupts of the PIC. */
    void setLint0(int value) {
        registers.putInt(LapicPage.LINT0_AT, value);
    }

    /** {@code kvm_apic_accept_pic_intr()}. */
    boolean takesInterruptOfPic() {
        int input = registers.getInt(LapicPage.LINT0_AT);
        return !present
                || !LapicPage.LVT_MASKED.isSet(input) && LapicPage.LVT_MODE.of(input) == DeliveryMode.EXTINT.number();
    }

    /** {@code kvm_apic_local_deliver()}: delivers an entry of the local vector table. */
    void deliverLocal(int entry) {
        if (present && !LapicPage.LVT_MASKED.isSet(entry)) {
            DeliveryMode of = DeliveryMode.of((int) LapicPage.LVT_MODE.of(entry));
            boolean level = (entry & LEVEL) != 0;
            accept(new ApicMessage(0, false, false, false, of, entry & 0xff, level), of, taker -> {});
        }
    }

    @Override
    public boolean isX2apic() {
        return x2apic;
    }

    @Override
    public int logicalId() {
        return registers.getInt(LapicPage.LDR_AT);
    }

    @Override
    public int logicalFormat() {
        return registers.getInt(LapicPage.DFR_AT);
    }

    @Override
    public int vcpuId() {
        return vcpuId;
    }

    /** The APIC id. In x2APIC mode it is the vCPU id, whatever the register: {@code kvm_x2apic_id()}. */
    @Override
    public int id() {
        return x2apic ? vcpuId : registers.getInt(LapicPage.ID_AT) >>> XAPIC_ID;
    }

    /** The raw ID register; {@link #save} may return its value in another position. */
    int idRegister() {
        return registers.getInt(LapicPage.ID_AT);
    }

    @Override
    public boolean enabled() {
        return LapicPage.ENABLED.isSet(registers.getInt(LapicPage.SVR_AT));
    }

    /** @return whether the LAPIC accepted the interrupt */
    boolean accept(ApicMessage interrupt, DeliveryMode mode, Consumer<FakeLapic> taker) {
        switch (mode) {
            case FIXED, LOWEST_PRIORITY -> {
                if (!enabled()) {
                    return false;
                }
                vm.note(ChipAnswer.LAPIC_ACCEPTS);
                int vector = interrupt.vector();
                levels.set(vector, interrupt.level());
                if (hardware != null && hardware.deliver(vector)) {
                    taker.accept(this);
                    return true;
                }
                request(vector);
                ledger.arrivals().add(vcpuId, vector);
                taker.accept(this);
            }
            case NMI -> events.sendNmi();
            case INIT -> events.sendInit();
            case RESERVED_6 -> events.sendStartup(interrupt.vector());
            case EXTINT -> {
                return false;
            }
            case SMI -> {
                // A kernel without System Management Mode drops an SMI.
                if (!vm.host().build().hasManagementMode()) {
                    return false;
                }
                events.sendManagement();
            }
            case RESERVED_3 -> events.setReleased(true);
        }
        if (mode != DeliveryMode.FIXED && mode != DeliveryMode.LOWEST_PRIORITY) {
            messages.arrive();
        }
        wake();
        return true;
    }

    /**
     * A guest's write to ICR in x2APIC mode. Source: {@code kvm_x2apic_icr_write()}, {@code kvm_apic_send_ipi()}.
     *
     * @throws NotModelledException if the write faults, as it does for reserved bits since 6.12
     */
    void command(long value) {
        int low = (int) value & ~COMMAND_BUSY;
        if ((low & COMMAND_RESERVED) != 0) {
            throw new NotModelledException("a guest that sets reserved bits of ICR");
        }
        boolean level = (low & LEVEL) != 0;
        DeliveryMode mode = DeliveryMode.of((int) LapicPage.LVT_MODE.of(low));
        ApicMessage sent = new ApicMessage(
                (int) (value >>> Integer.SIZE), false, (low & COMMAND_LOGICAL) != 0, false, mode, low & 0xff, level);
        // The second half of an old INIT does nothing.
        boolean ignored = mode == DeliveryMode.INIT && level && (low & COMMAND_ASSERT) == 0;
        if (!ignored) {
            switch (low >>> COMMAND_SHORTHAND & 3) {
                case 0 -> all.deliverCommand(sent);
                case 1 -> accept(sent, mode, taker -> {});
                case 2 -> all.deliverToAll(sent, null);
                default -> all.deliverToAll(sent, this);
            }
            vm.host().time().changed();
        }
        registers
                .putInt(LapicPage.ICR_AT, low)
                .putInt(hasWideCommand() ? UPPER_COMMAND_AT : SECOND_COMMAND_AT, sent.destination32());
    }

    void wake() {
        if (hardware != null) {
            hardware.wake();
        }
    }

    /** Whether a vector is requested or in service. */
    boolean isPending(int vector) {
        return requested.has(vector) || served.has(vector);
    }

    VcpuEvents events() {
        return events;
    }

    LapicTimer timer() {
        return timer;
    }

    /** @return whether an INIT was pending; if so, the LAPIC has been reset */
    boolean takeInit() {
        boolean taken = events.takeInit(
                vm.host().build().hardware().isAmd() && vm.host().build().isSince(6, 4));
        if (taken) {
            vm.note(ChipAnswer.INIT_RESETS_LAPIC);
            reset();
            updatePriority();
            all.recalculateApicMap();
        }
        return taken;
    }

    EoiExitBitmap eoiExitBitmap() {
        return eoiExitBitmap;
    }

    /** The vCPU has entered the guest, and has turned APICv on or off. */
    void entered() {
        wasVirtual = isVirtualByIntel();
    }

    /** Scans the pins before the guest runs on, if a pin or a destination has changed. */
    void scanIfWanted() {
        if (eoiExitBitmap.beginScan()) {
            vm.scan(this);
            if (wasVirtual) {
                eoiExitBitmap.load();
            }
        }
    }

    /** The vector to deliver now, moved from IRR to ISR; -1 for none. */
    int takeRequest(boolean interruptsOn) {
        updatePriority();
        if (!interruptsOn || !hasInterrupt()) {
            return -1;
        }
        int vector = requested.highest();
        requested.set(vector, false);
        messages.take(vector);
        if (!served.has(vector)) {
            served.set(vector, true);
            inService++;
            latestInService = vector;
        }
        updatePriority();
        return vector;
    }

    @Override
    public void endOfInterrupt() {
        int vector = highestInService();
        if (vector < 0) {
            endNothing();
            return;
        }
        vm.note(ChipAnswer.LAPIC_EOI);
        if (served.has(vector)) {
            served.set(vector, false);
            inService--;
            latestInService = -1;
        }
        updatePriority();
        forwardEoi(vector);
    }

    /** Without a vector in service SVI is 0, which Intel's APICv takes for a vector. */
    private void endNothing() {
        if (isVirtualByIntel()) {
            vm.note(ChipAnswer.VMX_EOI_OF_NOTHING);
            forwardEoi(0);
        }
    }

    private boolean isVirtualByIntel() {
        return hardware != null
                && hardware.isActive()
                && vm.host().build().hardware().isIntel();
    }

    private void forwardEoi(int vector) {
        if (isVirtualByIntel() && eoiExitBitmap.isMissed(vector)) {
            vm.note(ChipAnswer.VMX_EOI_EXITS_KEPT);
        } else if (eoiExitBitmap.contains(vector)) {
            vm.endOfInterrupt(this, vector, levels.has(vector));
        }
    }
}
