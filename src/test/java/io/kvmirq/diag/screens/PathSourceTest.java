/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.diag.rules.Rule;
import io.kvmirq.diag.rules.SourceRules;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.GuestVector;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import io.kvmirq.path.ProcessId;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Files, kernel memory and a watch show the value of one hop. */
class PathSourceTest {
    private static final Interrupt FIRST = Interrupt.of(PciAddress.parse("0000:3b:00.0"), IrqKind.MSIX, 0);
    private static final Interrupt SECOND = Interrupt.of(PciAddress.parse("0000:3b:00.0"), IrqKind.MSIX, 1);

    private final HostFacts host = new HostFacts(new RecordedHost().tree());

    /** A source that knows one hop: this is all that a new one needs. */
    private record One<T>(Hop<T> hop, String name, List<T> values) implements PathSource {
        @Override
        public List<Link> links(InterruptPath before) {
            String value = values.stream().map(String::valueOf).collect(Collectors.joining(", "));
            return List.of(
                    Link.whole(hop, Evidence.observed(name), value, "seen").with(hop, values));
        }
    }

    @SafeVarargs
    @SuppressWarnings("varargs")
    private static <T> PathSource one(Hop<T> hop, String name, T... values) {
        return new One<>(hop, name, List.of(values));
    }

    private static PathSource link(Link link) {
        return before -> List.of(link);
    }

    private InterruptPath merged(PathSource... sources) {
        return PathSource.merge(
                host,
                InterruptPath.of(FIRST, Optional.empty(), List.of(), List.of(), List.of()),
                Arrays.asList(sources));
    }

    private Link merged(Hop<?> hop, PathSource... sources) {
        return merged(sources).link(hop).orElseThrow();
    }

    private static List<String> rules(Link link) {
        return link.flaws().stream().map(Flaw::rule).toList();
    }

    private static Link broken(Hop<?> hop) {
        return Link.of(hop, Link.State.BROKEN, Evidence.observed("files"), Optional.empty(), "gone", List.of());
    }

    /** A hop, its rule, a value and a lie about it. */
    private record Lie<T>(Hop<T> hop, String rule, T value, T lie) {
        PathSource files() {
            return one(hop, "files", value);
        }

        PathSource liar() {
            return one(hop, "liar", lie);
        }
    }

    static Stream<Lie<?>> lies() {
        return Stream.of(
                new Lie<>(Hop.HOST_IRQ, "host-irq.sources-differ", new HostIrq(27), new HostIrq(28)),
                new Lie<>(Hop.DEVICE_VECTOR, "device-vector.sources-differ", FIRST, SECOND),
                new Lie<>(Hop.VMM, "vmm.sources-differ", new ProcessId(100), new ProcessId(101)),
                new Lie<>(Hop.EVENTFD, "eventfd.sources-differ", new EventFdId(1), new EventFdId(2)),
                new Lie<>(Hop.IRQFD, "irqfd.sources-differ", new ProcessId(100), new ProcessId(101)),
                new Lie<>(Hop.GSI, "gsi.sources-differ", new Gsi(24), new Gsi(25)),
                new Lie<>(Hop.VCPU, "vcpu.sources-differ", new VcpuId(0), new VcpuId(1)));
    }

    @ParameterizedTest
    @MethodSource("lies")
    void lieIsInDoubtAndAgreementIsNot(Lie<?> lie) {
        Link link = merged(lie.hop(), lie.files(), lie.liar());
        assertThat(link.state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(rules(link)).containsExactly(lie.rule());
        assertThat(link.text())
                .startsWith("sources disagree: " + lie.value() + " [observed: files], but " + lie.lie()
                        + " [observed: liar]; ");
        assertThat(link.numbers()).isEqualTo(List.of(lie.lie()));
        assertThat(merged(lie.files(), lie.files())).isEqualTo(merged(lie.files()));
    }

    @Test
    void everyHopWithAValueHasARule() {
        assertThat(SourceRules.TABLES.stream()
                        .flatMap(table -> table.rows().stream().map(Rule::id)))
                .containsExactlyInAnyOrderElementsOf(
                        Stream.concat(lies().map(Lie::rule), Stream.of("guest-vector.sources-differ"))
                                .toList());
    }

    /** A guest vector is whole or not shown, so the vCPU that gets it is in doubt. */
    @Test
    void doubtAboutTheGuestVectorIsOneOfTheVcpu() {
        PathSource files = one(Hop.GUEST_VECTOR, "files", new GuestVector(49));
        PathSource liar = one(Hop.GUEST_VECTOR, "liar", new GuestVector(50));
        PathSource vcpu = one(Hop.VCPU, "files", new VcpuId(1));
        InterruptPath path = merged(files, vcpu, liar);
        assertThat(path.link(Hop.GUEST_VECTOR).map(Link::state)).contains(Link.State.WHOLE);
        Link link = path.link(Hop.VCPU).orElseThrow();
        assertThat(link.state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(rules(link)).containsExactly("guest-vector.sources-differ");
        assertThat(link.text())
                .startsWith(
                        "sources disagree: guest vector 49 [observed: files], but guest vector 50 [observed: liar]");
        assertThat(link.numbers(Hop.VCPU)).containsExactly(new VcpuId(1));
        assertThat(merged(Hop.VCPU, files, liar).state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(merged(files, vcpu, files)).isEqualTo(merged(files, vcpu));
    }

    /** The break is what a headline and a metric name. */
    @Test
    void doubtFollowsTheFlawOfABreak() {
        Flaw none = new Flaw("vcpu.none-ran", Flaw.Subject.GUEST, Flaw.Weight.BROKEN, Flaw.Span.NOW, "no vCPU ran");
        Link link = merged(
                Hop.VCPU,
                one(Hop.GUEST_VECTOR, "files", new GuestVector(49)),
                link(broken(Hop.VCPU).flawed(List.of(none))),
                one(Hop.GUEST_VECTOR, "liar", new GuestVector(50)));
        assertThat(link.state()).isEqualTo(Link.State.BROKEN);
        assertThat(rules(link)).containsExactly("vcpu.none-ran", "guest-vector.sources-differ");
    }

    @Test
    void doubtOfTwoSourcesOutlivesTheThird() {
        Link third = merged(
                Hop.EVENTFD,
                one(Hop.EVENTFD, "files", new EventFdId(2)),
                one(Hop.EVENTFD, "memory", new EventFdId(1)),
                one(Hop.EVENTFD, "a watch", new EventFdId(3)));
        assertThat(third.state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(rules(third)).containsExactly("eventfd.sources-differ");
        assertThat(third.numbers(Hop.EVENTFD)).containsExactly(new EventFdId(1));
        assertThat(third.text())
                .startsWith("sources disagree: eventfd-id 2 [observed: files], but eventfd-id 1 [observed: memory]; ")
                .endsWith("; another source shows eventfd-id 3 [observed: a watch]");
    }

    @Test
    void sourcesThatShareAValueAgree() {
        PathSource moved = one(Hop.VCPU, "a watch", new VcpuId(0), new VcpuId(1));
        assertThat(merged(one(Hop.VCPU, "memory", new VcpuId(1)), moved)).isEqualTo(merged(moved));
        Link other = merged(Hop.VCPU, one(Hop.VCPU, "memory", new VcpuId(2)), moved);
        assertThat(other.state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(other.numbers(Hop.VCPU)).containsExactly(new VcpuId(0), new VcpuId(1));
    }

    @Test
    void hopWithoutAValueIsNotCompared() {
        PathSource shown = one(Hop.EVENTFD, "memory", new EventFdId(1));
        assertThat(merged(link(Link.notShown(Hop.EVENTFD, "no file shows it", List.of())), shown))
                .isEqualTo(merged(shown));
    }

    /** As a tracepoint of a message, which does not name its GSI, between memory and probes. */
    @Test
    void valueIsComparedAcrossASourceThatHasNone() {
        PathSource none = link(Link.notShown(Hop.GSI, "no name", List.of()));
        Link link = merged(Hop.GSI, one(Hop.GSI, "memory", new Gsi(24)), none, one(Hop.GSI, "probes", new Gsi(25)));
        assertThat(rules(link)).containsExactly("gsi.sources-differ");
        assertThat(merged(one(Hop.GSI, "memory", new Gsi(24)), none)).isEqualTo(merged(none));
    }

    @Test
    void flawOutlivesABetterSourceAndADifferenceFollowsIt() {
        PathSource flawed = link(broken(Hop.GSI).with(Hop.GSI, List.of(new Gsi(24))));
        assertThat(merged(flawed, one(Hop.GSI, "memory", new Gsi(24)))).isEqualTo(merged(flawed));
        Link differs = merged(Hop.GSI, flawed, one(Hop.GSI, "memory", new Gsi(25)));
        assertThat(differs.state()).isEqualTo(Link.State.BROKEN);
        assertThat(differs.text()).startsWith("gone; sources disagree: ");
        assertThat(rules(differs)).containsExactly("gsi.sources-differ");
    }

    /** An irqfd that took signals exists, and its eventfd is read. */
    @ParameterizedTest
    @CsvSource({"irqfd, irqfd, WHOLE", "vCPU, irqfd, WHOLE", "eventfd, irqfd, WHOLE"})
    void watchRefutesAFlawOfAHopThatInterruptsPass(String name, String other, Link.State state) {
        Hop<?> hop = named(name);
        PathSource watch = new PathSource() {
            @Override
            public List<Link> links(InterruptPath before) {
                return Stream.of(hop, named(other))
                        .distinct()
                        .map(reached -> Link.whole(reached, Evidence.observed("watch"), "1", "seen"))
                        .toList();
            }

            @Override
            public boolean isWatch() {
                return true;
            }
        };
        assertThat(merged(hop, link(broken(hop)), watch).state()).isEqualTo(state);
    }

    private static Hop<?> named(String label) {
        return Hop.all().stream()
                .filter(hop -> hop.label().equals(label))
                .findFirst()
                .orElseThrow();
    }

    @Test
    void breakOfABetterSourceEndsThePath() {
        PathSource vcpu = one(Hop.VCPU, "files", new VcpuId(1));
        PathSource files = one(Hop.GSI, "files", new Gsi(24));
        assertThat(merged(files, vcpu, link(broken(Hop.GSI))).links())
                .extracting(Link::hop)
                .containsExactly(Hop.GSI);
        assertThat(merged(link(broken(Hop.GSI)), vcpu).links()).hasSize(2);
    }
}
