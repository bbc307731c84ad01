/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.path.FieldValue;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/** Creates predicted fields, each with a value or the reason why it is not predicted. */
final class PredictedFields {
    private static final String SCHEDULE = "it depends on the vCPU's schedule, which is currently unknown";
    private static final String LOG =
            "it depends on the kernel version and the vCPU's schedule, one of which is currently unknown";
    private static final String EACH = "each interrupt changes it";
    private static final String NDST_STOPPED = "the vCPU does not run, so the field keeps an old value";
    /** The highest id of a CPU in xAPIC mode, just below the broadcast id. */
    private static final int LAST_XAPIC_ID = 0xfe;

    private static final String ADDRESS = "it holds a host memory address";

    /** The reason why a field is not predicted, by field name. */
    private static final Map<String, String> REASONS = Map.ofEntries(
            Map.entry(PostedIrte.ADDRESS_LOW.name(), ADDRESS),
            Map.entry(PostedIrte.ADDRESS_HIGH.name(), ADDRESS),
            Map.entry(GaIrte.ROOT.name(), ADDRESS),
            Map.entry(GaIrte.GA_TAG.name(), "KVM chooses the VM number"),
            Map.entry(GaIrte.GA_LOG_INTR.name(), LOG),
            Map.entry(GaIrte.IS_RUN.name(), SCHEDULE));

    private PredictedFields() {}

    /** The fields of an entry of one or two 64-bit words, without reserved bits. */
    static List<FieldValue> of(Format format, long[] mask, long[] bits, boolean stopped) {
        List<FieldValue> fields = new ArrayList<>();
        for (Field field : format.fields()) {
            if (field.isStored() && !field.description().isReserved()) {
                boolean known =
                        field.parts().stream().allMatch(part -> (mask[part.word()] & part.mask()) == part.mask());
                fields.add(
                        known
                                ? predicted(field.name(), field.value(bits))
                                : unknown(field.name(), reason(field.name(), format, stopped)));
            }
        }
        return List.copyOf(fields);
    }

    private static String reason(String field, Format format, boolean stopped) {
        boolean destination = format == GaIrte.GUEST
                && (field.equals(GaIrte.DESTINATION_LOW.name()) || field.equals(GaIrte.DESTINATION_HIGH.name()));
        if (destination) {
            return stopped ? NDST_STOPPED : SCHEDULE;
        }
        return REASONS.getOrDefault(field, "the host chooses it");
    }

    /**
     * The fields of a posted-interrupt descriptor.
     *
     * @param x2apic as {@link MirrorHost.X86#x2apic}
     */
    static List<FieldValue> of(Known<PredictedPid> pid, Optional<Boolean> x2apic) {
        return List.of(
                unknown("pir", EACH),
                unknown(PostedInterruptDescriptor.ON.name(), EACH),
                new FieldValue(PostedInterruptDescriptor.SN.name(), pid.map(known -> known.sn() ? 1L : 0L)),
                new FieldValue(PostedInterruptDescriptor.NV.name(), pid.map(known -> (long) known.nv())),
                new FieldValue(PostedInterruptDescriptor.NDST.name(), pid.then(known -> ndst(known.cpu(), x2apic))));
    }

    /** Id 0 is the same in both modes, and an id above 254 belongs to a CPU in x2APIC mode. */
    private static Known<Long> ndst(OptionalInt cpu, Optional<Boolean> x2apic) {
        if (cpu.isEmpty()) {
            return new Known.Unknown<>("no event has shown on which CPU the vCPU was last loaded");
        }
        int id = cpu.getAsInt();
        if (id == 0 || id > LAST_XAPIC_ID || x2apic.orElse(false)) {
            return new Known.Predicted<>(PostedInterruptDescriptor.destinationX2apic(id));
        }
        return x2apic.isPresent()
                ? new Known.Predicted<>(PostedInterruptDescriptor.destinationXapic(id))
                : new Known.Unknown<>("it holds APIC id " + id + ", in bits 15:8 if the host is in xAPIC mode, and no"
                        + " file shows the host's mode");
    }

    /** The fields of KVM's copy of an entry in AVIC's physical APIC id table. */
    static List<FieldValue> of(PredictedIrte.AmdGuest entry) {
        boolean stopped = entry.isRun().filter(runs -> !runs).isPresent();
        Optional<Long> cpu = entry.destination().isPresent()
                ? Optional.of((long) entry.destination().getAsInt())
                : Optional.empty();
        return List.of(
                field(AvicTables.HOST_ID, cpu, stopped ? NDST_STOPPED : SCHEDULE),
                unknown(AvicTables.BACKING_PAGE.name(), ADDRESS),
                field(AvicTables.GA_LOG_INTR, entry.gaLogIntr().map(logs -> logs ? 1L : 0L), LOG),
                field(AvicTables.IS_RUNNING, entry.isRun().map(runs -> runs ? 1L : 0L), SCHEDULE),
                predicted(AvicTables.PHYSICAL_VALID.name(), 1));
    }

    private static FieldValue predicted(String name, long value) {
        return new FieldValue(name, new Known.Predicted<>(value));
    }

    private static FieldValue unknown(String name, String reason) {
        return new FieldValue(name, new Known.Unknown<>(reason));
    }

    private static FieldValue field(BitField field, Optional<Long> value, String unknown) {
        return value.isPresent() ? predicted(field.name(), value.get()) : unknown(field.name(), unknown);
    }
}
