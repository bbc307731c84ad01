/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A guest's vCPUs: phase, CPU and counts of each. Immutable. Texts may contain names from files.
 *
 * @param guest by name and number of its process
 * @param watched the length of the watch; empty if there was none
 * @param vcpus by their ids
 * @param lost how many events did not fit into the buffer
 * @param missing facts that could not be watched, and tools that would show them
 * @param notes a sentence each
 */
public record Vcpus(
        InterruptPath.Guest guest,
        Optional<Duration> watched,
        List<One> vcpus,
        long lost,
        List<Known.Unknown<?>> missing,
        List<String> notes) {
    private static final String PHASE = "phase";
    private static final String CPU = "CPU";
    private static final String APICV = "APICv";
    private static final String PID = "vcpu_vmx.pi_desc";
    private static final Evidence SEEN = Evidence.observed("tracepoints of its thread");

    public Vcpus {
        vcpus = List.copyOf(vcpus);
        missing = List.copyOf(missing);
        notes = List.copyOf(notes);
    }

    /**
     * A vCPU.
     *
     * @param thread the number of the thread that runs it
     */
    public record One(VcpuId id, OptionalInt thread, List<Field> fields) {
        public One {
            fields = List.copyOf(fields);
        }

        /** Whether its thread runs, waits or sleeps; empty if it is not known. */
        public Optional<String> phase() {
            return fields.stream()
                    .filter(field -> field.name().equals(PHASE))
                    .findFirst()
                    .flatMap(Field::value);
        }
    }

    /**
     * A field of a vCPU.
     *
     * @param value empty if it is not known
     * @param evidence how it is known; empty if it is not
     * @param why it is not known, a clause without a full stop; empty if it is
     */
    public record Field(String name, Optional<String> value, Optional<Evidence> evidence, String why) {
        private static Field of(String name, String value, Evidence evidence) {
            return new Field(name, Optional.of(value), Optional.of(evidence), "");
        }

        private static Field unknown(String name, String why) {
            return new Field(name, Optional.empty(), Optional.empty(), why);
        }
    }

    /** Whether the phase of a vCPU is known. */
    public boolean knowsAPhase() {
        return vcpus.stream().anyMatch(vcpu -> vcpu.phase().isPresent());
    }

    /**
     * The same with the fields of their APICs in kernel memory. A reason why memory shows none is a field, unless memory was
     * not asked.
     */
    public Vcpus with(Known<Map<VcpuId, KernelVcpu>> memory) {
        if (memory instanceof Known.Unknown<?> unknown && unknown.reason() == Known.Reason.NOT_ASKED) {
            return this;
        }
        return new Vcpus(
                guest,
                watched,
                vcpus.stream()
                        .map(vcpu -> new One(
                                vcpu.id,
                                vcpu.thread,
                                Stream.concat(vcpu.fields.stream(), ofMemory(memory, vcpu.id).stream())
                                        .toList()))
                        .toList(),
                lost,
                missing,
                notes);
    }

    private static List<Field> ofMemory(Known<Map<VcpuId, KernelVcpu>> memory, VcpuId id) {
        if (memory instanceof Known.Unknown<?> unknown) {
            return List.of(Field.unknown(APICV, unknown.why()));
        }
        KernelVcpu vcpu = memory.known().orElseThrow().get(id);
        if (vcpu == null) {
            return List.of(Field.unknown(APICV, "kernel memory has no such vCPU with a LAPIC"));
        }
        List<Field> fields = new ArrayList<>();
        fields.add(Field.of(
                APICV,
                vcpu.active()
                        ? "in use"
                        : "not in use" + (vcpu.inhibits().isEmpty() ? "" : ": " + String.join(", ", vcpu.inhibits())),
                inMemory("kvm_lapic.apicv_active")));
        fields.addAll(fields(
                vcpu.page(),
                "IRR",
                page -> List.of(
                        Field.of("IRR", vectors(page.requested()), inMemory("kvm_lapic.regs")),
                        Field.of("ISR", vectors(page.inService()), inMemory("kvm_lapic.regs")))));
        if (!vcpu.isDisabled()) {
            fields.addAll(fields(vcpu.posted(), "PID", Vcpus::ofDescriptor));
        }
        vcpu.avicEntry()
                .ifPresent(entry -> fields.add(Field.of(
                        "AVIC",
                        AvicTables.IS_RUNNING.isSet(entry) ? "IsRunning 1" : "IsRunning 0",
                        inMemory("KVM's copy of the entry in the physical APIC id table"))));
        return fields;
    }

    /** The fields of a part; one that says why it is not known; none if there is no such part. */
    private static <T> List<Field> fields(Known<T> part, String name, Function<T, List<Field>> shown) {
        return part.known()
                .map(shown)
                .orElseGet(() -> part instanceof Known.Unknown<?> unknown
                        ? List.of(Field.unknown(name, unknown.why()))
                        : List.of());
    }

    private static List<Field> ofDescriptor(KernelVcpu.Posted posted) {
        long control = posted.words().control();
        long on = PostedInterruptDescriptor.ON.of(control);
        long sn = PostedInterruptDescriptor.SN.of(control);
        String waiting = !posted.requested().isEmpty() && on == 0 && sn == 0
                ? ", not announced by a notification, so lost until the next one unless a sender is between two steps"
                : "";
        return List.of(
                Field.of("PIR", vectors(posted.requested()) + waiting, inMemory(PID)),
                Field.of(
                        "PID",
                        "ON " + on + ", SN " + sn + ", NV 0x"
                                + Long.toHexString(PostedInterruptDescriptor.NV.of(control)) + ", NDST 0x"
                                + Long.toHexString(PostedInterruptDescriptor.NDST.of(control)),
                        inMemory(PID)),
                Field.of(
                        "wake-up",
                        posted.isListed() ? "on the list of wake-up vector 0xf1" : "on no wake-up list",
                        inMemory("vcpu_vmx.pi_wakeup_list")));
    }

    private static Evidence inMemory(String member) {
        return Evidence.observed("kernel memory, " + member);
    }

    private static String vectors(List<Integer> vectors) {
        return vectors.isEmpty()
                ? "none"
                : vectors.stream()
                        .map(vector -> "0x" + Integer.toHexString(vector))
                        .collect(Collectors.joining(", "));
    }

    /** The vCPUs of a guest that is not watched: no file shows their schedule. */
    public static Vcpus ofGuest(HostFacts host, VmProcess guest) {
        List<One> all = of(guest, VcpuThreads.vcpus(host, guest), (vcpu, tid) -> {
            List<Field> fields = new ArrayList<>();
            fields.add(Field.unknown(PHASE, "no file shows a vCPU's phase; add --live SECONDS"));
            tid.flatMap(thread -> VcpuThreads.stat(host.files(), guest, thread))
                    .map(ThreadStat::cpu)
                    .ifPresent(cpu -> fields.add(Field.of(
                            CPU,
                            cpu + ", now or last",
                            Evidence.observed("/proc/" + guest.pid() + "/task/" + tid.get() + "/stat"))));
            return fields;
        });
        return new Vcpus(guest.asGuest(), Optional.empty(), all, 0, List.of(), List.of());
    }

    /** All vCPUs of a guest, with the thread that runs each, if it is known. */
    static List<One> of(
            VmProcess guest, Map<Integer, VcpuId> threads, BiFunction<VcpuId, Optional<Integer>, List<Field>> fields) {
        Map<Integer, Optional<Integer>> tids = new TreeMap<>();
        guest.vcpus().stream()
                .map(VmProcess.VcpuFile::id)
                .filter(id -> id <= VcpuId.MAX)
                .forEach(id -> tids.put(id, Optional.empty()));
        threads.forEach((tid, vcpu) -> tids.put(vcpu.number(), Optional.of(tid)));
        List<One> all = new ArrayList<>();
        tids.forEach((id, tid) -> all.add(new One(
                new VcpuId(id),
                tid.map(OptionalInt::of).orElse(OptionalInt.empty()),
                fields.apply(new VcpuId(id), tid))));
        return all;
    }

    /**
     * The fields of a vCPU that was watched.
     *
     * @param counts the steps of its thread; empty if they were not recorded
     */
    static List<Field> fields(Phase phase, Optional<String> counts) {
        List<Field> fields = new ArrayList<>();
        if (phase instanceof Phase.Unknown unknown) {
            fields.add(Field.unknown(PHASE, unknown.why()));
            fields.add(Field.unknown(CPU, "its phase is not known"));
        } else if (phase instanceof Phase.Running running) {
            fields.add(Field.of(PHASE, "running", SEEN));
            fields.add(Field.of(CPU, String.valueOf(running.cpu()), SEEN));
        } else if (phase instanceof Phase.InUserSpace) {
            fields.add(Field.of(PHASE, "in user space", SEEN));
            fields.add(Field.unknown(CPU, "KVM does not run it"));
        } else {
            fields.add(Field.of(PHASE, phase instanceof Phase.Preempted ? "preempted" : "blocked", SEEN));
            fields.add(Field.unknown(CPU, "it runs on no CPU, and may wake on another"));
        }
        counts.ifPresent(seen -> fields.add(Field.of("seen", seen, SEEN)));
        return fields;
    }
}
