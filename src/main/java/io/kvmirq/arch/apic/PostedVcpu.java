/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import java.util.ArrayList;
import java.util.List;

/**
 * A vCPU whose interrupts can be posted: where its thread is, and what that does to its descriptor. The thread calls
 * {@link #load}, then {@link #enter} and {@link #exit} as often as it likes, and leaves by {@link #preempt} or
 * {@link #block}; senders call {@link #deliver} and {@link #post} at any time. What needs a processor throws
 * IllegalStateException where the vCPU is not loaded, and what is done outside the guest where it is in guest mode. What
 * the thread does to the {@link #descriptor} it does through here, so that list and NV agree.
 *
 * <p>Safe for use by one thread of the vCPU's and any number of senders.
 */
public final class PostedVcpu {
    // The descriptor's eight words come first.
    static final int IRR = 8;
    static final int MODE = 12;
    static final int CPU = 13;
    static final int ASLEEP = 14;
    static final int LOADED = 15;
    static final int WORDS = 16;

    static final long OUTSIDE_GUEST_MODE = 0;
    static final long IN_GUEST_MODE = 1;

    private static final int NONE = -1;

    private final PostedVm vm;
    private final int index;
    private final SharedWords words;
    private final int base;
    private final PiDescriptor pid;

    PostedVcpu(PostedVm vm, int index, SharedWords words, int base, PiDescriptor pid) {
        this.vm = vm;
        this.index = index;
        this.words = words;
        this.base = base;
        this.pid = pid;
        pid.reset();
        words.set(base + CPU, NONE);
    }

    public int index() {
        return index;
    }

    public PiDescriptor descriptor() {
        return pid;
    }

    /** What happened to a request from software. */
    public enum Delivery {
        /** The vector was requested already, or a notification is on its way. */
        PENDING,
        /** The processor of the vCPU was notified. */
        NOTIFIED,
        /** The vCPU was not in guest mode, and is awake now: it looks before it enters. */
        WOKEN
    }

    /**
     * Requests a vector from software ({@code vmx_deliver_interrupt}).
     *
     * @param vector 0–255
     */
    public Delivery deliver(int vector) {
        if (!pid.deliver(vector)) {
            return Delivery.PENDING;
        }
        if (words.get(base + MODE) == IN_GUEST_MODE) {
            vm.cpu(cpu()).interrupt(Apic.NOTIFICATION);
            return Delivery.NOTIFIED;
        }
        wake();
        return Delivery.WOKEN;
    }

    /**
     * A unit requests a vector through a posted IRTE, and notifies the processor of NDST where that is due.
     *
     * @param vector 0–255
     * @return whether it notified
     */
    public boolean post(int vector, boolean urgent) {
        long notification = pid.post(vector, urgent);
        if (notification != 0) {
            vm.send(PostedInterruptDescriptor.NDST.of(notification), (int)
                    PostedInterruptDescriptor.NV.of(notification));
        }
        return notification != 0;
    }

    /** The thread is on processor {@code cpu}, from another or from sleep ({@code vmx_vcpu_pi_load}). */
    public void load(int cpu) {
        HostCpu here = vm.cpu(cpu);
        checkOutsideGuest();
        int last = cpu();
        boolean listed = pid.nv() == Apic.WAKEUP;
        if (listed || last != cpu) {
            long ndst = vm.ndst(cpu);
            HostCpu before = last == NONE ? here : vm.cpu(last);
            here.interruptsOff();
            if (listed) {
                before.delist(index);
            }
            pid.load(ndst);
            here.interruptsOn();
        } else {
            pid.resume();
        }
        words.set(base + CPU, cpu);
        words.set(base + LOADED, 1);
    }

    /**
     * Enters the guest. The mode is written, then a full barrier, then ON is read: a sender sets ON before it reads the
     * mode, so that either it sees guest mode and notifies, or its request is taken here.
     */
    public void enter() {
        HostCpu cpu = hereOutsideGuest();
        cpu.interruptsOff();
        words.set(base + MODE, IN_GUEST_MODE);
        words.fence();
        sync();
        cpu.runs(index);
        cpu.interruptsOn();
    }

    /** The guest exits. */
    public void exit() {
        HostCpu cpu = here();
        cpu.interruptsOff();
        cpu.runsNone();
        words.set(base + MODE, OUTSIDE_GUEST_MODE);
        cpu.interruptsOn();
    }

    /**
     * If ON, takes the requests to the IRR; also outside guest mode, as when the LAPIC is read.
     *
     * @return whether a request was taken
     */
    public boolean sync() {
        return pid.sync(words, base + IRR);
    }

    /** The thread could run but its processor is taken from it. */
    public void preempt() {
        hereOutsideGuest();
        words.set(base + LOADED, 0);
        if (vm.mayBypass()) {
            pid.put();
        }
    }

    /**
     * The guest halted. Sleep is announced with a full barrier before the last look at the descriptor: a sender sets ON
     * before it wakes, so that one of the two sees the other.
     *
     * @param interruptible whether the guest has interrupts enabled, so that one would end the sleep
     * @return whether the vCPU sleeps now, until {@link #isAsleep} is false; if not, it has an interrupt or was woken
     */
    public boolean block(boolean interruptible) {
        HostCpu cpu = hereOutsideGuest();
        words.swap(base + ASLEEP, 1);
        if (interruptible && hasInterrupt()) {
            words.set(base + ASLEEP, 0);
            return false;
        }
        cpu.interruptsOff();
        boolean asleep = isAsleep();
        if (asleep) {
            words.set(base + LOADED, 0);
            sleep(cpu, interruptible);
        }
        cpu.interruptsOn();
        return asleep;
    }

    /** Whether the guest has an interrupt to take; requests are synced first ({@code kvm_apic_has_interrupt}). */
    public boolean hasInterrupt() {
        sync();
        return PiDescriptor.hasAny(words, base + IRR);
    }

    /**
     * The guest takes all that is in its IRR.
     *
     * @param taken four words from {@code at}, to which they are added
     */
    public void takeInterrupts(SharedWords taken, int at) {
        PiDescriptor.checkIrr(taken, at);
        for (int i = 0; i < PiDescriptor.PIR_WORDS; i++) {
            if (words.get(base + IRR + i) != 0) {
                taken.or(at + i, words.swap(base + IRR + i, 0));
            }
        }
    }

    /**
     * {@code vmx_vcpu_pi_put} of a sleeper. Interrupts are off: the handler of the wake-up vector takes the list's lock,
     * and finds the vCPU on the list whether NV or the list comes first.
     */
    private void sleep(HostCpu cpu, boolean interruptible) {
        if (!vm.mayBypass()) {
            return;
        }
        if (!interruptible) {
            pid.put();
            return;
        }
        cpu.enlist(index);
        if (pid.block()) {
            cpu.interrupt(Apic.WAKEUP);
        }
    }

    /** Whether the thread sleeps. */
    public boolean isAsleep() {
        return words.get(base + ASLEEP) != 0;
    }

    /** Ends the sleep, if it sleeps. */
    public void wake() {
        words.swap(base + ASLEEP, 0);
    }

    void acknowledge() {
        pid.acknowledge(words, base + IRR);
    }

    /**
     * State is loaded over the LAPIC's while the vCPU does not run: what is requested is void.
     *
     * @param irr the new IRR, four words
     */
    public void restore(long[] irr) {
        if (irr.length != PiDescriptor.PIR_WORDS) {
            throw new IllegalArgumentException("an IRR of " + irr.length + " words is none: expected 4");
        }
        pid.discard();
        for (int i = 0; i < PiDescriptor.PIR_WORDS; i++) {
            words.swap(base + IRR + i, irr[i]);
        }
    }

    /**
     * Whether the IRR holds a vector.
     *
     * @param vector 0–255
     */
    public boolean isInIrr(int vector) {
        PiDescriptor.checkVector(vector);
        return (words.get(base + IRR + vector / Long.SIZE) & 1L << vector) != 0;
    }

    /** @throws IllegalStateException where the thread is on no processor */
    private HostCpu here() {
        if (!isLoaded()) {
            throw new IllegalStateException("vCPU " + index + " is not loaded: load it onto a processor first");
        }
        return vm.cpu(cpu());
    }

    private HostCpu hereOutsideGuest() {
        checkOutsideGuest();
        return here();
    }

    private void checkOutsideGuest() {
        if (words.get(base + MODE) != OUTSIDE_GUEST_MODE) {
            throw new IllegalStateException("vCPU " + index + " is in guest mode: it has to exit first");
        }
    }

    /** The processor it is on or was on last, -1 before the first. */
    public int cpu() {
        return (int) words.get(base + CPU);
    }

    public boolean isLoaded() {
        return words.get(base + LOADED) != 0;
    }

    /**
     * The rules that do not hold; all do where no call is under way. R3 and R4 are orders within {@link #load} and
     * {@link #sync} and leave no state behind.
     */
    public List<String> brokenRules() {
        List<String> broken = new ArrayList<>();
        if (isLoaded() && pid.hasRequests() && !pid.isOn()) {
            broken.add("R1: loaded, PIR not empty, ON clear");
        }
        if (isLoaded() && pid.isSuppressed()) {
            broken.add("R2: loaded with SN set");
        }
        List<Integer> lists = vm.listing(index);
        boolean wakeup = pid.nv() == Apic.WAKEUP;
        if (wakeup ? !lists.stream().map(vm::ndst).toList().equals(List.of(pid.ndst())) : !lists.isEmpty()) {
            broken.add("R5: NV 0x" + Integer.toHexString(pid.nv()) + " on the wake-up lists of " + lists + ", NDST 0x"
                    + Long.toHexString(pid.ndst()));
        }
        if (wakeup && pid.isSuppressed()) {
            broken.add("R6: NV is the wake-up vector with SN set");
        }
        return broken;
    }
}
