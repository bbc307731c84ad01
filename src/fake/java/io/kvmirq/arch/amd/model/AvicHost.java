/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.amd.GaTagKernel;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * The part of KVM's AVIC state that all VMs of a host share: the VMs by id, the GA log notifier, and the doorbell.
 *
 * <p>Any number of threads may use the host after all its VMs are made. Source: {@code avic_vm_init} and {@code
 * avic_ga_log_notifier} of Linux 7.1.
 */
public final class AvicHost {
    /** The pending bit for the doorbell, which has no vector. No interrupt has vector 0. */
    static final int DOORBELL = 0;

    private final HostCpus host;
    private final AvicKernel kernel;
    private final GaTagKernel tags;
    private final boolean ipiv;
    private final int lastId;
    private volatile List<AvicVm> vms = List.of();
    private int nextId;
    private LongConsumer logged = tag -> {};

    /**
     * If {@code ipiv} is set, the sender of a guest's IPI sees the target's IsRunning (enable_ipiv of kvm_amd; true
     * before 6.17). Throws IllegalArgumentException if a CPU id does not fit the 12 bits of a table entry.
     */
    public AvicHost(HostCpus host, AvicKernel kernel, boolean ipiv) {
        this(host, kernel, GaTagKernel.FROM_6_18, ipiv);
    }

    /** Creates a host like {@link #AvicHost(Host,AvicKernel,boolean)}, with this layout of GATags. */
    public AvicHost(HostCpus host, AvicKernel kernel, GaTagKernel tags, boolean ipiv) {
        this(host, kernel, tags, ipiv, (int) tags.vm().max());
    }

    AvicHost(HostCpus host, AvicKernel kernel, GaTagKernel tags, boolean ipiv, int lastId) {
        host.cpus().forEach(cpu -> AvicTables.HOST_ID.with(cpu.id()));
        this.host = host;
        this.kernel = kernel;
        this.tags = tags;
        this.ipiv = ipiv;
        this.lastId = lastId;
        host.handle(DOORBELL, this::rung);
    }

    /** Sets an {@code observer} that receives the GATag of each GA log entry that KVM's notifier reads. */
    public void observeLog(LongConsumer observer) {
        logged = observer;
    }

    public HostCpus host() {
        return host;
    }

    AvicKernel kernel() {
        return kernel;
    }

    GaTagKernel tags() {
        return tags;
    }

    boolean hasIpiv() {
        return ipiv;
    }

    /** The id of a new VM. Ids start at 1, wrap around, and skip used ids; IllegalStateException if all are used. */
    synchronized int add(AvicVm vm) {
        vms.stream().filter(vm::overlaps).findFirst().ifPresent(other -> {
            throw new IllegalArgumentException(
                    "the backing pages overlap those of VM " + other.id() + ": give each VM pages of its own");
        });
        if (vms.size() == lastId) {
            throw new IllegalStateException("all " + lastId + " ids of VMs are in use: destroy a VM first");
        }
        do {
            nextId = nextId % lastId + 1;
        } while (vm(nextId) != null);
        List<AvicVm> more = new ArrayList<>(vms);
        more.add(vm);
        vms = List.copyOf(more);
        return nextId;
    }

    synchronized void remove(AvicVm vm) {
        vms = vms.stream().filter(other -> other != vm).toList();
    }

    private @Nullable AvicVm vm(long id) {
        List<AvicVm> all = vms;
        for (int i = 0; i < all.size(); i++) {
            if (all.get(i).id() == id) {
                return all.get(i);
            }
        }
        return null;
    }

    /** Returns the vCPU that a GATag names. Empty if no vCPU has this tag. */
    public Optional<AvicVcpu> vcpu(long gaTag) {
        AvicVm vm = vm(tags.vm().of(gaTag));
        return vm == null ? Optional.empty() : vm.named((int) tags.vcpu().of(gaTag));
    }

    /** The notifier of the GA log: wakes the vCPU that the GATag names, if any. The vector is in its backing page. */
    void wake(long gaTag) {
        logged.accept(gaTag);
        vcpu(gaTag).ifPresent(vcpu -> vcpu.thread().wake());
    }

    /** The vCPU with a backing page, or null. Does not allocate. */
    @Nullable
    AvicVcpu withPage(long address) {
        List<AvicVm> all = vms;
        for (int i = 0; i < all.size(); i++) {
            AvicVcpu vcpu = all.get(i).withPage(address);
            if (vcpu != null) {
                return vcpu;
            }
        }
        return null;
    }

    /** The doorbell: the CPU evaluates the IRR of its running guest again. Without a guest it does nothing. */
    private void rung(HostCpu cpu) {
        List<AvicVm> all = vms;
        for (int i = 0; i < all.size(); i++) {
            all.get(i).rung(cpu);
        }
    }
}
