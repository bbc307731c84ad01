/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.VcpuHooks;
import io.kvmirq.arch.vcpu.VcpuThread;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A vCPU with posted interrupts: its thread, its descriptor and its IRR. Senders may call {@link #deliver} and {@link
 * #post} at any time. The vCPU changes its descriptor when its {@link #thread} is loaded, preempted or put to sleep. It
 * joins a wake-up list when it sleeps, and leaves the list when it is loaded. A vector is 0–255.
 *
 * <p>Thread-safe for the vCPU's own thread and any number of senders.
 */
public final class PostedVcpu {
    // The eight words of the descriptor come first, on a boundary of eight words.
    static final int IRR = 8;
    static final int THREAD = 12;
    static final int RVI = THREAD + VcpuThread.WORDS;
    static final int WORDS = (RVI + 1 + PiDescriptor.WORDS - 1) / PiDescriptor.WORDS * PiDescriptor.WORDS;

    private final PostedVm vm;
    private final int index;
    private final SharedWords words;
    private final int irr;
    private final int rvi;
    private final PiDescriptor pid;
    private final VcpuThread thread;

    PostedVcpu(PostedVm vm, int index, SharedWords words, int base, PiDescriptor pid) {
        this.vm = vm;
        this.index = index;
        this.words = words;
        this.irr = base + IRR;
        this.rvi = base + RVI;
        this.pid = pid;
        pid.reset();
        this.thread = new VcpuThread(vm.host(), index, words, base + THREAD, new Posting());
    }

    /** The vCPU's index in the VM. */
    public int index() {
        return index;
    }

    /** Returns the vCPU's posted-interrupt descriptor, which its thread changes at each step. */
    public PiDescriptor descriptor() {
        return pid;
    }

    /**
     * The descriptor's address for a posted IRTE. An address mixed from two descriptors' halves belongs to no
     * descriptor.
     */
    public long descriptorAddress() {
        long number = thread.number();
        return number << Integer.SIZE | number << PostedInterruptDescriptor.BOUNDARY_BITS;
    }

    /** The thread of this vCPU. */
    public VcpuThread thread() {
        return thread;
    }

    /** The result of {@link #deliver} and {@link #deliverFromItself}. */
    public enum Delivery {
        /** The sender did not notify, because the vector was pending already or a notification is outstanding. */
        PENDING,
        /** The sender notified the CPU on which the vCPU runs. */
        NOTIFIED,
        /** The vCPU's own thread made the request, and calls {@link #sync} before its guest continues. */
        OWN,
        /** The vCPU was outside guest mode and was woken. It calls {@link #sync} before the guest runs. */
        WOKEN
    }

    /**
     * Requests a vector in software instead of through a remapping unit, as KVM does ({@code vmx_deliver_interrupt}).
     */
    public Delivery deliver(int vector) {
        if (!pid.deliver(vector)) {
            return Delivery.PENDING;
        }
        if (thread.isInGuestMode()) {
            thread.interrupt(Apic.NOTIFICATION);
            return Delivery.NOTIFIED;
        }
        thread.wake();
        return Delivery.WOKEN;
    }

    /**
     * Requests the vector of a self-IPI. Sends no notification, because {@link VcpuThread#reenter} or the next
     * {@link VcpuThread#enter} syncs PIR to the IRR ({@code kvm_vcpu_trigger_posted_interrupt}).
     */
    public Delivery deliverFromItself(int vector) {
        return pid.deliver(vector) ? Delivery.OWN : Delivery.PENDING;
    }

    /**
     * Requests a vector like a remapping unit. {@code urgent} is the bit URG of the unit's entry. Returns whether the
     * unit notified the CPU in NDST.
     */
    public boolean post(int vector, boolean urgent) {
        long notification = pid.post(vector, urgent);
        if (notification != 0) {
            vm.send(PostedInterruptDescriptor.NDST.of(notification), (int)
                    PostedInterruptDescriptor.NV.of(notification));
        }
        return notification != 0;
    }

    /** Moves PIR to the IRR if ON is set, even outside guest mode. Returns whether a request was moved. */
    public boolean sync() {
        return pid.sync(words, irr);
    }

    /** Whether the guest has an interrupt to take once PIR is synced ({@code kvm_apic_has_interrupt}). */
    public boolean hasInterrupt() {
        sync();
        return PiDescriptor.hasAny(words, irr);
    }

    /** Takes all vectors in the IRR as the guest would, and ORs them into four words of {@code taken} from {@code at} on. */
    public void takeInterrupts(SharedWords taken, int at) {
        PiDescriptor.checkIrr(taken, at);
        for (int i = 0; i < PiDescriptor.PIR_WORDS; i++) {
            if (words.get(irr + i) != 0) {
                taken.or(at + i, words.swap(irr + i, 0));
            }
        }
    }

    void acknowledge() {
        pid.acknowledge(words, irr);
        setRvi();
    }

    /** The CPU evaluates interrupts by RVI, not by the IRR. */
    private void setRvi() {
        words.set(rvi, PiDescriptor.highest(words, irr));
    }

    /**
     * Returns RVI, the vector that the guest takes next, or 0. RVI is set from the IRR when the CPU enters the guest or
     * takes a notification. {@link #sync} alone does not change RVI.
     */
    public int rvi() {
        return (int) words.get(rvi);
    }

    /** Replaces the IRR by four words, while the vCPU does not run, and discards earlier requests. */
    public void restore(long[] state) {
        if (state.length != PiDescriptor.PIR_WORDS) {
            throw new IllegalArgumentException("an IRR of " + state.length + " words is invalid: expected 4");
        }
        pid.discard();
        for (int i = 0; i < PiDescriptor.PIR_WORDS; i++) {
            words.swap(irr + i, state[i]);
        }
    }

    /** Whether the vector's bit in the IRR is set. */
    public boolean isInIrr(int vector) {
        PiDescriptor.checkVector(vector);
        return (words.get(irr + vector / Long.SIZE) & 1L << vector) != 0;
    }

    /**
     * Returns which of the posting rules R1, R2, R5 and R6 the state violates. All hold while no thread is in a method.
     * R3 and R4 order accesses, so no state shows a violation.
     */
    public List<String> brokenRules() {
        List<String> broken = new ArrayList<>();
        if (thread.isLoaded() && pid.hasRequests() && !pid.isOn()) {
            broken.add("R1: loaded, PIR not empty, ON clear");
        }
        if (thread.isLoaded() && pid.isSuppressed()) {
            broken.add("R2: loaded with SN set");
        }
        List<HostCpu> lists = vm.listing(index);
        boolean wakeup = pid.nv() == Apic.WAKEUP;
        if (wakeup ? !lists.stream().map(vm::ndst).toList().equals(List.of(pid.ndst())) : !lists.isEmpty()) {
            broken.add("R5: NV 0x" + Integer.toHexString(pid.nv()) + " on the wake-up lists of "
                    + lists.stream().map(HostCpu::number).toList() + ", NDST 0x" + Long.toHexString(pid.ndst()));
        }
        if (wakeup && pid.isSuppressed()) {
            broken.add("R6: NV is the wake-up vector with SN set");
        }
        return broken;
    }

    private final class Posting implements VcpuHooks {
        /** Models {@code vmx_vcpu_pi_load}. */
        @Override
        public void load(HostCpu here, Optional<HostCpu> last) {
            boolean listed = pid.nv() == Apic.WAKEUP;
            if (!listed && last.equals(Optional.of(here))) {
                pid.resume();
                return;
            }
            here.interruptsOff();
            if (listed) {
                vm.list(last.orElse(here)).remove(index);
            }
            pid.load(vm.ndst(here));
            here.interruptsOn();
        }

        /**
         * A sender sets ON before it reads the mode, so either it sees guest mode and notifies, or this method takes
         * its request. RVI is set even if no request is taken, because an earlier sync may have filled the IRR.
         */
        @Override
        public void entering(HostCpu here) {
            sync();
            setRvi();
        }

        @Override
        public void preempted(HostCpu here) {
            if (vm.mayBypass()) {
                pid.put();
            }
        }

        @Override
        public void left(HostCpu here) {
            if (vm.kernel() == ApicvKernel.FROM_6_17) {
                preempted(here);
            }
        }

        @Override
        public boolean hasInterrupt() {
            return PostedVcpu.this.hasInterrupt();
        }

        /**
         * Models {@code vmx_vcpu_pi_put} of a sleeping vCPU. The handler of the wake-up vector takes the list's lock,
         * and interrupts are off in this method, so the handler finds the vCPU whether NV or the list changes first.
         */
        @Override
        public void asleep(HostCpu here, boolean interruptible) {
            if (!interruptible) {
                left(here);
                return;
            }
            if (!vm.mayBypass()) {
                return;
            }
            vm.list(here).add(index);
            if (pid.block()) {
                here.interrupt(Apic.WAKEUP);
            }
        }
    }
}
