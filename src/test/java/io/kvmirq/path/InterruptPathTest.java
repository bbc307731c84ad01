/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.path.Claim.Question;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** The answers of a path, which follow from its links and claims. */
class InterruptPathTest {
    private static final Evidence SEEN = Evidence.observed("a file");
    private static final Link DEVICE = Link.whole(Hop.DEVICE, SEEN, "x", "it answers");
    private static final Link NO_VMM =
            Link.of(Hop.VMM, Link.State.BROKEN, SEEN, Optional.empty(), "stopped", List.of());
    private static final Link NO_GSI =
            Link.of(Hop.GSI, Link.State.BROKEN, Evidence.inferred("routes"), Optional.empty(), "unrouted", List.of());
    private static final Link DOUBT = Link.of(Hop.VMM, Link.State.DOUBTFUL, SEEN, Optional.empty(), "slow", List.of());
    private static final Link IDLE =
            Link.of(Hop.HOST_IRQ, Link.State.IDLE, SEEN, Optional.empty(), "unused", List.of());
    private static final Claim OBSTACLE = Claim.of(Question.ELIGIBLE, false, Evidence.predicted("rules"), "an inhibit");
    private static final Claim ELIGIBLE = Claim.of(Question.ELIGIBLE, true, SEEN, "no obstacle");
    private static final Claim REMAPPED = Claim.of(Question.FORM, false, SEEN, "remapped");
    private static final Claim POSTS = Claim.of(Question.FORM, true, SEEN, "posts");
    private static final Claim NO_FORM = Claim.unknown(Question.FORM, "not shown", "debugfs");

    private static final Flaw STOPPED =
            new Flaw("vmm.stopped", Flaw.Subject.GUEST, Flaw.Weight.BROKEN, Flaw.Span.NOW, "stopped by a signal");
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");

    private static InterruptPath path(List<Link> links, Claim... claims) {
        return InterruptPath.of(
                Interrupt.of(NIC, IrqKind.MSIX, 0), Optional.empty(), links, List.of(claims), List.of());
    }

    private static Known<Gsi> gsi(Evidence evidence, Integer... numbers) {
        return path(List.of(Link.whole(Hop.GSI, evidence, List.of(numbers), "route")))
                .known(Hop.GSI);
    }

    @Test
    void numberIsAsSureAsTheEvidenceOfItsLink() {
        Gsi five = new Gsi(5);
        assertThat(gsi(SEEN, 5)).isEqualTo(new Known.Observed<>(five));
        assertThat(gsi(Evidence.inferred("options"), 5)).isEqualTo(new Known.Inferred<>(five));
        assertThat(gsi(Evidence.predicted("rules"), 5)).isEqualTo(new Known.Predicted<>(five));
        assertThat(gsi(new Evidence(Evidence.Kind.SET_UP, "here"), 5)).isEqualTo(new Known.SetUp<>(five));
        assertThat(gsi(SEEN, 5, 6)).as("one of two").isEqualTo(new Known.Unknown<>("route"));
        assertThat(path(List.of(DEVICE)).known(Hop.GSI))
                .isEqualTo(new Known.Unknown<>("the path does not reach its GSI"));
    }

    @Test
    void numberThatItsTypeDoesNotAllowIsOnlyPrinted() {
        Link gsis = Link.whole(Hop.GSI, SEEN, List.of(5000, 7, -1), "routes");
        assertThat(gsis.value()).contains("gsi 5000, 7, -1");
        assertThat(gsis.numbers(Hop.GSI)).isEmpty();
        assertThat(path(List.of(gsis)).known(Hop.GSI)).isInstanceOf(Known.Unknown.class);
        assertThat(Link.whole(Hop.VCPU, SEEN, List.of(5000), "").numbers(Hop.VCPU))
                .isEmpty();
        assertThat(Link.whole(Hop.HOST_IRQ, SEEN, List.of(70_000), "").numbers(Hop.HOST_IRQ))
                .containsExactly(new HostIrq(70_000));
    }

    @Test
    void brokenLinkIsTheFailureAndTheReason() {
        InterruptPath path = path(List.of(DEVICE, NO_VMM, NO_GSI), OBSTACLE.byHost(), NO_FORM);
        assertThat(path.firstBroken()).as("the first one").contains(NO_VMM);
        assertThat(path.fails()).contains(Hop.VMM);
        assertThat(path.unposted()).as("why it is not posted").isEmpty();
        assertThat(path.isNeverPosted()).isFalse();
        assertThat(path.posted()).contains(false);
        assertThat(path.postedEvidence()).contains(SEEN);
        assertThat(path.whyNot()).contains("stopped");
        assertThat(path(List.of(NO_VMM), NO_FORM).posted())
                .as("broken, and nothing else")
                .contains(false);
        assertThat(path(List.of(DOUBT)).fails()).as("a doubt").isEmpty();
        assertThat(path(List.of(DOUBT)).firstDoubtful()).contains(DOUBT);
    }

    @Test
    void wholePathFailsIfAVmPreventsPosting() {
        assertThat(path(List.of(DEVICE), OBSTACLE, NO_FORM).unposted()).contains(OBSTACLE);
        assertThat(path(List.of(DEVICE), ELIGIBLE, REMAPPED).fails()).contains(Hop.POSTING);
        assertThat(path(List.of(DEVICE), ELIGIBLE, NO_FORM).fails())
                .as("not shown")
                .isEmpty();
        assertThat(path(List.of(DEVICE, IDLE), ELIGIBLE, REMAPPED).fails())
                .as("not used")
                .isEmpty();
        InterruptPath never = path(List.of(DEVICE), OBSTACLE.byHost());
        assertThat(never.fails()).as("an obstacle of the host").isEmpty();
        assertThat(never.isNeverPosted()).isTrue();
        assertThat(never.whyNot()).contains("an inhibit");
        assertThat(never.postedEvidence()).contains(Evidence.predicted("rules"));
    }

    @Test
    void formOfTheEntryDecidesWhetherItIsPosted() {
        assertThat(path(List.of(DEVICE), ELIGIBLE, POSTS).posted()).contains(true);
        assertThat(path(List.of(DEVICE), ELIGIBLE, POSTS).whyNot()).isEmpty();
        assertThat(path(List.of(DEVICE), ELIGIBLE, NO_FORM).posted()).isEmpty();
        assertThat(path(List.of(DEVICE), ELIGIBLE, REMAPPED).whyNot()).contains("remapped");
    }

    @Test
    void linkHasValuesOfItsHopAlone() {
        Link gsi = Link.whole(Hop.GSI, SEEN, List.of(7), "route");
        assertThat(gsi.numbers(Hop.VCPU)).isEmpty();
        assertThatThrownBy(() -> gsi.with(Hop.VCPU, List.of(new VcpuId(1))))
                .hasMessage("the link is of the GSI, not of the vCPU");
        assertThatThrownBy(() -> new Link(
                        Hop.GSI,
                        Link.State.WHOLE,
                        Optional.of(SEEN),
                        Optional.empty(),
                        "",
                        List.of(),
                        List.of(new VcpuId(1)),
                        List.of(),
                        List.of()))
                .hasMessage("the GSI has values of Gsi, not vcpu 1");
    }

    @Test
    void unseenPathShowsNoValue() {
        Link hidden = Link.notShown(Hop.HOST_IRQ, "no file", "root");
        Link named = Link.of(Hop.GSI, Link.State.NOT_SHOWN, SEEN, Optional.of("gsi 5"), "options", List.of());
        assertThat(path(List.of(DEVICE, hidden)).isUnseen()).isTrue();
        assertThat(path(List.of(DEVICE, hidden, named)).isUnseen()).isFalse();
    }

    @Test
    void otherRemediesChangeNothingElse() {
        List<Remedy> remedies = List.of(Remedy.look("dmesg"));
        Link link = new Link(
                Hop.VMM,
                Link.State.BROKEN,
                Optional.of(SEEN),
                Optional.of("100"),
                "stopped",
                List.of(),
                List.of(new ProcessId(1)),
                List.of(Known.Reason.REFUSED),
                List.of(STOPPED));
        assertThat(link.with(remedies))
                .isEqualTo(new Link(
                        Hop.VMM,
                        Link.State.BROKEN,
                        Optional.of(SEEN),
                        Optional.of("100"),
                        "stopped",
                        remedies,
                        List.of(new ProcessId(1)),
                        List.of(Known.Reason.REFUSED),
                        List.of(STOPPED)));
        assertThat(OBSTACLE.byHost().with(remedies).never()).isTrue();
        assertThat(new Known.Unknown<Integer>("denied", "run as root").map(number -> number + 1))
                .isEqualTo(new Known.Unknown<>("denied", "run as root"));
    }

    @Test
    void remediesAreJoinedAndNameTheirCost() {
        Remedy watch = Remedy.of(Remedy.Change.WATCH, "watch it");
        Remedy look = Remedy.look("dmesg");
        assertThat(Remedy.text(List.of(watch, look))).contains("watch it, or dmesg");
        assertThat(Remedy.text(List.of(look, Remedy.command("modprobe vfio")))).contains("dmesg; modprobe vfio");
        assertThat(look.cost()).isEmpty();
        assertThat(Remedy.command("modprobe vfio").cost()).isEqualTo(" (live; risk: none known)");
    }

    /** What explain and watch compare is the interrupt, not its text. */
    @Test
    void identityOfAnInterruptHasOneForm() {
        assertThat(Interrupt.of(NIC, IrqKind.INTX, 3)).isEqualTo(Interrupt.of(NIC, IrqKind.INTX, 0));
        assertThat(Interrupt.of(NIC, IrqKind.MSIX, 3)).isNotEqualTo(Interrupt.of(NIC, IrqKind.MSI, 3));
        assertThat(Interrupt.of(NIC, IrqKind.MSIX, new HostIrq(30))).hasToString("0000:3b:00.0 MSI-X of host irq 30");
        assertThat(Interrupt.all(NIC)).hasToString("0000:3b:00.0 all interrupts");
        assertThatThrownBy(() -> new Interrupt(NIC, Optional.of(IrqKind.MSI), OptionalInt.empty(), Optional.empty()))
                .hasMessageContaining("a message has one of them");
        assertThatThrownBy(() -> new Interrupt(NIC, Optional.empty(), OptionalInt.of(1), Optional.empty()))
                .hasMessageContaining("neither vector nor host irq");
    }
}
