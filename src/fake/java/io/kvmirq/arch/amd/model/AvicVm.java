/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.vcpu.HostCpu;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A VM with AVIC: its vCPUs, its irqfds that can be posted, and the reasons that inhibit AVIC.
 *
 * <p>Any number of threads may use the VM after all its irqfds are made; a thread waits for a spinlock of the VM.
 * Nested guests and IPI delivery are not modelled. Source: {@code arch/x86/kvm/svm/avic.c} of Linux 7.1.
 */
public final class AvicVm {
    private static final int PAGE = 4096;

    /** The word of reasons that inhibit AVIC, a bit each. */
    static final int INHIBITS = 0;
    /** {@code kvm->irqfds.lock}, which serializes updates. */
    static final int IRQFDS_LOCK = 1;
    /** For each irqfd: {@code irq_bypass_vcpu}, the index of the vCPU + 1, or 0. */
    static final int BYPASSES = 2;

    private final AvicHost avic;
    private final SharedWords words;
    private final int base;
    private final AvicVcpu[] vcpus;
    private final AvicIrqfd[] irqfds;
    private final long firstPage;
    private final int id;
    private int made;

    interface Lists {
        SharedSet at(SharedWords words, int base, int irqfds);
    }

    /**
     * Creates a VM that has loaded no vCPU and posts no irqfd. {@code vcpus} is 1–4096. {@code firstPage} is the
     * address of vCPU 0's backing page, a multiple of 4096; the pages of other vCPUs follow. Throws
     * IllegalArgumentException if a number is out of range, or a page belongs to another VM.
     */
    public AvicVm(AvicHost avic, int vcpus, int irqfds, long firstPage) {
        this(avic, SharedWords.of(new long[words(vcpus, irqfds)]), 0, vcpus, irqfds, firstPage, SharedSet::new);
    }

    AvicVm(AvicHost avic, SharedWords words, int base, int vcpus, int irqfds, long firstPage, Lists lists) {
        if (vcpus < 1 || vcpus - 1 > GaTag.VCPU.max()) {
            throw new IllegalArgumentException(vcpus + " vCPUs are out of range for a VM with AVIC: expected 1-4096");
        }
        if (firstPage % PAGE != 0) {
            throw new IllegalArgumentException(
                    "page 0x" + Long.toHexString(firstPage) + ": expected a 4096-byte boundary");
        }
        this.avic = avic;
        this.words = words;
        this.base = base;
        this.firstPage = firstPage;
        this.irqfds = new AvicIrqfd[irqfds];
        this.vcpus = new AvicVcpu[vcpus];
        for (int i = 0; i < vcpus; i++) {
            int at = base + BYPASSES + irqfds + i * AvicVcpu.words(irqfds);
            SharedSet list = lists.at(words, at + AvicVcpu.LIST, irqfds);
            this.vcpus[i] = new AvicVcpu(this, i, firstPage + (long) i * PAGE, words, at, list);
        }
        this.id = avic.add(this);
    }

    static int words(int vcpus, int irqfds) {
        return BYPASSES + irqfds + vcpus * AvicVcpu.words(irqfds);
    }

    int at(int word) {
        return base + word;
    }

    SharedWords words() {
        return words;
    }

    public AvicHost avic() {
        return avic;
    }

    /** The VM's id in its GATags, 1 or more. */
    public int id() {
        return id;
    }

    public int vcpus() {
        return vcpus.length;
    }

    public AvicVcpu vcpu(int index) {
        return vcpus[index];
    }

    /** The vCPU whose id or index, whichever a GATag has, is {@code name}. */
    Optional<AvicVcpu> named(int name) {
        if (avic.tags().isByIndex()) {
            return name < vcpus.length ? Optional.of(vcpus[name]) : Optional.empty();
        }
        return Arrays.stream(vcpus).filter(vcpu -> vcpu.id() == name).findFirst();
    }

    /** Makes an unposted irqfd for an entry of the unit's table. Throws IllegalStateException if no irqfd is free. */
    public AvicIrqfd irqfd(GaUnit unit, int entry) {
        unit.checked(entry);
        return add(new AvicIrqfd(this, made, unit, entry));
    }

    AvicIrqfd add(AvicIrqfd irqfd) {
        if (made == irqfds.length) {
            throw new IllegalStateException("the VM has " + made + " irqfds: create it for more");
        }
        irqfds[made++] = irqfd;
        return irqfd;
    }

    AvicIrqfd irqfd(int number) {
        return irqfds[number];
    }

    /** Adds a reason that inhibits AVIC in the VM. Each vCPU disables AVIC before it next enters the guest. */
    public void inhibit(InhibitReason reason) {
        changed(words.or(at(INHIBITS), bit(reason)) == 0);
    }

    /** Removes a reason. When no reason is left, each vCPU enables AVIC before it next enters the guest. */
    public void permit(InhibitReason reason) {
        changed(words.and(at(INHIBITS), ~bit(reason)) == bit(reason));
    }

    @SuppressWarnings("EnumOrdinal") // a reason's ordinal is its bit
    private static long bit(InhibitReason reason) {
        return 1L << reason.ordinal();
    }

    private void changed(boolean toggled) {
        for (int i = 0; toggled && i < vcpus.length; i++) {
            vcpus[i].thread().request();
            if (vcpus[i].thread().isInGuestMode()) {
                vcpus[i].thread().kick();
            }
        }
    }

    boolean isInhibited() {
        return words.get(at(INHIBITS)) != 0;
    }

    /** The vCPU with a backing page, or null. */
    @Nullable
    AvicVcpu withPage(long address) {
        long index = (address - firstPage) / PAGE;
        return address < firstPage || index >= vcpus.length ? null : vcpus[(int) index];
    }

    boolean overlaps(AvicVm other) {
        return firstPage < other.firstPage + (long) other.vcpus.length * PAGE
                && other.firstPage < firstPage + (long) vcpus.length * PAGE;
    }

    void rung(HostCpu cpu) {
        for (AvicVcpu vcpu : vcpus) {
            if (vcpu.thread().isGuestOf(cpu)) {
                vcpu.takeInterrupts();
            }
        }
    }

    /** Frees the VM's id ({@code avic_vm_destroy}). Before this call, end the posting of all irqfds of the VM. */
    public void destroy() {
        avic.remove(this);
    }

    /**
     * Returns those of the rules L1 to L6 that the state breaks. All rules hold while no thread is in a method.
     *
     * <ul>
     * <li>L1: an irqfd is on the list of one vCPU at most.
     * <li>L2: an irqfd is on the list of the vCPU that it is posted to, and on no other.
     * <li>L3: if an irqfd is on no list, its entry has the remapped form.
     * <li>L4: IsRun of an entry in guest mode equals IsRunning of its vCPU; if IsRun is set, Destination is the vCPU's
     * CPU. Exception: up to Linux 6.16 IsRun stays clear after an inhibit ends, until the vCPU is loaded again.
     * <li>L5, from Linux 6.17: GALogIntr of an entry is set only while the vCPU that it posts to blocks.
     * <li>L6: AVIC is disabled for a vCPU in the guest exactly if the VM is inhibited.
     * </ul>
     */
    public List<String> brokenRules() {
        List<String> broken = new ArrayList<>();
        for (int i = 0; i < made; i++) {
            irqfds[i].addBrokenRules(broken);
        }
        for (AvicVcpu vcpu : vcpus) {
            if (vcpu.thread().isInGuestMode() && vcpu.isActive() == isInhibited()) {
                broken.add(
                        "L6: vCPU " + vcpu.index() + " is in guest mode with AVIC " + (isInhibited() ? "on" : "off"));
            }
        }
        return broken;
    }
}
