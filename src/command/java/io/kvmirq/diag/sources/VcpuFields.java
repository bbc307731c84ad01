/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.sources.Vcpus.Field;
import io.kvmirq.host.trace.VcpuSchedule.Phase;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.mirror.PredictedPid;
import io.kvmirq.mirror.Snapshot;
import io.kvmirq.path.Evidence;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The fields of a vCPU, each with its source. */
final class VcpuFields {
    static final String PHASE = "phase";
    static final String CPU = "CPU";
    private static final Evidence SEEN = Evidence.observed("tracepoints of its thread");
    private static final Evidence BY_PHASE = Evidence.predicted("from the phase, by the rules of KVM");
    private static final Evidence BY_INHIBITS = Evidence.predicted("from what inhibits APICv, by the rules of KVM");
    private static final Evidence BY_HALT =
            Evidence.predicted("from the phase, by the rules of KVM, if the guest halted with interrupts enabled");
    private static final String NOT_RUNNING = "it runs on none, and may wake on another";
    private static final String IN_USER_SPACE = "KVM does not run it";
    private static final String NONE_POSTED =
            "no interrupt was seen to be posted to the VM, and KVM keeps the descriptor up to date only then: watch while the"
                    + " guest enables its device";
    private static final String NO_ENTRY =
            "no interrupt was seen to be posted to it: watch while the guest enables its device";
    private static final String INHIBITS =
            "AVIC may be inhibited, and kvm_apicv_inhibit_changed shows only changes: watch from the start of the guest";

    private VcpuFields() {}

    /**
     * Of a vCPU that was watched.
     *
     * @param counts the observed steps of its thread
     * @param mirror the mirror, with all observed events
     * @param inhibitsKnown whether all reasons that inhibit AVIC are known
     * @param gaTag its GATag, on AMD
     */
    static List<Field> of(
            VcpuId vcpu,
            Phase phase,
            Optional<String> counts,
            Optional<Vendor> vendor,
            Map<Integer, Integer> apicIds,
            Snapshot mirror,
            boolean inhibitsKnown,
            Field gaTag) {
        List<Field> fields = new ArrayList<>();
        fields.add(phase(phase));
        fields.add(cpu(phase, apicIds));
        counts.ifPresent(seen -> fields.add(Field.of("seen", seen, SEEN)));
        if (vendor.equals(Optional.of(Vendor.INTEL))) {
            descriptor(phase, apicIds, mirror.pid(vcpu), fields);
            delivery(vcpu, mirror).ifPresent(fields::add);
        } else if (vendor.equals(Optional.of(Vendor.AMD))) {
            fields.add(isRun(vcpu, phase, mirror, inhibitsKnown));
            fields.add(gaTag);
        }
        return fields;
    }

    private static Field phase(Phase phase) {
        if (phase instanceof Phase.Unknown unknown) {
            return Field.unknown(PHASE, unknown.why());
        }
        return Field.of(PHASE, word(phase), SEEN);
    }

    private static String word(Phase phase) {
        if (phase instanceof Phase.Running) {
            return "running";
        }
        return phase instanceof Phase.Preempted
                ? "preempted"
                : phase instanceof Phase.Blocked ? "blocked" : "in user space";
    }

    private static Field cpu(Phase phase, Map<Integer, Integer> apicIds) {
        if (phase instanceof Phase.Running running) {
            Integer apicId = apicIds.get(running.cpu());
            return Field.of(CPU, running.cpu() + (apicId == null ? "" : " (APIC id " + apicId + ")"), SEEN);
        }
        return phase instanceof Phase.Unknown
                ? Field.unknown(CPU, "its phase is not known")
                : Field.unknown(CPU, phase instanceof Phase.InUserSpace ? IN_USER_SPACE : NOT_RUNNING);
    }

    private static void descriptor(
            Phase phase, Map<Integer, Integer> apicIds, Optional<PredictedPid> pid, List<Field> fields) {
        String why = phase instanceof Phase.Running running && !apicIds.containsKey(running.cpu())
                ? "no file shows the APIC id of CPU " + running.cpu()
                : phase instanceof Phase.Unknown ? "its phase is not known" : NONE_POSTED;
        // While interrupts are disabled, the descriptor is as in user space. No tracepoint shows this.
        Evidence evidence = phase instanceof Phase.Blocked ? BY_HALT : BY_PHASE;
        fields.add(pid.map(one -> Field.of("PID.NV", "0x" + Integer.toHexString(one.nv()), evidence))
                .orElseGet(() -> Field.unknown("PID.NV", why)));
        fields.add(pid.map(one -> Field.of("PID.SN", one.sn() ? "1" : "0", evidence))
                .orElseGet(() -> Field.unknown("PID.SN", why)));
        fields.add(pid.filter(one -> one.cpu().isPresent())
                .map(one -> predicted("PID.NDST", String.valueOf(one.cpu().getAsInt())))
                .orElseGet(() -> Field.unknown("PID.NDST", pid.isPresent() ? NOT_RUNNING : why)));
        List.of("PID.ON", "PID.PIR").forEach(name -> fields.add(Field.unknown(name, "each interrupt changes it")));
    }

    /** If APICv is inhibited: entries and descriptor do not change. */
    private static Optional<Field> delivery(VcpuId vcpu, Snapshot mirror) {
        return mirror.byVcpu(vcpu).stream()
                .map(PredictedIrq::posting)
                .filter(Posting.Posted.class::isInstance)
                .flatMap(posting -> ((Posting.Posted) posting).note().stream())
                .findFirst()
                .map(note -> Field.of("delivery", note, BY_INHIBITS));
    }

    private static Field isRun(VcpuId vcpu, Phase phase, Snapshot mirror, boolean inhibitsKnown) {
        Optional<Boolean> isRun = mirror.byVcpu(vcpu).stream()
                .flatMap(irq -> irq.irte().stream())
                .filter(PredictedIrte.AmdGuest.class::isInstance)
                .flatMap(entry -> ((PredictedIrte.AmdGuest) entry).isRun().stream())
                .findFirst();
        boolean remapped = mirror.byVcpu(vcpu).stream().anyMatch(irq -> irq.irte()
                .filter(PredictedIrte.AmdRemapped.class::isInstance)
                .isPresent());
        if (phase instanceof Phase.Unknown) {
            return Field.unknown("IsRun", "its phase is not known");
        }
        if (!inhibitsKnown) {
            return Field.unknown("IsRun", INHIBITS);
        }
        String why = remapped
                ? "AVIC is inhibited, and the entries have the remapped form"
                : mirror.byVcpu(vcpu).isEmpty() ? NO_ENTRY : "it was not loaded again since AVIC was inhibited";
        return isRun.map(on -> predicted("IsRun", on ? "1" : "0")).orElseGet(() -> Field.unknown("IsRun", why));
    }

    private static Field predicted(String name, String value) {
        return Field.of(name, value, BY_PHASE);
    }
}
