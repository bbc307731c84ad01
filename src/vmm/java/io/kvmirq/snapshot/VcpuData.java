/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.X86Msr;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.X86DebugRegisters;
import io.kvmirq.kvm.X86Events;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Msrs;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86Vcpu;
import io.kvmirq.kvm.X86Xsave;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Stream;

/** The state of a vCPU, without CPUID if the VMM has set none, and without LAPIC if the kernel has none. */
record VcpuData(
        VcpuState state,
        Optional<Cpuid> cpuid,
        int tscKilohertz,
        X86SystemRegisters system,
        long xcr0,
        X86Xsave xsave,
        X86Registers registers,
        Optional<X86Lapic> lapic,
        X86Msrs msrs,
        X86DebugRegisters debug,
        X86Events events) {
    /** MSRs that count time: the TSC, and Hyper-V's VP_RUNTIME and TIME_REF_COUNT, which KVM derives from its clock. */
    private static final Set<Integer> GOING_ON = Set.of(X86Msr.TSC.number(), 0x4000_0010, 0x4000_0020);

    /** The number of values in a CPUID leaf. */
    private static final int LEAF = 7;

    private static final int MOST_LEAVES = 256;
    private static final int MOST_MSRS = 4096;
    private static final int VECTOR = 0xff;
    /** The offset of the LAPIC's IRR: requested vectors, 32 in each register. */
    private static final int IRR = 0x200;

    private static final int REGISTER = 16;

    /**
     * Reads a vCPU of this thread. The MP state is read first, because reading it makes KVM process a pending INIT or
     * SIPI. Events are read last, because reading other state may change them.
     */
    static VcpuData read(Vcpu vcpu, VcpuState state, boolean hasLapic) {
        X86Vcpu x86 = vcpu.x86();
        X86SystemRegisters system = x86.systemRegisters();
        X86Registers registers = x86.registers();
        long xcr0 = x86.xcr0();
        X86Xsave xsave = x86.xsave();
        Optional<X86Lapic> lapic = hasLapic ? Optional.of(x86.lapic()) : Optional.empty();
        X86Msrs msrs = x86.msrs();
        X86DebugRegisters debug = x86.debugRegisters();
        int rate = x86.tscKilohertz();
        return new VcpuData(state, x86.cpuid(), rate, system, xcr0, xsave, registers, lapic, msrs, debug, x86.events());
    }

    /**
     * Restores a vCPU of this thread. CPUID comes first, because it decides which other values are allowed. System
     * registers come before the LAPIC, because they contain its mode. MSRs come after the LAPIC, because TSC_DEADLINE
     * is ignored unless the LAPIC's timer is in that mode.
     */
    void write(Vcpu vcpu) {
        X86Vcpu x86 = vcpu.x86();
        cpuid.ifPresent(x86::setCpuid);
        if (x86.tscKilohertz() != tscKilohertz) {
            x86.setTscKilohertz(tscKilohertz);
        }
        x86.setSystemRegisters(system);
        x86.setXcr0(xcr0);
        x86.setXsave(xsave);
        x86.setRegisters(registers);
        lapic.ifPresent(x86::setLapic);
        x86.setMsrs(msrs);
        x86.setDebugRegisters(debug);
        x86.setEvents(events);
        vcpu.setState(state);
    }

    // Demands on the host

    /** The reason why this host cannot restore the vCPU, as a sentence. Empty if it can. */
    Optional<String> misfit(Vcpu vcpu, Cpuid host, X86Msrs known) {
        for (int number : msrs.numbers()) {
            if (!known.numbers().contains(number)) {
                return Optional.of("MSR " + X86Msr.text(number) + ", which KVM on this host does not have");
            }
        }
        if (xsave.size() < vcpu.x86().xsave().size()) {
            return Optional.of("an XSAVE area of " + xsave.size() + " bytes, and those of this VM have "
                    + vcpu.x86().xsave().size());
        }
        return cpuid.flatMap(saved -> CpuFeatures.missing(saved, host));
    }

    // Comparison

    /** Fields that differ from the saved state, clocks excepted. */
    Optional<String> difference(VcpuData saved) {
        return Stream.of(
                        differs("state", state, saved.state),
                        tscKilohertz == saved.tscKilohertz
                                ? Optional.<String>empty()
                                : Optional.of("TSC of " + tscKilohertz + " kHz, not " + saved.tscKilohertz),
                        system.difference(saved.system),
                        differs("XCR0", Node.word(xcr0), Node.word(saved.xcr0)),
                        xsave.difference(saved.xsave).map("XSAVE "::concat),
                        registers.difference(saved.registers),
                        lapicDifference(saved),
                        msrDifference(saved),
                        debug.difference(saved.debug),
                        events.difference(saved.events))
                .flatMap(Optional::stream)
                .findFirst();
    }

    static Optional<String> differs(String name, Object now, Object saved) {
        return now.equals(saved) ? Optional.empty() : Optional.of(name + " " + now + ", not " + saved);
    }

    private Optional<String> lapicDifference(VcpuData saved) {
        return lapic.flatMap(now -> saved.lapic.flatMap(
                was -> withoutTime(now, was).difference(withoutTime(was, was)).map("LAPIC "::concat)));
    }

    /**
     * Removes values that change with time: the timer runs on, and may have raised its vector. PPR follows from TPR and
     * ISR before the guest reads it.
     */
    private static X86Lapic withoutTime(X86Lapic lapic, X86Lapic saved) {
        int vector = saved.get(X86Lapic.Name.LVT_TIMER) & VECTOR;
        int word = IRR + vector / Integer.SIZE * REGISTER;
        X86Lapic copy = X86Lapic.fromBytes(lapic.bytes())
                .set(X86Lapic.Name.TIMER_CURRENT, 0)
                .set(X86Lapic.Name.PPR, 0);
        return copy.set(word, copy.get(word) & ~(1 << vector % Integer.SIZE));
    }

    private Optional<String> msrDifference(VcpuData saved) {
        return saved.msrs.numbers().stream()
                .filter(number -> !GOING_ON.contains(number))
                .filter(number -> !hasFired(number, saved))
                .flatMap(
                        number -> differs(
                                "MSR " + X86Msr.text(number),
                                Node.word(msrs.get(number)),
                                Node.word(saved.msrs.get(number)))
                                .stream())
                .findFirst();
    }

    /** Whether the TSC deadline has expired, so that the LAPIC has its interrupt. */
    private boolean hasFired(int number, VcpuData saved) {
        return number == X86Msr.TSC_DEADLINE.number()
                && msrs.get(number) == 0
                && Long.compareUnsigned(saved.msrs.get(number), msrs.get(X86Msr.TSC)) <= 0;
    }

    // The document

    Map<String, Object> tree() {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("state", state.name());
        cpuid.ifPresent(cpuid -> tree.put(
                "cpuid",
                cpuid.leaves().stream()
                        .map(leaf -> List.of(
                                leaf.function(),
                                leaf.index(),
                                leaf.flags(),
                                leaf.eax(),
                                leaf.ebx(),
                                leaf.ecx(),
                                leaf.edx()))
                        .toList()));
        tree.put("tscKilohertz", tscKilohertz);
        tree.put("systemRegisters", Node.bytes(system.bytes()));
        tree.put("xcr0", Node.word(xcr0));
        tree.put("xsave", Node.bytes(xsave.bytes()));
        tree.put("registers", Node.bytes(registers.bytes()));
        lapic.ifPresent(lapic -> tree.put("lapic", Node.bytes(lapic.bytes())));
        tree.put(
                "msrs",
                msrs.numbers().stream()
                        .map(number -> List.of(Node.word(Integer.toUnsignedLong(number)), Node.word(msrs.get(number))))
                        .toList());
        tree.put("debugRegisters", Node.bytes(debug.bytes()));
        tree.put("events", Node.bytes(events.bytes()));
        return tree;
    }

    static VcpuData parse(Node node) {
        return new VcpuData(
                node.at("state").one(VcpuState.class),
                node.find("cpuid").map(VcpuData::cpuid),
                node.at("tscKilohertz").integer(1, Integer.MAX_VALUE),
                parse(node.at("systemRegisters"), X86SystemRegisters::fromBytes),
                node.at("xcr0").word(),
                parse(node.at("xsave"), X86Xsave::fromBytes),
                parse(node.at("registers"), X86Registers::fromBytes),
                node.find("lapic").map(bytes -> parse(bytes, X86Lapic::fromBytes)),
                msrs(node.at("msrs")),
                parse(node.at("debugRegisters"), X86DebugRegisters::fromBytes),
                parse(node.at("events"), X86Events::fromBytes));
    }

    static <T> T parse(Node node, Function<byte[], T> make) {
        byte[] bytes = node.bytes();
        return node.make(() -> make.apply(bytes));
    }

    private static Cpuid cpuid(Node node) {
        List<Cpuid.Leaf> leaves = new ArrayList<>();
        for (Node leaf : node.all()) {
            List<Node> numbers = leaf.all();
            if (numbers.size() != LEAF || leaves.size() == MOST_LEAVES) {
                throw leaf.flaw("7 numbers, and at most " + MOST_LEAVES + " leaves");
            }
            int[] n = numbers.stream()
                    .mapToInt(number -> number.integer(Integer.MIN_VALUE, Integer.MAX_VALUE))
                    .toArray();
            leaves.add(new Cpuid.Leaf(n[0], n[1], n[2], n[3], n[4], n[5], n[6]));
        }
        return Cpuid.of(leaves);
    }

    private static X86Msrs msrs(Node node) {
        X86Msrs msrs = new X86Msrs();
        int count = 0;
        for (Node entry : node.all()) {
            List<Node> pair = entry.all();
            if (pair.size() != 2 || pair.get(0).word() >>> Integer.SIZE != 0 || count++ == MOST_MSRS) {
                throw entry.flaw("a number of 32 bits and a value, and at most " + MOST_MSRS + " registers");
            }
            msrs.set((int) pair.get(0).word(), pair.get(1).word());
        }
        return msrs;
    }
}
