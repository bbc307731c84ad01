/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.ArmTimer;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuState;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/** The state of an arm64 VM with a GICv3, with vCPUs by id. */
record ArmData(VgicWords.State vgic, List<Route> routes, Map<Integer, Cpu> vcpus) implements MachineData {
    /** The timers' counters, whose numbers the kernel's interface swaps with those of the compare values. */
    private static final Set<ArmRegister> COUNTERS =
            Set.of(ArmRegister.system(3, 3, 14, 3, 2), ArmRegister.system(3, 3, 14, 0, 1));
    /** The control registers of the timers, whose bit 2 is set when the timer has expired. */
    private static final Set<ArmRegister> TIMERS =
            Set.of(ArmRegister.system(3, 3, 14, 3, 1), ArmRegister.system(3, 3, 14, 2, 1));

    /** PMCR_EL0, which a vCPU without a PMU does not have. */
    private static final ArmRegister PMU = ArmRegister.system(3, 3, 9, 12, 0);

    private static final int OVER = 1 << 2;
    private static final int MOST_REGISTERS = 4096;

    /**
     * @param timers the timers' interrupts, in the order of {@link ArmTimer}; empty in a snapshot of an older version
     * @param registers in the kernel's order, with their bytes in hex
     */
    record Cpu(VcpuState state, List<Ppi> timers, Map<ArmRegister, String> registers) {
        static Cpu read(VcpuId id, Vcpu vcpu) {
            VcpuState state = vcpu.state();
            List<ArmRegister> all = vcpu.arm64().registers();
            if (all.contains(PMU)) {
                throw new UnsupportedOperationException(
                        id + " has a PMU, which a snapshot does not include: initialize the"
                                + " vCPUs without Vcpu.Feature.PMU_V3");
            }
            Map<ArmRegister, String> registers = new LinkedHashMap<>();
            all.forEach(
                    register -> registers.put(register, Node.bytes(vcpu.arm64().registerBytes(register))));
            List<Ppi> timers = Arrays.stream(ArmTimer.values())
                    .map(vcpu.arm64()::timerInterrupt)
                    .toList();
            return new Cpu(state, timers, registers);
        }

        /** Writes registers whose value differs. Some registers can be written only once, or not at all. */
        void write(Vcpu vcpu) {
            Iterator<Ppi> saved = timers.iterator();
            for (ArmTimer timer : saved.hasNext() ? ArmTimer.values() : new ArmTimer[0]) {
                Ppi interrupt = saved.next();
                if (!vcpu.arm64().timerInterrupt(timer).equals(interrupt)) {
                    vcpu.arm64().setTimerInterrupt(timer, interrupt);
                }
            }
            registers.forEach((register, hex) -> {
                byte[] bytes = Node.ofHex(hex);
                if (!Arrays.equals(bytes, vcpu.arm64().registerBytes(register))) {
                    vcpu.arm64().setRegisterBytes(register, bytes);
                }
            });
            vcpu.setState(state);
        }

        private static String withoutTime(ArmRegister register, String hex) {
            if (!TIMERS.contains(register)) {
                return hex;
            }
            byte[] bytes = Node.ofHex(hex);
            bytes[0] &= ~OVER;
            return Node.bytes(bytes);
        }

        Optional<String> difference(Cpu saved) {
            return registers.entrySet().stream()
                    .filter(entry -> !COUNTERS.contains(entry.getKey()))
                    .flatMap(entry -> VcpuData.differs(
                            entry.getKey().toString(),
                            withoutTime(entry.getKey(), entry.getValue()),
                            withoutTime(entry.getKey(), Objects.requireNonNull(saved.registers.get(entry.getKey()))))
                            .stream())
                    .findFirst()
                    .or(() -> VcpuData.differs("state", state, saved.state))
                    .or(() -> saved.timers.isEmpty()
                            ? Optional.empty()
                            : VcpuData.differs("interrupts of timers", timers, saved.timers));
        }

        Map<String, Object> tree(int id) {
            Map<String, Object> tree = new LinkedHashMap<>();
            tree.put("id", id);
            tree.put("state", state.name());
            tree.put("timers", timers.stream().map(Ppi::number).toList());
            tree.put(
                    "registers",
                    registers.entrySet().stream()
                            .map(entry -> List.of(Node.word(entry.getKey().id()), entry.getValue()))
                            .toList());
            return tree;
        }

        static Cpu parse(Node node) {
            Map<ArmRegister, String> registers = new LinkedHashMap<>();
            for (Node entry : node.all("registers")) {
                List<Node> pair = entry.all();
                if (pair.size() != 2 || registers.size() == MOST_REGISTERS) {
                    throw entry.flaw("an id and a value, and at most " + MOST_REGISTERS + " registers");
                }
                ArmRegister register = new ArmRegister(pair.get(0).word());
                if (pair.get(1).bytes().length != register.size()
                        || registers.put(register, pair.get(1).text()) != null) {
                    throw entry.flaw("one value of " + register.size() + " bytes for " + register);
                }
            }
            return new Cpu(node.at("state").one(VcpuState.class), timers(node), registers);
        }

        private static List<Ppi> timers(Node node) {
            List<Ppi> timers = node.find("timers").stream()
                    .flatMap(all -> all.all().stream())
                    .map(timer -> new Ppi(timer.integer(Ppi.FIRST, Ppi.LAST)))
                    .toList();
            if (!timers.isEmpty() && timers.size() != ArmTimer.values().length) {
                throw node.at("timers").flaw("the interrupts of " + ArmTimer.values().length + " timers");
            }
            return timers;
        }
    }

    static ArmData read(VmParts parts) {
        VgicWords words = parts.vgicWords();
        Map<Integer, Cpu> vcpus = new TreeMap<>();
        parts.vcpus.forEach((id, vcpu) -> vcpus.put(id, Cpu.read(new VcpuId(id), vcpu)));
        return new ArmData(words.read(), RouteData.read(parts), vcpus);
    }

    /** The reason why the state does not fit the VM. Empty if none is known. */
    Optional<String> misfit(VmParts parts) {
        if (parts.vgic().isEmpty()) {
            return Optional.of("it has a GICv3 (VmParts.vgic), but this VM has none");
        }
        if (vcpus.values().stream().anyMatch(cpu -> cpu.registers().containsKey(PMU))) {
            return Optional.of("one of its vCPUs has a PMU, whose interrupt a snapshot does not include");
        }
        return parts.vgicWords().misfit(vgic).or(() -> vcpus.entrySet().stream()
                .filter(entry -> !new HashSet<>(
                                X86Data.vcpu(parts, entry.getKey()).arm64().registers())
                        .equals(entry.getValue().registers().keySet()))
                .findFirst()
                .map(entry ->
                        new VcpuId(entry.getKey()) + " has other registers here: initialize it with the same features"
                                + " on a kernel that is not older"));
    }

    @Override
    public void writeVcpus(VmParts parts) {
        vcpus.forEach((id, data) -> data.write(X86Data.vcpu(parts, id)));
    }

    @Override
    public void writeChips(VmParts parts) {
        parts.vgicWords().write(vgic);
    }

    @Override
    public Optional<String> differenceOf(VmParts parts) {
        ArmData now = read(parts);
        return VcpuData.differs("routes", new HashSet<>(now.routes), new HashSet<>(routes))
                .or(() -> parts.vgicWords().difference(now.vgic, vgic))
                .or(() -> vcpus.entrySet().stream()
                        .flatMap(entry -> Objects.requireNonNull(now.vcpus.get(entry.getKey()))
                                .difference(entry.getValue())
                                .map(text -> new VcpuId(entry.getKey()) + ": " + text)
                                .stream())
                        .findFirst());
    }

    @Override
    public Map<String, Object> tree() {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("vgic", vgic.tree());
        tree.put("routes", routes.stream().map(RouteData::tree).toList());
        List<Map<String, Object>> all = new ArrayList<>();
        vcpus.forEach((id, vcpu) -> all.add(vcpu.tree(id)));
        tree.put("vcpus", all);
        return tree;
    }

    static ArmData parse(Node node) {
        Map<Integer, Cpu> vcpus = new TreeMap<>();
        for (Node vcpu : node.all("vcpus")) {
            if (vcpus.put(vcpu.at("id").integer(0, VcpuId.MAX), Cpu.parse(vcpu)) != null) {
                throw vcpu.flaw("an id that no earlier vCPU has");
            }
        }
        return new ArmData(VgicWords.State.of(node.at("vgic")), RouteData.all(node.at("routes"), true), vcpus);
    }
}
