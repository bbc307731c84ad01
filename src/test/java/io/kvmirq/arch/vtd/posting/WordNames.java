/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.explorer.Explorer.Access;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Says of an access what it means, in a model whose first words are a descriptor. */
final class WordNames {
    private static final int CONTROL = PostedInterruptDescriptor.CONTROL;
    private static final List<BitField> FIELDS = List.of(
            PostedInterruptDescriptor.ON,
            PostedInterruptDescriptor.SN,
            PostedInterruptDescriptor.NV,
            PostedInterruptDescriptor.NDST);

    static final String PENDING = "interrupts pending at cpu ";

    private WordNames() {}

    /**
     * @param names what other words than that of ON and SN are called, nothing for those of the model's own books; the
     *     values of PIR and IRR are vectors
     * @return nothing for what is not worth a line
     */
    static String describe(Access access, IntFunction<String> names) {
        if (access.kind() == Access.Kind.FENCE) {
            return "full barrier";
        }
        if (access.kind() == Access.Kind.CHOICE || name(access, names).isEmpty()) {
            return "";
        }
        return switch (access.kind()) {
            case LOAD -> "reads " + (access.word() == CONTROL ? flags(access.after()) : value(access, names));
            case STORE -> changed(access, names) + " (plain store)";
            case DRAIN -> "its store is seen: " + changed(access, names);
            default -> changed(access, names);
        };
    }

    private static String name(Access access, IntFunction<String> names) {
        return access.word() == CONTROL ? "control" : names.apply(access.word());
    }

    private static String changed(Access access, IntFunction<String> names) {
        if (access.word() != CONTROL) {
            return value(access, names);
        }
        List<String> changes = new ArrayList<>();
        for (BitField field : FIELDS) {
            if (field.of(access.before()) != field.of(access.after())) {
                changes.add(
                        field.name().toUpperCase(Locale.ROOT) + " = 0x" + Long.toHexString(field.of(access.after())));
            }
        }
        return changes.isEmpty() ? "unchanged: " + flags(access.after()) : String.join(", ", changes);
    }

    private static String flags(long control) {
        return "ON " + PostedInterruptDescriptor.ON.of(control) + ", SN " + PostedInterruptDescriptor.SN.of(control);
    }

    private static String value(Access access, IntFunction<String> names) {
        String name = name(access, names);
        return name + " = "
                + switch (name) {
                    case "PIR", "IRR" -> vectors(access.after(), 0);
                    default ->
                        name.startsWith(PENDING)
                                ? vectors(access.after(), Apic.NOTIFICATION / Long.SIZE * Long.SIZE)
                                : Long.toString(access.after());
                };
    }

    /** All models request vectors of the first word; both notification vectors are of the last. */
    private static String vectors(long bits, int first) {
        return IntStream.range(0, Long.SIZE)
                .filter(bit -> (bits >>> bit & 1) != 0)
                .mapToObj(bit -> "0x" + Integer.toHexString(first + bit))
                .collect(Collectors.joining(", ", "{", "}"));
    }
}
