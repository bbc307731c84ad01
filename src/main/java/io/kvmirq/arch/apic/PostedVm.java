/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import java.util.ArrayList;
import java.util.List;

/**
 * A VM with APICv on the processors of a host: its vCPUs, and what devices and interrupts do to them. Processors have
 * their number as APIC id. All state is in shared words, so that any order of accesses can be played.
 *
 * <p>Safe for use by any number of threads; what has interrupts off on a processor makes others who want them off there
 * wait, spinning. Source: {@code posted_intr.c} and {@code vcpu_enter_guest} in Linux 7.1, without nested guests, and
 * without IPI virtualization, which has a vCPU put on a list also where nothing is bypassed.
 */
public final class PostedVm {
    private static final int XAPIC_CPUS = 256;

    private final SharedWords words;
    private final boolean x2apic;
    private final int bypasses;
    private final List<HostCpu> cpus = new ArrayList<>();
    private final List<PostedVcpu> vcpus = new ArrayList<>();

    /**
     * A VM as it is made: nothing loaded, nothing requested.
     *
     * @param cpus processors of the host, at least 1
     * @param vcpus at least 1
     * @param x2apic whether NDST holds an x2APIC id, as it is, or an xAPIC id of at most 256 processors, in bits 15:8
     */
    public PostedVm(int cpus, int vcpus, boolean x2apic) {
        this(SharedWords.of(new long[words(cpus, vcpus)]), cpus, vcpus, x2apic, PiDescriptor::over);
    }

    /** Where each vCPU's descriptor comes from. */
    interface Descriptors {
        PiDescriptor at(SharedWords words, int base);
    }

    PostedVm(SharedWords words, int cpus, int vcpus, boolean x2apic, Descriptors descriptors) {
        if (!x2apic && cpus > XAPIC_CPUS) {
            throw new IllegalArgumentException(
                    cpus + " processors are too many for xAPIC ids: expected 1–256, or x2APIC ids");
        }
        this.words = words;
        this.x2apic = x2apic;
        for (int i = 0; i < vcpus; i++) {
            int base = i * PostedVcpu.WORDS;
            this.vcpus.add(new PostedVcpu(this, i, words, base, descriptors.at(words, base)));
        }
        for (int i = 0; i < cpus; i++) {
            this.cpus.add(new HostCpu(words, vcpus * PostedVcpu.WORDS + i * HostCpu.words(vcpus)));
        }
        this.bypasses = words(cpus, vcpus) - 1;
    }

    static int words(int cpus, int vcpus) {
        if (cpus < 1 || vcpus < 1) {
            throw new IllegalArgumentException(
                    cpus + " processors and " + vcpus + " vCPUs make no VM: expected 1 or more of each");
        }
        return vcpus * PostedVcpu.WORDS + cpus * HostCpu.words(vcpus) + 1;
    }

    public PostedVcpu vcpu(int index) {
        return vcpus.get(index);
    }

    HostCpu cpu(int number) {
        if (number < 0 || number >= cpus.size()) {
            throw new IllegalArgumentException("processor " + number + " does not exist: expected 0–"
                    + (cpus.size() - 1) + ", as this host was made");
        }
        return cpus.get(number);
    }

    /**
     * A device's interrupt may be posted to the VM from now on. The first one wakes all vCPUs, so that one that sleeps
     * on no list looks again, and then sleeps on one ({@code vmx_pi_start_bypass}).
     */
    public void startBypass() {
        if (addBypass(1) == 0) {
            vcpus.forEach(PostedVcpu::wake);
        }
    }

    /**
     * The end of one {@link #startBypass}.
     *
     * @throws IllegalStateException if each has ended
     */
    public void stopBypass() {
        addBypass(-1);
    }

    /** @return how many there were */
    long addBypass(long difference) {
        while (true) {
            long old = words.get(bypasses);
            if (old + difference < 0) {
                throw new IllegalStateException("no bypass has begun that could end: startBypass comes first");
            }
            if (words.replace(bypasses, old, old + difference)) {
                return old;
            }
        }
    }

    boolean mayBypass() {
        return words.get(bypasses) > 0;
    }

    /** Index of the count of bypasses. */
    int bypasses() {
        return bypasses;
    }

    /** NDST of a processor. */
    long ndst(int cpu) {
        return x2apic
                ? PostedInterruptDescriptor.destinationX2apic(cpu)
                : PostedInterruptDescriptor.destinationXapic(cpu);
    }

    /** A notification is sent; where NDST names no processor of the host it goes nowhere. */
    void send(long ndst, int vector) {
        long id = x2apic ? ndst : ndst >>> 8;
        if (id < cpus.size()) {
            cpus.get((int) id).interrupt(vector);
        }
    }

    /** Whether an interrupt is on its way to a processor. */
    public boolean isInterrupted(int cpu) {
        return cpu(cpu).isInterrupted();
    }

    /**
     * A processor takes one interrupt that is on its way. A notification in guest mode moves the guest's requests to its
     * IRR, elsewhere it does nothing; a wake-up wakes those on the processor's list whose ON is set.
     */
    public void takeInterrupt(int number) {
        HostCpu cpu = cpu(number);
        cpu.interruptsOff();
        if (cpu.takeNotification()) {
            int guest = cpu.guest();
            if (guest >= 0) {
                vcpus.get(guest).acknowledge();
            }
        } else if (cpu.takeWakeup()) {
            wakeUp(cpu);
        }
        cpu.interruptsOn();
    }

    /** {@code pi_wakeup_handler}: leaves ON and the list as they are, {@link PostedVcpu#load} sees to them. */
    private void wakeUp(HostCpu cpu) {
        cpu.lockList();
        for (PostedVcpu vcpu : vcpus) {
            if (cpu.isListed(vcpu.index()) && vcpu.descriptor().isOn()) {
                vcpu.wake();
            }
        }
        cpu.unlockList();
    }

    /** The processors on whose list a vCPU is: at most one, says rule R5. */
    public List<Integer> listing(int vcpu) {
        List<Integer> listing = new ArrayList<>();
        for (int number = 0; number < cpus.size(); number++) {
            if (cpus.get(number).isListed(vcpu)) {
                listing.add(number);
            }
        }
        return listing;
    }
}
