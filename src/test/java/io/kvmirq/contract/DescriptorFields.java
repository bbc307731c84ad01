/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.arch.Field;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.mirror.PredictedPid;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/** A vCPU in kernel memory beside the values that it should have, field by field. For a host in xAPIC mode. */
final class DescriptorFields {
    /** Fields that the mirror predicts: NV, SN, the wake-up list and NDST. */
    private static final int PREDICTED = 4;

    private final String when;
    private final List<String> differing;
    private int compared;
    private int unknown;

    private DescriptorFields(String when, List<String> differing) {
        this.when = when;
        this.differing = differing;
    }

    /**
     * The values that a vCPU should have.
     *
     * @param pid the mirror's prediction; empty if it has none
     * @param pir the vectors in PIR, ascending, as those in {@code irr} and {@code isr}
     */
    record Expected(
            Optional<PredictedPid> pid,
            List<Integer> pir,
            boolean on,
            List<Integer> irr,
            List<Integer> isr,
            Set<InhibitReason> inhibits) {
        /** Nothing is pending. */
        static Expected idle(Optional<PredictedPid> pid, Set<InhibitReason> inhibits) {
            return new Expected(pid, List.of(), false, List.of(), List.of(), inhibits);
        }
    }

    /**
     * The result of a comparison.
     *
     * @param unknown the number of fields that the mirror did not predict; {@code compared} does not count them
     * @param differing a sentence for each field that differs
     */
    record Result(int compared, int unknown, List<String> differing) {}

    static Result compare(String when, Expected expected, KernelVcpu kernel) {
        DescriptorFields fields = new DescriptorFields(when, new ArrayList<>());
        fields.all(expected, kernel);
        return new Result(fields.compared, fields.unknown, List.copyOf(fields.differing));
    }

    private void all(Expected expected, KernelVcpu kernel) {
        KernelVcpu.Posted posted = kernel.posted().known().orElseThrow();
        long control = posted.words().control();
        expected.pid().ifPresentOrElse(pid -> predicted(pid, posted), () -> unknown += PREDICTED);
        compare("PIR", expected.pir(), posted.requested());
        compare("ON", expected.on(), PostedInterruptDescriptor.ON.isSet(control));
        compare("reserved bits", Set.of(), reserved(posted.words()));
        compare("APICv", expected.inhibits().isEmpty(), kernel.active());
        compare(
                "inhibits",
                expected.inhibits().stream().map(Enum::name).collect(Collectors.toCollection(TreeSet::new)),
                new TreeSet<>(kernel.inhibits()));
        KernelVcpu.Page page = kernel.page().known().orElseThrow();
        compare("IRR", expected.irr(), page.requested());
        compare("ISR", expected.isr(), page.inService());
    }

    private void predicted(PredictedPid pid, KernelVcpu.Posted posted) {
        long control = posted.words().control();
        compare("NV", (long) pid.nv(), PostedInterruptDescriptor.NV.of(control));
        compare("SN", pid.sn(), PostedInterruptDescriptor.SN.isSet(control));
        compare("wake-up list", pid.nv() == Apic.WAKEUP, posted.isListed());
        pid.cpu()
                .ifPresentOrElse(
                        id -> compare(
                                "NDST",
                                PostedInterruptDescriptor.destinationXapic(id),
                                PostedInterruptDescriptor.NDST.of(control)),
                        () -> unknown++);
    }

    /** The reserved fields that are not 0. */
    private static Set<String> reserved(PostedInterruptDescriptor words) {
        return PostedInterruptDescriptor.FORMAT.fields().stream()
                .filter(field -> field.description().isReserved() && field.value(words.bits()) != 0)
                .map(Field::name)
                .collect(Collectors.toSet());
    }

    private void compare(String field, Object expected, Object read) {
        compared++;
        if (!expected.equals(read)) {
            differing.add(when + ": " + field + " is " + read + ", expected " + expected);
        }
    }
}
