/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.file.Ledger;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A host with 4 processors and one remapping unit. The caller of each method holds the kernel's lock. */
public abstract class PostingMachine implements IrqHardware {
    /** The number of entries of the remapping table. */
    static final int ENTRIES = 4096;

    /** The most vCPUs of a VM, a limit of the fake. */
    static final int VCPUS = 256;

    /** The APIC ids of the processors, which differ from the CPU numbers. */
    private static final long[] APIC_IDS = {0, 2, 4, 6};

    /** The vector of a device's interrupt on processor 0 of the host. */
    static final int HOST_VECTOR = 0x31;

    private final Build build;
    private final FakeTime time;
    private final Ledger ledger;
    private final HostCpus cpus = new HostCpus(APIC_IDS);
    private final BitSet entries = new BitSet();
    private final List<PostingGuest> guests = new ArrayList<>();
    private final List<PostingVcpu> vcpus = new ArrayList<>();
    private final Tracepoints tracepoints;
    /** The vCPU that was last loaded on each processor. */
    private final @Nullable PostingVcpu[] loaded = new PostingVcpu[APIC_IDS.length];

    PostingMachine(Build build, FakeTime time, Ledger ledger) {
        this.build = build;
        this.tracepoints = new Tracepoints(build.isSince(6, 11));
        this.time = time;
        this.ledger = ledger;
    }

    public static IrqHardware create(Build build, FakeTime time, Ledger ledger) {
        return switch (build.hardware()) {
            case REMAPPING, AMD_VI, GICV2, GICV3, GICV4 -> IrqHardware.TO_HOST;
            case VTD, VTD_POSTING -> new VtdMachine(build, time, ledger);
            case AMD_AVIC, AVIC_INHIBITED -> new AvicMachine(build, time, ledger);
        };
    }

    /** Whether KVM lets hardware post device interrupts ({@code kvm_arch_has_irq_bypass()}). */
    public abstract boolean posts();

    public final PostingGuest newGuest() {
        PostingGuest guest = makeGuest();
        guests.add(guest);
        return guest;
    }

    abstract PostingGuest makeGuest();

    final List<PostingGuest> guests() {
        return guests;
    }

    /** The vCPU to which hardware posts at an address. */
    final Optional<PostingVcpu> vcpuAt(long address) {
        // Each interrupt of a device comes here.
        for (PostingGuest guest : guests) {
            PostingVcpu found = guest.vcpuAt(address);
            if (found != null) {
                return Optional.of(found);
            }
        }
        return Optional.empty();
    }

    /** The files of processors and of KVM's {@code module}, as root reads them; {@code apic} is a module parameter. */
    final Map<String, String> files(String vendor, String flags, String commandLine, String module, String apic) {
        Map<String, String> files = new HashMap<>();
        files.put("proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 " + commandLine);
        StringBuilder processors = new StringBuilder();
        for (HostCpu cpu : cpus.cpus()) {
            processors.append("processor\t: " + cpu.number() + "\nvendor_id\t: " + vendor + "\napicid\t\t: " + cpu.id()
                    + "\nflags\t\t: fpu apic cx16 x2apic " + flags + "\n\n");
        }
        files.put("proc/cpuinfo", processors.toString().stripTrailing());
        String parameters = "sys/module/" + module + "/parameters/";
        files.put(parameters + apic, "Y");
        if (build.isSince(6, 16)) {
            files.put(parameters + "enable_device_posted_irqs", posts() ? "Y" : "N");
        }
        return files;
    }

    abstract UnitEntry newEntry(int index, int requester);

    final HostCpus cpus() {
        return cpus;
    }

    public final Tracepoints tracepoints() {
        return tracepoints;
    }

    final Ledger ledger() {
        return ledger;
    }

    final FakeTime time() {
        return time;
    }

    /** Notes that hardware posted the message of an entry to its vCPU. */
    final void posted(UnitEntry.View entry) {
        if (entry.vcpu().isPresent() && entry.vector().isPresent()) {
            entry.vcpu().get().posted(entry.vector().get().number());
        }
    }

    /** Returns all vCPUs with in-kernel LAPICs, in the order of creation. */
    public final List<PostingVcpu> vcpus() {
        return List.copyOf(vcpus);
    }

    final void add(PostingVcpu vcpu) {
        vcpus.add(vcpu);
    }

    final void remove(PostingVcpu vcpu) {
        vcpus.remove(vcpu);
    }

    @Override
    public final Entry allocate(int requester) {
        int index = entries.nextClearBit(0);
        if (index == ENTRIES) {
            throw new NotModelledException("a remapping unit with more than " + ENTRIES + " entries in use");
        }
        entries.set(index);
        return newEntry(index, requester);
    }

    final void free(int index) {
        entries.clear(index);
    }

    /** Lets the processors take host interrupts until none is pending. */
    final void settle() {
        boolean settled = false;
        while (!settled) {
            settled = true;
            for (int i = 0; i < loaded.length; i++) {
                HostCpu cpu = cpus.cpu(i);
                while (cpu.isInterrupted()) {
                    cpu.takeInterrupt();
                    settled = false;
                }
            }
        }
    }

    /** The vCPU that is loaded on a processor. */
    final @Nullable PostingVcpu on(int cpu) {
        PostingVcpu last = loaded[cpu];
        return last != null && last.isLoadedOn(cpu) ? last : null;
    }

    final void loads(PostingVcpu vcpu, int cpu) {
        loaded[cpu] = vcpu;
    }

    /** A processor for a vCPU: the preferred one unless another vCPU is loaded there, otherwise an idle one if any. */
    final int idle(int preferred) {
        for (int i = 0; i < loaded.length; i++) {
            int cpu = (preferred + i) % loaded.length;
            if (on(cpu) == null) {
                return cpu;
            }
        }
        return preferred;
    }
}
