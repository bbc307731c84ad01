/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Explorer.Access;
import java.util.stream.LongStream;

/** The words of a VM with one vCPU or two, of its host and of a remapping table, and their invariants for a search. */
abstract class PostedWords implements Explorer.Model {
    static final int SLEEPER = 1;

    /**
     * The state of the search itself: whether the vCPU sleeps with interrupts off, whether it was yielded to, and
     * whether the entry was changed or a request of its device blocked.
     */
    private static final int MARKS = 3;

    final int cpus;
    final ExploredWords words;
    final PostedVm vm;
    final PostedVcpu vcpu;
    final boolean hasSleeper;
    final long[] start;
    final int marks;
    final int entry;
    boolean yields;
    boolean isRerouted;

    PostedWords(PostedVariant variant, int cpus, int vcpus) {
        this.cpus = cpus;
        this.hasSleeper = vcpus > SLEEPER;
        int hostCpus = hasSleeper ? cpus + 1 : cpus;
        int ofVm = PostedVm.words(hostCpus, vcpus);
        this.entry = ofVm + HostCpus.words(hostCpus);
        this.marks = entry + ExploredTable.WORDS;
        int size = marks + MARKS + vcpus * PiDescriptor.PIR_WORDS;
        this.words = variant.words(size);
        this.start = new long[size];
        this.words.at(start);
        HostCpus host = new HostCpus(words, ofVm, LongStream.range(0, hostCpus).toArray());
        this.vm = new PostedVm(host, words, vcpus, true, variant.kernel(), variant::over);
        this.vcpu = vm.vcpu(0);
    }

    /** Where the vectors are that a guest took. */
    final int taken(int of) {
        return words.size() - (of + 1) * PiDescriptor.PIR_WORDS;
    }

    /** The first actors are the vCPUs. */
    @Override
    public boolean owns(int actor, int word) {
        if (actor > (hasSleeper ? SLEEPER : 0)) {
            return false;
        }
        VcpuThread own = vm.vcpu(actor).thread();
        return word == own.at(VcpuThread.MODE)
                || word == own.at(VcpuThread.CPU)
                || word == own.at(VcpuThread.LOADED)
                || word == own.at(VcpuThread.BLOCKING);
    }

    @Override
    public boolean isPrivate(int actor, int word) {
        if (actor > (hasSleeper ? SLEEPER : 0)) {
            return false;
        }
        VcpuThread own = vm.vcpu(actor).thread();
        return word == taken(actor)
                || word == own.at(VcpuThread.BLOCKING)
                || !yields && (word == own.at(VcpuThread.LOADED) || actor == 0 && (word == marks || word == marks + 1));
    }

    @Override
    public int lockOf(int word) {
        for (HostCpu cpu : vm.host().cpus()) {
            if (word == cpu.at(HostCpu.GUEST)) {
                return cpu.at(HostCpu.INTERRUPTS_OFF);
            }
            if (cpus == 1 && word == (cpu.number() == cpus ? SLEEPER : 0) * PostedVcpu.WORDS + PostedVcpu.RVI) {
                return cpu.at(HostCpu.INTERRUPTS_OFF);
            }
            if (word == vm.list(cpu).at(WakeupList.BITS)) {
                return vm.list(cpu).at(WakeupList.LOCK);
            }
        }
        return -1;
    }

    @Override
    public boolean isConstant(int word) {
        // All vectors are in the first word of PIR, of the IRR and of those taken.
        if (word >= entry && word < marks) {
            return !isRerouted;
        }
        if (word >= marks + MARKS) {
            return (words.size() - word) % PiDescriptor.PIR_WORDS != 0;
        }
        int own = word % PostedVcpu.WORDS;
        return word < (hasSleeper ? 2 : 1) * PostedVcpu.WORDS
                && (own > 0 && own < PiDescriptor.PIR_WORDS
                        || own > PostedVcpu.IRR && own < PostedVcpu.THREAD
                        || own == PostedVcpu.THREAD + VcpuThread.REQUEST);
    }

    @Override
    public String describe(Access access) {
        return WordNames.describe(access, this::name);
    }

    private String name(int word) {
        if (word >= entry && word < marks) {
            return (word - entry < ExploredTable.COPY ? "entry" : "copy of the entry")
                    + (word % 2 == entry % 2 ? ", low word" : ", high word");
        }
        for (HostCpu cpu : vm.host().cpus()) {
            if (word == cpu.at(HostCpu.PENDING) + Apic.NOTIFICATION / Long.SIZE) {
                return WordNames.PENDING + cpu.number();
            }
            if (word == vm.list(cpu).at(WakeupList.BITS)) {
                return "wake-up list of cpu " + cpu.number();
            }
        }
        return switch (word) {
            case 0 -> "PIR";
            case PostedVcpu.IRR -> "IRR";
            case PostedVcpu.RVI -> "RVI";
            case PostedVcpu.THREAD + VcpuThread.MODE -> "guest mode";
            case PostedVcpu.THREAD + VcpuThread.ASLEEP -> "asleep";
            default -> word == vm.bypasses() ? "bypasses" : "";
        };
    }
}
