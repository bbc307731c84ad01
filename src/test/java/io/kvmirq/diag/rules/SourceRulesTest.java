/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.VcpuId;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Files, kernel memory and a watch tell the value of one hop. */
class SourceRulesTest {
    private final Fact.Facts facts = new Fact.Facts(new HostFacts(new RecordedHost().tree()));

    private static Link eventfd(String source, int id) {
        return Link.whole(Hop.EVENTFD, Evidence.observed(source), "id " + id, "")
                .with(Hop.EVENTFD, List.of(new EventFdId(id)));
    }

    private static Link vcpus(String source, int... ids) {
        return Link.whole(
                Hop.VCPU, Evidence.observed(source), IntStream.of(ids).boxed().toList(), "");
    }

    @Test
    void doubtOfTwoSourcesOutlivesTheThird() {
        Link both = SourceRules.compared(facts, Optional.of(eventfd("files", 2)), eventfd("memory", 1));
        assertThat(both.state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(both.numbers(Hop.EVENTFD)).containsExactly(new EventFdId(1));
        Link third = SourceRules.compared(facts, Optional.of(both), eventfd("a watch", 3));
        assertThat(third.state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(third.text())
                .startsWith("sources disagree: id 2 [observed: files], but id 1 [observed: memory]; ")
                .endsWith("; a third source shows id 3 [observed: a watch]");
    }

    @Test
    void sourcesThatShareAValueAgree() {
        Link moved = vcpus("a watch", 0, 1);
        assertThat(SourceRules.compared(facts, Optional.of(vcpus("memory", 1)), moved))
                .isEqualTo(moved);
        Link other = SourceRules.compared(facts, Optional.of(vcpus("memory", 2)), moved);
        assertThat(other.state()).isEqualTo(Link.State.DOUBTFUL);
        assertThat(other.numbers(Hop.VCPU)).containsExactly(new VcpuId(0), new VcpuId(1));
    }

    @Test
    void hopWithoutAValueIsNotCompared() {
        Link shown = eventfd("memory", 1);
        assertThat(SourceRules.compared(facts, Optional.empty(), shown)).isEqualTo(shown);
        assertThat(SourceRules.compared(
                        facts, Optional.of(Link.notShown(Hop.EVENTFD, "no file shows it", List.of())), shown))
                .isEqualTo(shown);
    }
}
