/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import io.kvmirq.arch.amd.model.AvicRaces;
import io.kvmirq.arch.amd.model.AvicScenario;
import io.kvmirq.arch.amd.model.AvicVariant;
import io.kvmirq.arch.gic.model.VgicRaces;
import io.kvmirq.arch.gic.model.VgicScenario;
import io.kvmirq.arch.gic.model.VgicVariant;
import io.kvmirq.arch.intx.model.IntxRaces;
import io.kvmirq.arch.intx.model.IntxScenario;
import io.kvmirq.arch.intx.model.IntxVariant;
import io.kvmirq.arch.vtd.posting.PostedRaces;
import io.kvmirq.arch.vtd.posting.PostedScenario;
import io.kvmirq.arch.vtd.posting.PostedVariant;
import io.kvmirq.explorer.Scenario;
import io.kvmirq.explorer.Variant;
import io.kvmirq.explorer.Verdicts;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** The races that five threads of mailing lists found: a search for the loss, and one that finds none. */
final class ToldRaces {
    /**
     * A race.
     *
     * @param about the thread, and the terms that an order uses
     * @param forms the form that loses first, then the other forms of the thread
     * @param kept the form that keeps in the scenario of the first one
     */
    record Race<V extends Enum<V> & Variant<S>, S extends Enum<S> & Scenario<V>>(
            String name, String about, Verdicts<V, S> verdicts, List<Form<V, S>> forms, V kept) {
        Form<V, S> losing() {
            return forms.get(0);
        }

        private String tell() {
            S scenario = losing().scenario();
            String others = IntStream.range(1, forms.size())
                    .mapToObj(i -> "  " + forms.get(i).judged(verdicts))
                    .collect(Collectors.joining());
            return name + "\n\n" + about + "\nLoses:\n" + verdicts.shortest(losing().variant(), scenario) + "\nKeeps:\n"
                    + verdicts.shortest(kept, scenario) + (others.isEmpty() ? "" : "\nOther forms:\n" + others);
        }
    }

    /** A form of the code, searched in a scenario. */
    record Form<V extends Enum<V> & Variant<S>, S extends Enum<S> & Scenario<V>>(V variant, S scenario) {
        private String judged(Verdicts<V, S> verdicts) {
            String verdict = verdicts.verdict(variant, scenario);
            String word = verdict.contains("L") ? "loses" : verdict.contains("h") ? "waits" : "keeps";
            return String.format("%s  %s%n           in: %s%n", word, variant.text(), scenario.text());
        }
    }

    private static <V extends Enum<V> & Variant<S>, S extends Enum<S> & Scenario<V>> Form<V, S> form(
            V variant, S scenario) {
        return new Form<>(variant, scenario);
    }

    static final List<Race<?, ?>> ALL = List.of(
            new Race<>(
                    "lost-interrupt-2019",
                    """
                    "KVM: x86: Sync the pending Posted-Interrupts", January 2019; Linux has the repair since commit
                    c112b5f50232. Each vCPU has a descriptor. PIR: the requested vectors. ON, outstanding notification:
                    the vCPU was notified, or will sync. SN, suppress notification: a device sets PIR only, and does
                    not notify. A sync moves PIR to the vCPU's interrupt request register (IRR). Preemption sets SN.

                    May software set ON? While ON is set, a unit does not notify (VT-d specification 9.12). It may: the
                    vCPU is on its way into the guest, and its next entry clears ON and takes PIR.
                    """,
                    PostedRaces.VERDICTS,
                    List.of(
                            form(PostedVariant.ON_ONLY, PostedScenario.DEVICE),
                            form(PostedVariant.PIR_ONLY, PostedScenario.DEVICE_AND_SOFTWARE),
                            form(PostedVariant.PIR_OR_ON, PostedScenario.DEVICE_AND_SOFTWARE),
                            form(PostedVariant.ON_SN_STORE, PostedScenario.DEVICE_AND_SOFTWARE),
                            form(PostedVariant.ON_SN_STORE_AS_QUOTED, PostedScenario.DEVICE_AND_SOFTWARE),
                            form(PostedVariant.CHECK_THEN_CLEAR, PostedScenario.DEVICE_AND_SOFTWARE),
                            form(PostedVariant.TODAY, PostedScenario.DEVICE_AND_SOFTWARE)),
                    PostedVariant.TODAY),
            new Race<>(
                    "ir-list-2016",
                    """
                    "[PART2 PATCH v6 12/12] svm: Implements update_pi_irte hook to setup posted interrupt", August 2016.
                    Each vCPU has a list of the remapping entries that are posted to it. At each load and put it writes
                    them. IsRun: a request rings the doorbell of the CPU in Destination. Otherwise GALogIntr: a request
                    is logged, and KVM wakes the vCPU. Otherwise the request is silent.
                    """,
                    AvicRaces.VERDICTS,
                    List.of(
                            form(AvicVariant.WRAPPERS, AvicScenario.MOVE_TO_SLEEPER),
                            form(AvicVariant.EMBEDDED_NODE, AvicScenario.MOVE),
                            form(AvicVariant.REFUSE_SECOND_ADD, AvicScenario.MOVE),
                            form(AvicVariant.TWO_LOCKS, AvicScenario.MOVE),
                            form(AvicVariant.UP_TO_6_16, AvicScenario.MOVE),
                            form(AvicVariant.FROM_6_17, AvicScenario.MOVE)),
                    AvicVariant.FROM_6_17),
            new Race<>(
                    "intx-starvation",
                    """
                    "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler", May 2017. Two VMs share a
                    level-triggered line of a GIC. The automatic mask: a device's handler sets its DisINTx, and its
                    guest's EOI clears it. Direct EOI: the interrupt stays active until the guest ends it, and an active
                    interrupt keeps the line from interrupting the host.
                    """,
                    IntxRaces.VERDICTS,
                    List.of(
                            form(IntxVariant.DIRECT_SHARED, IntxScenario.SHARED),
                            form(IntxVariant.POSTED_2017, IntxScenario.SHARED),
                            form(IntxVariant.POSTED_2017, IntxScenario.DIRECT_DISINTX),
                            form(IntxVariant.POSTED_2017, IntxScenario.DIRECT)),
                    IntxVariant.OURS),
            new Race<>(
                    "intx-exclusive",
                    """
                    The same thread of May 2017: direct EOI needs a line of its own. VFIO requests the line for each
                    device that enables INTx. An exclusive request gets EBUSY if another device has the line. After it is
                    granted, all other requests get EBUSY, also those that would share. The VM that boots second fails,
                    or one that comes back from MSI; a second device of the same VM fails too. The module parameter
                    nointxmask of vfio-pci makes the same conflicts.
                    """,
                    IntxRaces.VERDICTS,
                    List.of(form(IntxVariant.EXCLUSIVE, IntxScenario.ANOTHER_VM)),
                    IntxVariant.OURS),
            new Race<>(
                    "vgic-late-maintenance",
                    """
                    "[PATCH v4 07/13] ARM: KVM: VGIC virtual CPU interface management", December 2012. Before a vCPU
                    enters its guest, KVM puts pending interrupts into list registers. If all are queued, it clears the
                    vCPU's flag, without which the vCPU may sleep. The end of a level-triggered interrupt raises a
                    maintenance interrupt. Its handler frees the list register and sets the flag if the line is high.
                    """,
                    VgicRaces.VERDICTS,
                    List.of(
                            form(VgicVariant.AS_POSTED, VgicScenario.LATE_AND_SLEEP),
                            form(VgicVariant.SET_TWICE, VgicScenario.LATE_AND_SLEEP),
                            form(VgicVariant.COLLAPSED, VgicScenario.TWO_SOURCES),
                            form(VgicVariant.OURS, VgicScenario.WRONG_VCPU),
                            form(VgicVariant.OURS, VgicScenario.WRONG_VCPU_ONCE),
                            form(VgicVariant.LOOKS_ALWAYS, VgicScenario.LATE),
                            form(VgicVariant.CLEARED_UNLOCKED, VgicScenario.SLEEP),
                            form(VgicVariant.AT_EXIT, VgicScenario.WRONG_VCPU_ONCE)),
                    VgicVariant.OURS));

    private ToldRaces() {}

    /**
     * A race as text.
     *
     * @throws IllegalArgumentException if there is none of the name
     */
    static String tell(String name) {
        return ALL.stream()
                .filter(race -> race.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("race '" + name + "' is unknown: expected one of "
                        + ALL.stream().map(Race::name).collect(Collectors.joining(", "))))
                .tell();
    }
}
