/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.IrteUpdate;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/**
 * An irqfd whose producer is a device interrupt that KVM may post to a vCPU. One vCPU at most has the irqfd on its
 * list. The {@code irqfds} lock of the VM serializes all changes of the irqfd's remapping entry.
 *
 * <p>Linux 6.17 to 7.1 removes the irqfd from the previous vCPU's list before it writes the remapping entry. If that
 * vCPU blocks in between, IsRun of the entry stays set, so the IOMMU rings a doorbell for a request, which wakes no
 * blocking vCPU. Linux's source allows this race, but no run has shown it. This model kicks the previous vCPU after the
 * write, so that this vCPU evaluates its IRR again.
 *
 * <p>Thread-safe. Source: {@code avic_pi_update_irte} and {@code kvm_pi_update_irte} of Linux 7.1, {@code
 * svm_ir_list_add} of Linux 6.12.
 */
public class AvicIrqfd implements IrteUpdate {
    private static final int NONE = -1;

    final AvicVm vm;
    private final SharedWords words;
    private final int number;
    private final GaUnit unit;
    private final int entry;

    AvicIrqfd(AvicVm vm, int number, GaUnit unit, int entry) {
        this.vm = vm;
        this.words = vm.words();
        this.number = number;
        this.unit = unit;
        this.entry = entry;
    }

    int number() {
        return number;
    }

    GaUnit unit() {
        return unit;
    }

    int entry() {
        return entry;
    }

    private int bypass() {
        return vm.at(AvicVm.BYPASSES + number);
    }

    /**
     * Returns the index of {@code irq_bypass_vcpu}, the vCPU to post to; the entry may still have the remapped form.
     */
    public OptionalInt vcpu() {
        int vcpu = vcpuOrNone();
        return vcpu == NONE ? OptionalInt.empty() : OptionalInt.of(vcpu);
    }

    private int vcpuOrNone() {
        return (int) words.get(bypass()) - 1;
    }

    /**
     * Posts the irqfd's interrupt to a vCPU of this VM. While AVIC is inhibited, the entry stays in remapped form.
     * Throws KernelException EINVAL if the device's DMA domain is not UNMANAGED or the unit has no guest mode. Since
     * Linux 6.17 the exception leaves the irqfd on no vCPU's list; up to 6.16 it stays on the previous vCPU's list.
     */
    public void post(AvicVcpu vcpu, InterruptVector vector) {
        if (vcpu.vm() != vm) {
            throw new IllegalArgumentException(
                    "vCPU " + vcpu.index() + " belongs to another VM: expected one of the irqfd's VM");
        }
        lock();
        int previous = vcpuOrNone();
        boolean fits = unit.usesVapic(entry);
        if (!vcpu.alwaysLogs() || fits) {
            boolean linked = vcpu.alwaysLogs()
                    ? writeThenMove(vcpu, vector.number())
                    : moveThenWrite(vcpu, vector.number(), fits);
            words.set(bypass(), linked ? vcpu.index() + 1 : 0);
            kick(previous);
        }
        unlock();
        if (!fits) {
            throw new KernelException(
                    "irq_set_vcpu_affinity",
                    "entry=" + entry + " vcpu=" + vcpu.index(),
                    Errno.EINVAL,
                    unit.isVapic() ? "the domain of the device is not UNMANAGED" : "the unit has no guest mode");
        }
    }

    @Override
    public void post(VcpuId to, InterruptVector vector) {
        post(vm.vcpu(to.number()), vector);
    }

    @Override
    public void unpost() {
        lock();
        int previous = vcpuOrNone();
        if (vm.avic().kernel() == AvicKernel.UP_TO_6_16) {
            unit.deactivate(entry);
            unlink();
        } else {
            unlink();
            unit.deactivate(entry);
        }
        words.set(bypass(), 0);
        kick(previous);
        unlock();
    }

    void lock() {
        words.lock(vm.at(AvicVm.IRQFDS_LOCK));
    }

    void unlock() {
        words.unlock(vm.at(AvicVm.IRQFDS_LOCK));
    }

    /** Since 6.17, under the new vCPU's lock; Linux checks before it takes the lock. Returns whether it is linked. */
    boolean moveThenWrite(AvicVcpu vcpu, int vector, boolean fits) {
        unlink();
        vcpu.list().lock();
        if (fits) {
            write(vcpu, vector, vcpu.isActive());
            link(vcpu);
        }
        vcpu.list().unlock();
        return fits;
    }

    void write(AvicVcpu vcpu, int vector, boolean guestMode) {
        long shadow = vcpu.shadowEntry();
        unit.post(entry, vcpu, vector, guestMode, cpu(shadow), AvicTables.GA_LOG_INTR.isSet(shadow));
    }

    /** Up to 6.16. Between the write and the removal the previous vCPU still updates the entry. */
    boolean writeThenMove(AvicVcpu vcpu, int vector) {
        boolean posts = vcpu.isActive();
        unit.post(entry, vcpu, vector, posts, GaUnit.NO_CPU, true);
        unlink();
        if (posts) {
            vcpu.list().lock();
            long shadow = vcpu.shadowEntry();
            if (AvicTables.IS_RUNNING.isSet(shadow)) {
                unit.update(entry, cpu(shadow), true);
            }
            link(vcpu);
            vcpu.list().unlock();
        }
        return posts;
    }

    static long cpu(long shadow) {
        return AvicTables.IS_RUNNING.isSet(shadow) ? AvicTables.HOST_ID.of(shadow) : GaUnit.NO_CPU;
    }

    /** Adds the irqfd to the list of a vCPU. The list's lock is held. */
    void link(AvicVcpu vcpu) {
        vcpu.list().add(number);
    }

    void unlink() {
        int vcpu = vcpuOrNone();
        if (vcpu != NONE) {
            SharedSet list = vm.vcpu(vcpu).list();
            list.lock();
            list.remove(number);
            list.unlock();
        }
    }

    /** Kicks the previous vCPU: its IRR may have an earlier request that no unit notifies any more. */
    void kick(int previous) {
        if (previous != NONE) {
            vm.vcpu(previous).thread().kick();
        }
    }

    void addBrokenRules(List<String> broken) {
        List<AvicVcpu> listing = IntStream.range(0, vm.vcpus())
                .mapToObj(vm::vcpu)
                .filter(vcpu -> vcpu.list().has(number))
                .toList();
        String irqfd = "irqfd " + number + " ";
        List<Integer> lists = listing.stream().map(AvicVcpu::index).toList();
        if (lists.size() > 1) {
            broken.add("L1: " + irqfd + "on the lists of vCPUs " + lists);
        }
        if (!lists.equals(vcpu().stream().boxed().toList())) {
            broken.add("L2: " + irqfd + "posted to " + vcpu() + ", on the lists of " + lists);
        }
        long low = unit.low(entry);
        if (!GaIrte.GUEST_MODE.isSet(low)) {
            return;
        }
        if (listing.isEmpty()) {
            broken.add("L3: " + irqfd + "in guest mode, on no list");
        }
        for (AvicVcpu vcpu : listing) {
            long cpu = cpu(vcpu.shadowEntry());
            boolean runs = GaIrte.IS_RUN.isSet(low);
            long destination = GaIrte.DESTINATION.of(low, unit.high(entry));
            boolean late = !runs && vcpu.alwaysLogs();
            if (!late && runs != (cpu != GaUnit.NO_CPU) || runs && destination != cpu) {
                broken.add("L4: " + irqfd + (runs ? "runs on " + destination : "does not run") + ", vCPU "
                        + vcpu.index() + (cpu == GaUnit.NO_CPU ? " does not run" : " runs on " + cpu));
            }
            if (!vcpu.alwaysLogs()
                    && GaIrte.GA_LOG_INTR.isSet(low)
                    && !vcpu.thread().isBlocking()) {
                broken.add("L5: " + irqfd + "logs, vCPU " + vcpu.index() + " does not block");
            }
        }
    }
}
