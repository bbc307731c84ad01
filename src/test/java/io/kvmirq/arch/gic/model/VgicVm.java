/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import java.util.function.IntConsumer;

/**
 * A VM with a GICv2 in the kernel: its distributor and its vCPUs.
 *
 * <p>The maintenance interrupt has a vector of each host CPU, and its handler serves the vCPU whose thread is on that
 * CPU. An interrupt that arrives later, when another vCPU is there, finds nothing to do for that one, and the vCPU it
 * was raised for waits until its list registers are loaded again. KVM cannot tell: hardware must not be that late.
 *
 * <p>Make a VM before other threads use its host. After that it is safe for use by any number of threads. A spinlock
 * makes others wait.
 */
public final class VgicVm {
    /** The vector of a {@link HostCpu} that stands for the maintenance interrupt: its PPI, INTID 25. */
    public static final int MAINTENANCE = 25;

    private final HostCpus host;
    private final IntConsumer deactivate;
    private final Distributor distributor;
    private final VgicVcpu[] vcpus;
    private final Parts parts;
    private volatile boolean late;

    /** The parts of a VM: a test replaces some. */
    interface Parts {
        default VirtualInterface registers(Distributor gic, int vcpu, int registers, SharedWords words, int base) {
            return new VirtualInterface(gic, vcpu, registers, words, base);
        }

        /** The thread is about to announce guest mode. Interrupts are off. */
        default void prepare(VirtualInterface registers, HostCpu here) {
            registers.syncToCpu();
        }

        /** The guest runs. An interface with a cause raises its interrupt as soon as it is loaded into the hardware. */
        default void entered(VgicVcpu vcpu) {
            vcpu.signal();
        }

        /** The guest has exited, or its entry was refused. Interrupts are off. */
        default void exited(VirtualInterface registers) {
            registers.syncFromCpu();
        }

        /** An interrupt is deliverable to a vCPU. */
        default void kick(VgicVcpu vcpu) {
            vcpu.kick();
        }
    }

    /**
     * A VM in words of its own. No vCPU is loaded, no SPI is enabled.
     *
     * @param vcpus 1–8
     * @param shared the number of SPIs, 0–988
     * @param registers the number of list registers of each vCPU, 1–64. With one, UIE always has its cause: the guest
     *     gets as far as the maintenance interrupt is late
     * @param deactivate takes the id of a physical interrupt that a guest's end deactivates
     * @throws IllegalArgumentException if a number is out of range, or the host has more than 64 CPUs
     */
    public VgicVm(HostCpus host, int vcpus, int shared, int registers, IntConsumer deactivate) {
        this(
                host,
                SharedWords.of(new long[words(vcpus, shared, registers)]),
                0,
                new Size(vcpus, shared, registers),
                deactivate,
                new Parts() {});
    }

    /** The number of vCPUs, of SPIs, and of list registers of each vCPU. */
    record Size(int vcpus, int shared, int registers) {}

    VgicVm(HostCpus host, SharedWords words, int base, Size size, IntConsumer deactivate, Parts parts) {
        if (host.cpus().size() > Long.SIZE) {
            throw new IllegalArgumentException(
                    "a host of " + host.cpus().size() + " CPUs: expected 1-" + Long.SIZE + " CPUs under a VGIC");
        }
        this.host = host;
        this.deactivate = deactivate;
        this.parts = parts;
        this.distributor = new Distributor(words, base, size.vcpus(), size.shared(), true, this::kick);
        this.vcpus = new VgicVcpu[size.vcpus()];
        int first = base + Distributor.words(size.vcpus(), size.shared());
        for (int i = 0; i < vcpus.length; i++) {
            int at = first + i * VgicVcpu.words(size.registers());
            VirtualInterface registers =
                    parts.registers(distributor, i, size.registers(), words, at + VgicVcpu.INTERFACE);
            vcpus[i] = new VgicVcpu(this, i, words, at, registers);
        }
        host.handle(MAINTENANCE, this::maintain);
    }

    static int words(int vcpus, int shared, int registers) {
        Distributor.checkSize(vcpus, shared, true);
        return Distributor.words(vcpus, shared) + vcpus * VgicVcpu.words(registers);
    }

    public HostCpus host() {
        return host;
    }

    public Distributor distributor() {
        return distributor;
    }

    public int vcpus() {
        return vcpus.length;
    }

    /** A vCPU by its index. */
    public VgicVcpu vcpu(int index) {
        return vcpus[index];
    }

    IntConsumer deactivate() {
        return deactivate;
    }

    Parts parts() {
        return parts;
    }

    private void kick(int vcpu) {
        parts.kick(vcpus[vcpu]);
    }

    /** Uses no iterator, so that it does not allocate. */
    private void maintain(HostCpu cpu) {
        for (int i = 0; i < vcpus.length; i++) {
            if (vcpus[i].isOn(cpu)) {
                vcpus[i].maintain(cpu);
            }
        }
    }

    /** Maintenance interrupts are held back from now on, as by hardware that is late. */
    public void holdMaintenance() {
        late = true;
    }

    /** Maintenance interrupts that were held back arrive, and later ones arrive at once. */
    public void releaseMaintenance() {
        late = false;
        for (VgicVcpu vcpu : vcpus) {
            vcpu.release();
        }
    }

    boolean isLate() {
        return late;
    }
}
