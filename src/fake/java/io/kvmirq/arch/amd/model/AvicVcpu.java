/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import static io.kvmirq.arch.amd.AvicTables.GA_LOG_INTR;
import static io.kvmirq.arch.amd.AvicTables.HOST_ID;
import static io.kvmirq.arch.amd.AvicTables.IS_RUNNING;

import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.VcpuHooks;
import io.kvmirq.arch.vcpu.VcpuThread;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A vCPU with AVIC: a thread, the IRR and ISR of its backing page, its entry in the physical table, and the irqfds that
 * are posted to it. When its {@link #thread} is loaded, is preempted, blocks or wakes, the vCPU changes its physical
 * table entry and the remapping entries that post to it. Vectors are 0–255.
 *
 * <p>Safe for use by the vCPU's own thread and any number of other threads.
 */
public final class AvicVcpu {
    static final int VECTOR_WORDS = 4;

    static final int IRR = 0;
    static final int ISR = IRR + VECTOR_WORDS;
    /** KVM's copy of the entry, with GALogIntr: {@code avic_physical_id_entry}. */
    static final int SHADOW = ISR + VECTOR_WORDS;
    /** The entry of the hardware's physical APIC ID table. */
    static final int TABLE = SHADOW + 1;
    /** Whether AVIC is disabled for this vCPU. */
    static final int INACTIVE = TABLE + 1;

    static final int THREAD = INACTIVE + 1;
    static final int LIST = THREAD + VcpuThread.WORDS;

    private final AvicVm vm;
    private final int index;
    private final long page;
    private final SharedWords words;
    private final int base;
    private final SharedSet list;
    private final VcpuThread thread;
    private final boolean alwaysLogs;
    private int id;

    AvicVcpu(AvicVm vm, int index, long page, SharedWords words, int base, SharedSet list) {
        this.vm = vm;
        this.index = index;
        this.id = index;
        this.page = page;
        this.words = words;
        this.base = base;
        this.list = list;
        this.alwaysLogs = vm.avic().kernel().alwaysLogs();
        // BACKING_PAGE checks the address.
        long entry = AvicTables.PHYSICAL_VALID.mask() | AvicTables.BACKING_PAGE.with(page >>> 12);
        words.set(at(SHADOW), entry);
        words.set(at(TABLE), entry);
        this.thread = new VcpuThread(vm.avic().host(), index, words, at(THREAD), new StepHooks());
    }

    static int words(int irqfds) {
        return LIST + SharedSet.words(irqfds);
    }

    int at(int word) {
        return base + word;
    }

    /** Returns the indices of the remapping entries of the irqfds that are posted to this vCPU. */
    public List<Integer> entries() {
        List<Integer> entries = new ArrayList<>();
        for (int i = list.next(0); i >= 0; i = list.next(i + 1)) {
            entries.add(vm.irqfd(i).entry());
        }
        return entries;
    }

    AvicVm vm() {
        return vm;
    }

    SharedSet list() {
        return list;
    }

    public int index() {
        return index;
    }

    public VcpuThread thread() {
        return thread;
    }

    /** The vCPU's id in the VM: the vCPU's index, unless {@link #setId} was called. */
    public int id() {
        return id;
    }

    /** Gives the vCPU another id than its index. Call this method before other threads use the vCPU. */
    public void setId(int other) {
        id = other;
    }

    public long gaTag() {
        return vm.avic().tags().tag(vm.id(), id, index);
    }

    public long page() {
        return page;
    }

    /** Returns the vCPU's entry in the physical table that the CPU reads. IsRunning is 0 without enable_ipiv. */
    public long tableEntry() {
        return words.get(at(TABLE));
    }

    public long shadowEntry() {
        return words.get(at(SHADOW));
    }

    /** Whether AVIC is enabled for this vCPU: each guest entry decides, when the vCPU reads its VM's inhibits. */
    public boolean isActive() {
        return words.get(at(INACTIVE)) == 0;
    }

    boolean alwaysLogs() {
        return alwaysLogs;
    }

    /** Sets a vector in the IRR for a unit or KVM, by one locked access. Does not allocate. */
    void request(int vector) {
        words.or(at(IRR + vector / Long.SIZE), 1L << vector);
    }

    /** Requests a vector by software, as a remapped irqfd does ({@code svm_complete_interrupt_delivery}). */
    public void deliver(int vector) {
        checkVector(vector);
        request(vector);
        boolean inGuest = thread.isInGuestMode();
        if (!isActive()) {
            thread.request();
            thread.kick();
        } else if (inGuest) {
            thread.interrupt(AvicHost.DOORBELL);
        } else {
            thread.wake();
        }
    }

    /** The guest takes the vectors of its IRR, all at once: priorities are not modelled. */
    void takeInterrupts() {
        move(IRR, words, at(ISR));
    }

    private void move(int set, SharedWords to, int at) {
        for (int i = 0; i < VECTOR_WORDS; i++) {
            if (words.get(at(set + i)) != 0) {
                to.or(at + i, words.swap(at(set + i), 0));
            }
        }
    }

    /** Moves the IRR to four words of {@code taken} from index {@code at} on, for a LAPIC that delivers the vectors. */
    public void takeInterrupts(SharedWords taken, int at) {
        takeInterrupts();
        move(ISR, taken, at);
    }

    /** Whether the guest has taken a vector and not yet written its EOI. */
    public boolean isInService(int vector) {
        checkVector(vector);
        return (words.get(at(ISR + vector / Long.SIZE)) >>> vector & 1) != 0;
    }

    /**
     * The guest ends {@code vector}. Throws IllegalStateException if it is not the highest in service, or no guest
     * runs.
     */
    public void end(int vector) {
        checkVector(vector);
        if (!thread.isGuest()) {
            throw new IllegalStateException(
                    "the guest of vCPU " + index + " does not run: the vCPU has to enter first");
        }
        if (!isInService(vector)) {
            throw new IllegalStateException("vector " + vector + " of vCPU " + index
                    + " is not in service: the guest ends an interrupt only after it has taken it");
        }
        int highest = highestInService();
        if (vector != highest) {
            throw new IllegalStateException("vector " + vector + " of vCPU " + index
                    + " cannot end now: an EOI ends the highest vector in service, " + highest);
        }
        words.and(at(ISR + vector / Long.SIZE), ~(1L << vector));
    }

    private int highestInService() {
        int vector = VECTOR_WORDS * Long.SIZE - 1;
        while (!isInService(vector)) {
            vector--;
        }
        return vector;
    }

    /** Whether the vector's bit in the IRR is set. */
    public boolean isRequested(int vector) {
        checkVector(vector);
        return (words.get(at(IRR + vector / Long.SIZE)) >>> vector & 1) != 0;
    }

    public boolean hasInterrupt() {
        for (int i = 0; i < VECTOR_WORDS; i++) {
            if (words.get(at(IRR + i)) != 0) {
                return true;
            }
        }
        return false;
    }

    private static void checkVector(int vector) {
        if (vector < 0 || vector >= VECTOR_WORDS * Long.SIZE) {
            throw new IllegalArgumentException("vector " + vector + " is out of range: expected 0-255");
        }
    }

    /** {@code __avic_vcpu_load}. The lock lets an irqfd's update see the new entry, or link first. */
    private void run(HostCpu here, boolean activates) {
        list.lock();
        long entry = IS_RUNNING.put(GA_LOG_INTR.put(HOST_ID.put(shadowEntry(), here.id()), 0), 1);
        words.set(at(SHADOW), entry);
        words.set(at(TABLE), vm.avic().hasIpiv() ? entry : IS_RUNNING.put(entry, 0));
        for (int i = list.next(0); i >= 0; i = list.next(i + 1)) {
            AvicIrqfd irqfd = vm.irqfd(i);
            if (activates) {
                // Up to 6.16 the entry does not show that the vCPU runs: amd_iommu_activate_guest_mode has no CPU.
                irqfd.unit().activate(irqfd.entry(), alwaysLogs ? GaUnit.NO_CPU : here.id(), alwaysLogs);
            } else {
                irqfd.unit().update(irqfd.entry(), here.id(), alwaysLogs);
            }
        }
        list.unlock();
    }

    /** {@code __avic_vcpu_put}. The APIC id of the CPU stays in the entry. */
    private void stop(boolean blocks, boolean deactivates) {
        list.lock();
        long entry = shadowEntry();
        if (IS_RUNNING.isSet(entry)) {
            for (int i = list.next(0); i >= 0; i = list.next(i + 1)) {
                AvicIrqfd irqfd = vm.irqfd(i);
                if (deactivates) {
                    irqfd.unit().deactivate(irqfd.entry());
                } else {
                    irqfd.unit().update(irqfd.entry(), GaUnit.NO_CPU, alwaysLogs || blocks);
                }
            }
            entry = IS_RUNNING.put(entry, 0);
            if (vm.avic().hasIpiv()) {
                words.set(at(TABLE), entry);
            }
            words.set(at(SHADOW), GA_LOG_INTR.put(entry, blocks ? 1 : 0));
        }
        list.unlock();
    }

    private final class StepHooks implements VcpuHooks {
        /** Models {@code avic_vcpu_load}. */
        @Override
        public void load(HostCpu here, Optional<HostCpu> last) {
            if (isActive() && !thread.isBlocking()) {
                run(here, false);
            }
        }

        /** Models {@code avic_refresh_apicv_exec_ctrl}. */
        @Override
        public void prepare(HostCpu here) {
            boolean active = !vm.isInhibited();
            if (active != isActive()) {
                words.set(at(INACTIVE), active ? 0 : 1);
                if (active) {
                    run(here, true);
                } else {
                    stop(false, true);
                }
            }
        }

        /** VMRUN evaluates the IRR. A sender sets the IRR before it reads the mode or IsRun. */
        @Override
        public void entered(HostCpu here) {
            takeInterrupts();
        }

        /** Models {@code avic_vcpu_put}. For a blocking vCPU, IsRun is clear already. */
        @Override
        public void preempted(HostCpu here) {
            if (isActive()) {
                stop(false, false);
            }
        }

        /** Models {@code avic_vcpu_blocking}. Clears IsRun before the last read of the IRR. */
        @Override
        public void blocking(HostCpu here) {
            if (isActive()) {
                stop(true, false);
            }
        }

        @Override
        public boolean hasInterrupt() {
            return AvicVcpu.this.hasInterrupt();
        }

        /** Models {@code avic_vcpu_unblocking}. */
        @Override
        public void unblocked(HostCpu here) {
            if (isActive()) {
                run(here, false);
            }
        }
    }
}
