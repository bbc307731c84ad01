/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * A VM with APICv: its vCPUs, the number of device interrupts that may be posted to it, and the CPUs' wake-up lists.
 * The VM registers handlers for vectors 0xf2 and 0xf1 on its host.
 *
 * <p>A device's MSI reaches a vCPU through a {@link RemappingUnit}, which finds descriptors by {@link #descriptorAt}.
 * With IPI virtualization, a vCPU sleeps on a wake-up list even without a bypass, and the sending CPU posts IPIs like a
 * remapping unit. To model this, call {@link #startBypass} once, and {@link PostedVcpu#post} for each IPI. It is not
 * verified that the CPU treats SN and ON as a unit does.
 *
 * <p>Thread-safe. A thread that needs a CPU spins while another thread has disabled this CPU's interrupts. Source:
 * {@code posted_intr.c} and {@code vcpu_enter_guest} of Linux 7.1; the package's Javadoc lists what the model omits.
 */
public final class PostedVm {
    private final HostCpus host;
    private final SharedWords words;
    private final boolean x2apic;
    private final ApicvKernel kernel;
    private final int bypasses;
    private final List<WakeupList> lists = new ArrayList<>();
    private final PostedVcpu[] vcpus;
    /** The index after the last vCPU that was requested. Later vCPUs do not run or sleep, and have no known address. */
    private volatile int taken;

    private final Consumer<HostCpu> notified = this::notified;
    private final Consumer<HostCpu> wakeUp = this::wakeUp;

    /**
     * Creates a VM whose vCPUs are not loaded and have no requests. If {@code x2apic}, NDST is an x2APIC id, otherwise
     * an xAPIC id in bits 15:8. Throws IllegalArgumentException if {@code vcpus} is 0, or if a CPU's id does not fit
     * NDST.
     */
    public PostedVm(HostCpus host, int vcpus, boolean x2apic) {
        this(host, vcpus, x2apic, ApicvKernel.FROM_6_17);
    }

    /** Creates a VM like {@link #PostedVm(HostCpus,int,boolean)}, on this kernel version. */
    public PostedVm(HostCpus host, int vcpus, boolean x2apic, ApicvKernel kernel) {
        this(
                host,
                SharedWords.of(new long[words(host.cpus().size(), vcpus)]),
                vcpus,
                x2apic,
                kernel,
                PiDescriptor::over);
    }

    interface Descriptors {
        PiDescriptor at(SharedWords words, int base);
    }

    PostedVm(HostCpus host, SharedWords words, int vcpus, boolean x2apic, ApicvKernel kernel, Descriptors descriptors) {
        this.kernel = kernel;
        this.host = host;
        this.words = words;
        this.x2apic = x2apic;
        host.cpus().forEach(this::ndst);
        this.vcpus = new PostedVcpu[vcpus];
        for (int i = 0; i < vcpus; i++) {
            int base = i * PostedVcpu.WORDS;
            this.vcpus[i] = new PostedVcpu(this, i, words, base, descriptors.at(words, base));
        }
        int base = vcpus * PostedVcpu.WORDS;
        for (int i = 0; i < host.cpus().size(); i++) {
            lists.add(new WakeupList(words, base + i * WakeupList.words(vcpus), vcpus));
        }
        bypasses = words(host.cpus().size(), vcpus) - 1;
        host.handle(Apic.NOTIFICATION, notified);
        host.handle(Apic.WAKEUP, wakeUp);
    }

    static int words(int cpus, int vcpus) {
        if (vcpus < 1) {
            throw new IllegalArgumentException(vcpus + " vCPUs are out of range for a VM: expected 1 or more");
        }
        return vcpus * PostedVcpu.WORDS + cpus * WakeupList.words(vcpus) + 1;
    }

    ApicvKernel kernel() {
        return kernel;
    }

    /** The host whose CPUs run the VM. */
    public HostCpus host() {
        return host;
    }

    /** Returns the vCPU with this index. Throws IndexOutOfBoundsException if no vCPU has this index. */
    public PostedVcpu vcpu(int index) {
        PostedVcpu vcpu = vcpus[index];
        if (index >= taken) {
            take(index);
        }
        return vcpu;
    }

    private synchronized void take(int index) {
        taken = Math.max(taken, index + 1);
    }

    /** Returns the descriptor at a {@link PostedVcpu#descriptorAddress} of this VM. Empty for another address. */
    public Optional<PiDescriptor> descriptorAt(long address) {
        for (int i = 0; i < taken; i++) {
            if (vcpus[i].descriptorAddress() == address) {
                return Optional.of(vcpus[i].descriptor());
            }
        }
        return Optional.empty();
    }

    WakeupList list(HostCpu cpu) {
        return lists.get(cpu.number());
    }

    /**
     * Allows posting of one more device interrupt. The first call wakes all vCPUs, so that those that sleep on no
     * wake-up list check for requests and go back to sleep on one ({@code vmx_pi_start_bypass}).
     */
    public void startBypass() {
        if (addBypass(1) == 0) {
            for (int i = 0; i < taken; i++) {
                vcpus[i].thread().wake();
            }
        }
    }

    /** Reverts one {@link #startBypass}. Throws IllegalStateException if all were reverted already. */
    public void stopBypass() {
        addBypass(-1);
    }

    /** @return the previous number */
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

    /** The index of the word with the number of bypasses. */
    int bypasses() {
        return bypasses;
    }

    long ndst(HostCpu cpu) {
        return x2apic
                ? PostedInterruptDescriptor.destinationX2apic(cpu.id())
                : PostedInterruptDescriptor.destinationXapic(cpu.id());
    }

    /** Sends a notification. It is lost if NDST names no CPU of the host. */
    void send(long ndst, int vector) {
        host.interrupt(x2apic ? ndst : ndst >>> 8, vector);
    }

    /** Handles vector 0xf2: moves the requests of the running guest to its IRR; without one it does nothing. */
    private void notified(HostCpu cpu) {
        for (int i = 0; i < taken; i++) {
            if (vcpus[i].thread().isGuestOf(cpu)) {
                vcpus[i].acknowledge();
                return;
            }
        }
    }

    /** {@code pi_wakeup_handler}: wakes listed vCPUs with ON set. The next load clears ON and the list entry. */
    private void wakeUp(HostCpu cpu) {
        WakeupList list = list(cpu);
        list.lock();
        for (int i = 0; i < taken; i++) {
            if (list.has(i) && vcpus[i].descriptor().isOn()) {
                vcpus[i].thread().wake();
            }
        }
        list.unlock();
    }

    /** Removes the VM's handlers from the host. Before this call, end all posting to the VM, and wake its vCPUs. */
    public void destroy() {
        host.forget(Apic.NOTIFICATION, notified);
        host.forget(Apic.WAKEUP, wakeUp);
    }

    /** Returns the CPUs that have the vCPU on their wake-up list. By rule R5, this is at most one CPU. */
    public List<HostCpu> listing(int vcpu) {
        return host.cpus().stream().filter(cpu -> list(cpu).has(vcpu)).toList();
    }
}
