/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import java.util.ArrayList;
import java.util.List;

/**
 * The vCPUs of a VM with APICv, and of the host's processors what posting needs: which vCPU each runs, the interrupts on
 * their way to it, and its list of sleeping vCPUs to wake. Processors have their number as APIC id. All state is in
 * shared words, so that any order of accesses can be played.
 *
 * <p>Safe for use by any number of threads. Source: {@code posted_intr.c} and {@code vcpu_enter_guest} in Linux 7.1.
 */
public final class PostedVm {
    // Of each processor, and after these its list, a bit for each vCPU.
    static final int PENDING = 0;
    static final int INTERRUPTS_OFF = 1;
    static final int GUEST = 2;
    static final int LIST_LOCK = 3;
    static final int LIST = 4;

    private static final long NOTIFICATION = 1;
    private static final long WAKEUP = 2;

    private final SharedWords words;
    private final int cpus;
    private final boolean x2apic;
    private final int cpuWords;
    final int bypasses;
    private final List<PostedVcpu> vcpus = new ArrayList<>();

    /**
     * A VM as it is made: nothing loaded, nothing requested.
     *
     * @param cpus processors of the host, at least 1
     * @param vcpus at least 1
     * @param x2apic whether NDST holds an x2APIC id, as it is, or an xAPIC id, in its bits 15:8
     */
    public PostedVm(int cpus, int vcpus, boolean x2apic) {
        this(SharedWords.of(new long[words(cpus, vcpus)]), cpus, vcpus, x2apic, PiDescriptor::over);
    }

    /** Where each vCPU's descriptor comes from. */
    interface Descriptors {
        PiDescriptor at(SharedWords words, int base);
    }

    PostedVm(SharedWords words, int cpus, int vcpus, boolean x2apic, Descriptors descriptors) {
        this.words = words;
        this.cpus = cpus;
        this.x2apic = x2apic;
        this.cpuWords = LIST + listWords(vcpus);
        for (int i = 0; i < vcpus; i++) {
            int base = i * PostedVcpu.WORDS;
            this.vcpus.add(new PostedVcpu(this, i, words, base, descriptors.at(words, base)));
        }
        this.bypasses = vcpus * PostedVcpu.WORDS + cpus * cpuWords;
    }

    private static int listWords(int vcpus) {
        return (vcpus + Long.SIZE - 1) / Long.SIZE;
    }

    static int words(int cpus, int vcpus) {
        return vcpus * PostedVcpu.WORDS + cpus * (LIST + listWords(vcpus)) + 1;
    }

    public PostedVcpu vcpu(int index) {
        return vcpus.get(index);
    }

    /** A device's interrupt may be posted to the VM from now on; the first ends the sleep of vCPUs not on a list. */
    public void startBypass() {
        if (addBypass(1) == 0) {
            vcpus.forEach(PostedVcpu::unblock);
        }
    }

    /** The end of one {@link #startBypass}. */
    public void stopBypass() {
        addBypass(-1);
    }

    long addBypass(long difference) {
        while (true) {
            long old = words.get(bypasses);
            if (words.replace(bypasses, old, old + difference)) {
                return old;
            }
        }
    }

    boolean mayBypass() {
        return words.get(bypasses) > 0;
    }

    /** NDST of a processor. */
    long ndst(int cpu) {
        return x2apic
                ? PostedInterruptDescriptor.destinationX2apic(cpu)
                : PostedInterruptDescriptor.destinationXapic(cpu);
    }

    /** The processor that an NDST names. */
    int cpu(long ndst) {
        return (int) (x2apic ? ndst : ndst >>> 8);
    }

    /** Sends a processor an interrupt, which it takes when it can: a second one until then is the same. */
    public void interrupt(int cpu, int vector) {
        words.or(at(cpu, PENDING), pending(vector));
    }

    private static long pending(int vector) {
        return switch (vector) {
            case Apic.NOTIFICATION -> NOTIFICATION;
            case Apic.WAKEUP -> WAKEUP;
            default ->
                throw new IllegalArgumentException(
                        "vector 0x" + Integer.toHexString(vector) + " is not one of posting: expected 0xf2 or 0xf1");
        };
    }

    /** Whether an interrupt is on its way to a processor. */
    public boolean isInterrupted(int cpu) {
        return words.get(at(cpu, PENDING)) != 0;
    }

    /**
     * A processor takes one interrupt that is on its way. A notification in guest mode moves the guest's requests to its
     * IRR, elsewhere it does nothing; a wake-up wakes those on the processor's list whose ON is set.
     */
    public void takeInterrupt(int cpu) {
        interruptsOff(cpu);
        if ((words.and(at(cpu, PENDING), ~NOTIFICATION) & NOTIFICATION) != 0) {
            long guest = words.get(at(cpu, GUEST));
            if (guest != 0) {
                vcpus.get((int) guest - 1).acknowledge();
            }
        } else if ((words.and(at(cpu, PENDING), ~WAKEUP) & WAKEUP) != 0) {
            wakeUp(cpu);
        }
        interruptsOn(cpu);
    }

    /** {@code pi_wakeup_handler}: leaves ON and the list as they are, {@link PostedVcpu#load} sees to them. */
    private void wakeUp(int cpu) {
        words.lock(at(cpu, LIST_LOCK));
        for (PostedVcpu vcpu : vcpus) {
            if (isListed(cpu, vcpu.index()) && vcpu.descriptor().isOn()) {
                vcpu.wake();
            }
        }
        words.unlock(at(cpu, LIST_LOCK));
    }

    void enlist(int cpu, int vcpu) {
        words.lock(at(cpu, LIST_LOCK));
        words.or(list(cpu, vcpu), 1L << vcpu);
        words.unlock(at(cpu, LIST_LOCK));
    }

    void delist(int cpu, int vcpu) {
        words.lock(at(cpu, LIST_LOCK));
        words.and(list(cpu, vcpu), ~(1L << vcpu));
        words.unlock(at(cpu, LIST_LOCK));
    }

    /** Whether a vCPU is on a processor's list. */
    public boolean isListed(int cpu, int vcpu) {
        return (words.get(list(cpu, vcpu)) & 1L << vcpu) != 0;
    }

    /** The processors on whose list a vCPU is: at most one, says rule R5. */
    List<Integer> listing(int vcpu) {
        List<Integer> listing = new ArrayList<>();
        for (int cpu = 0; cpu < cpus; cpu++) {
            if (isListed(cpu, vcpu)) {
                listing.add(cpu);
            }
        }
        return listing;
    }

    /** The processor accepts no interrupt until {@link #interruptsOn}. */
    void interruptsOff(int cpu) {
        words.lock(at(cpu, INTERRUPTS_OFF));
    }

    void interruptsOn(int cpu) {
        words.unlock(at(cpu, INTERRUPTS_OFF));
    }

    void runs(int cpu, int vcpu) {
        words.set(at(cpu, GUEST), vcpu + 1L);
    }

    void runsNone(int cpu) {
        words.set(at(cpu, GUEST), 0);
    }

    private int list(int cpu, int vcpu) {
        return at(cpu, LIST + vcpu / Long.SIZE);
    }

    /** Index of a word of a processor. */
    int at(int cpu, int word) {
        if (cpu < 0 || cpu >= cpus) {
            throw new IllegalArgumentException(
                    "processor " + cpu + " does not exist: expected 0–" + (cpus - 1) + ", as this host was made");
        }
        return vcpus.size() * PostedVcpu.WORDS + cpu * cpuWords + word;
    }
}
