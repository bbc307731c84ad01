/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import static io.kvmirq.uapi.Uapi.KVM_VCPUEVENT_VALID_NMI_PENDING;
import static io.kvmirq.uapi.Uapi.KVM_VCPUEVENT_VALID_PAYLOAD;
import static io.kvmirq.uapi.Uapi.KVM_VCPUEVENT_VALID_SHADOW;
import static io.kvmirq.uapi.Uapi.KVM_VCPUEVENT_VALID_SIPI_VECTOR;
import static io.kvmirq.uapi.Uapi.KVM_VCPUEVENT_VALID_SMM;
import static io.kvmirq.uapi.Uapi.KVM_VCPUEVENT_VALID_TRIPLE_FAULT;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import java.util.Set;

/**
 * The pending NMI, INIT and start-up (SIPI) of a vCPU, and the events that a VMM set by KVM_SET_VCPU_EVENTS. Source:
 * {@code process_nmi()} and {@code kvm_vcpu_ioctl_x86_set_vcpu_events()} in x86.c, {@code kvm_apic_accept_events()} in
 * lapic.c.
 */
public final class VcpuEvents {
    private static final int MOST_NMIS = 2;
    private static final int LAST_EXCEPTION = 31;
    private static final int NMI = 2;
    /** #BP and #OF, which an instruction raises again. */
    private static final Set<Integer> SOFT = Set.of(3, 4);

    private static final int FLAGS_KEPT =
            KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;
    private static final int FLAGS_KNOWN = FLAGS_KEPT
            | KVM_VCPUEVENT_VALID_SIPI_VECTOR
            | KVM_VCPUEVENT_VALID_PAYLOAD
            | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    private static final int VECTOR = 0xff;
    /** The mask of {@code smm} and {@code pending} in the four bytes from {@code smi} on; no guest of the fake has them. */
    private static final int SMI = 0xffff;

    /** The mask {@link #SMI} with {@code smm_inside_nmi}. */
    private static final int SMI_STATE = 0xff_ffff;

    private final KernelOfFile host;
    private int nmisSent;
    private int nmisPending;
    /** KVM_REQ_NMI, which stays until the vCPU runs, even if the NMI is masked then. */
    private boolean nmiRequested;

    private boolean inNmi;
    private boolean init;
    private boolean startup;
    /** The vector of the last start-up message. */
    private int startupVector;

    /** Whether an SMI came, with which the vCPU neither runs nor shows its events. */
    private boolean management;
    /** Whether delivery mode 3 of paravirtual spinlocks released the vCPU, so that HLT does not wait. */
    private boolean released;

    /** The first bytes of {@code struct kvm_vcpu_events}: exception, interrupt and shadow. */
    private final ByteBuffer injected =
            ByteBuffer.allocate(KvmVcpuEvents.NMI_INJECTED).order(ByteOrder.nativeOrder());

    private boolean hasPayload;
    private long payload;
    private boolean nmiInjected;
    /** Whether VMX refused the last injected event. */
    private boolean refused;

    private boolean tripleFault;

    /** KVM_X86_SHADOW_INT_MOV_SS and KVM_X86_SHADOW_INT_STI. */
    public static final int NO_SHADOW = 0;

    static final int SHADOW_OF_SS = 1;
    static final int SHADOW_OF_STI = 2;

    public VcpuEvents(KernelOfFile host) {
        this.host = host;
    }

    /** Sets the interrupt shadow: if it is set, the next instruction runs before any interrupt or NMI. */
    public void setShadow(int shadow) {
        injected.put(KvmVcpuEvents.INTERRUPT_SHADOW, (byte) shadow);
    }

    int shadow() {
        return injected.get(KvmVcpuEvents.INTERRUPT_SHADOW);
    }

    public boolean isShadowed() {
        return isSet(KvmVcpuEvents.INTERRUPT_SHADOW);
    }

    // Settings of the VMM

    /** Injects an interrupt. The vCPU takes the injected vector before its next instruction, even if RFLAGS.IF is 0. */
    public void inject(int vector) {
        injected.put(KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 1)
                .put(KvmVcpuEvents.INTERRUPT_NR, (byte) vector)
                .put(KvmVcpuEvents.INTERRUPT_SOFT, (byte) 0);
    }

    /** Notes that the vCPU took an interrupt. The VMM can read the vector later: {@code kvm_queue_interrupt()}. */
    public void took(int vector) {
        inject(vector);
        injected.put(KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 0);
    }

    /** Returns the vector of an injected hardware interrupt, which the vCPU takes next; -1 if there is none. */
    public int injected() {
        boolean hard = isSet(KvmVcpuEvents.INTERRUPT_INJECTED) && !isSet(KvmVcpuEvents.INTERRUPT_SOFT);
        return hard ? injected.get(KvmVcpuEvents.INTERRUPT_NR) & VECTOR : -1;
    }

    /** Takes the interrupt of {@link #injected} and returns its vector; -1 if there is none. */
    public int takeInjected() {
        int vector = injected();
        if (vector >= 0) {
            injected.put(KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 0);
        }
        return vector;
    }

    /** Whether an interrupt, NMI or exception was injected. The vCPU takes this event even if RFLAGS.IF is 0. */
    public boolean isInjected() {
        return isSet(KvmVcpuEvents.INTERRUPT_INJECTED) || nmiInjected || isException();
    }

    private boolean isSet(int at) {
        return injected.get(at) != 0;
    }

    private boolean isException() {
        return isSet(KvmVcpuEvents.EXCEPTION_INJECTED) || isSet(KvmVcpuEvents.EXCEPTION_PENDING);
    }

    /** Throws NotModelledException if the fake cannot deliver a set event to the running or {@code halted} vCPU. */
    public void checkModelled(boolean halted) {
        boolean interrupt = isSet(KvmVcpuEvents.INTERRUPT_INJECTED);
        boolean taken = isSet(KvmVcpuEvents.EXCEPTION_INJECTED) || nmiInjected;
        if (interrupt && isSet(KvmVcpuEvents.INTERRUPT_SOFT)
                || isException() && SOFT.contains((int) injected.get(KvmVcpuEvents.EXCEPTION_NR))) {
            throw new NotModelledException("running a guest with a soft interrupt or exception that is set");
        }
        if (isSet(KvmVcpuEvents.EXCEPTION_PENDING) || taken && halted) {
            throw new NotModelledException("running a guest with a pending exception, or one that halts with events");
        }
        if (interrupt && taken || nmiInjected && isException()) {
            throw new NotModelledException("running a guest with two events that are set");
        }
    }

    /**
     * Whether a VMX processor refuses to enter the guest: the guest blocks the injected interrupt or NMI, or is in the
     * shadow of STI without RFLAGS.IF. The VMCS keeps a refused event until an entry succeeds. Source: Intel's manual,
     * volume 3, checks on RFLAGS and on guest non-register state.
     */
    public boolean entryFails(boolean interruptFlag) {
        boolean ofSti = (shadow() & SHADOW_OF_SS) == 0 && (shadow() & SHADOW_OF_STI) != 0;
        if (refused && !isInjected()) {
            throw new NotModelledException("a guest with an event that VMX refused, which the VMM then took back");
        }
        if (nmiInjected && (ofSti || inNmi)) {
            throw new NotModelledException("an injected NMI that is masked or after STI, where VMX processors differ");
        }
        refused = isSet(KvmVcpuEvents.INTERRUPT_INJECTED) && (isShadowed() || !interruptFlag)
                || nmiInjected && isShadowed();
        return refused || ofSti && !interruptFlag;
    }

    /** Takes the exception or NMI that the VMM injected. Returns its vector; -1 if there is none. */
    public int takeException() {
        if (isSet(KvmVcpuEvents.EXCEPTION_INJECTED)) {
            injected.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 0);
            return injected.get(KvmVcpuEvents.EXCEPTION_NR);
        }
        if (nmiInjected) {
            nmiInjected = false;
            inNmi = true;
            return NMI;
        }
        return -1;
    }

    public void save(ReportedEvents reported, ByteBuffer to) {
        if (management) {
            throw new NotModelledException("the events of a vCPU with an SMI");
        }
        processNmis();
        to.put(0, injected, 0, injected.capacity()).put(KvmVcpuEvents.INTERRUPT_SOFT, (byte) 0);
        if (isException() && SOFT.contains((int) injected.get(KvmVcpuEvents.EXCEPTION_NR))) {
            to.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 0).put(KvmVcpuEvents.EXCEPTION_PENDING, (byte) 0);
            host.note(VmAnswer.EVENTS_SOFT);
        }
        if (isSet(KvmVcpuEvents.INTERRUPT_SOFT)) {
            to.put(KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 0);
        }
        to.put(KvmVcpuEvents.NMI_INJECTED, (byte) (nmiInjected ? 1 : 0))
                .put(KvmVcpuEvents.NMI_PENDING, (byte) reportedNmis())
                .put(KvmVcpuEvents.NMI_MASKED, (byte) (inNmi ? 1 : 0))
                .put(KvmVcpuEvents.SMI_LATCHED_INIT, (byte) (init ? 1 : 0))
                .putInt(KvmVcpuEvents.FLAGS, FLAGS_KEPT);
        if (reported.exceptionPayload()) {
            report(to, KVM_VCPUEVENT_VALID_PAYLOAD);
            to.put(KvmVcpuEvents.EXCEPTION_HAS_PAYLOAD, (byte) (hasPayload ? 1 : 0))
                    .putLong(KvmVcpuEvents.EXCEPTION_PAYLOAD, payload);
        }
        if (reported.tripleFault()) {
            report(to, KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
            to.put(KvmVcpuEvents.TRIPLE_FAULT_PENDING, (byte) (tripleFault ? 1 : 0));
        }
    }

    private static void report(ByteBuffer to, int flag) {
        to.putInt(KvmVcpuEvents.FLAGS, to.getInt(KvmVcpuEvents.FLAGS) | flag);
    }

    private int reportedNmis() {
        if (nmisPending > 1 && !host.build().isSince(6, 4)) {
            host.note(VmAnswer.EVENTS_ONE_NMI_BEFORE);
            return 1;
        }
        return nmisPending;
    }

    /**
     * Handles KVM_SET_VCPU_EVENTS. Returns the rule that refuses the call, or empty. A kernel that lacks System
     * Management Mode or does not report triple faults refuses the call after it has set other fields. A
     * NotModelledException is thrown before any change.
     */
    public Optional<Answer> load(ReportedEvents reported, ByteBuffer from, boolean hasLapic, boolean awaitsStartup) {
        int given = from.getInt(KvmVcpuEvents.FLAGS);
        boolean withPayload = (given & KVM_VCPUEVENT_VALID_PAYLOAD) != 0;
        if ((given & ~FLAGS_KNOWN) != 0 || withPayload && !reported.exceptionPayload()) {
            return Optional.of(VmAnswer.EVENTS_FLAGS);
        }
        int exception = from.get(KvmVcpuEvents.EXCEPTION_NR) & VECTOR;
        boolean pending = withPayload && from.get(KvmVcpuEvents.EXCEPTION_PENDING) != 0;
        boolean excepted = !pending && from.get(KvmVcpuEvents.EXCEPTION_INJECTED) != 0;
        if ((excepted || pending) && (exception > LAST_EXCEPTION || exception == NMI)) {
            return Optional.of(VmAnswer.EVENTS_EXCEPTION);
        }
        int smi = (given & KVM_VCPUEVENT_VALID_SMM) == 0 ? 0 : from.getInt(KvmVcpuEvents.SMI_SMM);
        if ((smi & SMI) != 0 && awaitsStartup && !host.build().isSince(6, 17)) {
            return Optional.of(VmAnswer.EVENTS_MANAGEMENT_STARTUP);
        }
        boolean hasManagement = host.build().hasManagementMode();
        if ((smi & SMI) != 0 && hasManagement) {
            throw new NotModelledException("System Management Mode");
        }
        processNmis();
        byte shadow = injected.get(KvmVcpuEvents.INTERRUPT_SHADOW);
        injected.put(0, from, 0, injected.capacity())
                .put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) (excepted ? 1 : 0))
                .put(KvmVcpuEvents.EXCEPTION_PENDING, (byte) (pending ? 1 : 0));
        hasPayload = pending && from.get(KvmVcpuEvents.EXCEPTION_HAS_PAYLOAD) != 0;
        payload = from.getLong(KvmVcpuEvents.EXCEPTION_PAYLOAD);
        if ((given & KVM_VCPUEVENT_VALID_SHADOW) == 0) {
            injected.put(KvmVcpuEvents.INTERRUPT_SHADOW, shadow);
        }
        nmiInjected = from.get(KvmVcpuEvents.NMI_INJECTED) != 0;
        if ((given & KVM_VCPUEVENT_VALID_NMI_PENDING) != 0) {
            nmisPending = 0;
            nmisSent = from.get(KvmVcpuEvents.NMI_PENDING) & VECTOR;
            nmiRequested |= nmisSent > 0 && host.build().isSince(6, 4);
        }
        inNmi = from.get(KvmVcpuEvents.NMI_MASKED) != 0;
        if ((given & KVM_VCPUEVENT_VALID_SIPI_VECTOR) != 0) {
            startupVector = from.getInt(KvmVcpuEvents.SIPI_VECTOR);
        }
        if ((smi & SMI_STATE) != 0 && !hasManagement) {
            return Optional.of(VmAnswer.EVENTS_NO_MANAGEMENT);
        }
        if ((given & KVM_VCPUEVENT_VALID_SMM) != 0) {
            init = hasLapic && from.get(KvmVcpuEvents.SMI_LATCHED_INIT) != 0;
        }
        if ((given & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) == 0) {
            return Optional.empty();
        }
        if (!reported.tripleFault()) {
            return Optional.of(VmAnswer.EVENTS_FLAGS);
        }
        tripleFault = from.get(KvmVcpuEvents.TRIPLE_FAULT_PENDING) != 0;
        return Optional.empty();
    }

    public boolean takeTripleFault() {
        boolean taken = tripleFault;
        tripleFault = false;
        return taken;
    }

    private void processNmis() {
        nmisPending = Math.min(nmisPending + nmisSent, inNmi ? 1 : MOST_NMIS);
        nmisSent = 0;
    }

    // Events of the guest and its devices

    /** Handles an SMI that arrives as an MSI message. */
    public void sendManagement() {
        management = true;
    }

    /** Whether an event is pending that the fake cannot deliver to a running guest. */
    public boolean isSpecial() {
        return management || released;
    }

    public void setReleased(boolean on) {
        released = on;
    }

    public boolean isReleased() {
        return released;
    }

    public void sendNmi() {
        nmisSent++;
        nmiRequested = true;
    }

    /** Makes INIT pending, which discards a pending start-up (SIPI). */
    public void sendInit() {
        init = true;
        startup = false;
    }

    public void sendStartup(int vector) {
        startupVector = vector;
        startup = true;
    }

    /** Makes a start-up (SIPI) pending for KVM_SET_MP_STATE, with the vector of the last SIPI message. */
    public void sendStartup() {
        startup = true;
    }

    public int startupVector() {
        return startupVector;
    }

    /** Starts an NMI. Up to two NMIs stay pending; while the vCPU handles an NMI, only one does. */
    public boolean takeNmi() {
        processNmis();
        if (nmisPending == 0 || inNmi) {
            return false;
        }
        nmisPending--;
        inNmi = true;
        return true;
    }

    /** Whether an NMI would end a halt: {@link #takeNmi} would start its handler, or an NMI was requested. */
    public boolean hasNmi() {
        return nmiRequested || nmisPending + nmisSent > 0 && !inNmi && !isShadowed();
    }

    /** Takes the NMI request, because the vCPU continues to run. */
    public boolean takeNmiRequest() {
        boolean taken = nmiRequested;
        nmiRequested = false;
        return taken;
    }

    /** Lets the vCPU take NMIs again, because the guest executed IRET. */
    public void endOfNmi() {
        inNmi = false;
    }

    public boolean isReset() {
        return init;
    }

    /**
     * Takes INIT, which discards pending NMIs and injected events; the VMM can still read their vectors. {@code
     * blocks}: whether NMIs stay blocked (kvm_amd, 6.4).
     */
    public boolean takeInit(boolean blocks) {
        boolean taken = init;
        init = false;
        if (taken) {
            nmisSent = 0;
            nmisPending = 0;
            inNmi &= blocks;
            nmiInjected = false;
            refused = false;
            tripleFault = false;
            injected.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 0)
                    .put(KvmVcpuEvents.EXCEPTION_PENDING, (byte) 0)
                    .put(KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 0)
                    .put(KvmVcpuEvents.INTERRUPT_SHADOW, (byte) NO_SHADOW);
        }
        return taken;
    }

    public boolean takeStartup() {
        boolean taken = startup;
        startup = false;
        return taken;
    }
}
