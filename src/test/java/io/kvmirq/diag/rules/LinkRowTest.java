/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.testing.Artifacts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LinkRowTest {
    @Test
    void rowHasHopStateSentenceAndRemedies() {
        assertThat(LinkRow.of("vcpu.some", 4).unseen())
                .isEqualTo(Link.notShown(
                        Hop.VCPU, "the guest directs the interrupt to one of 4 vCPUs", GuestRules.BY_VMM));
        Evidence from = Evidence.observed("/proc/interrupts");
        assertThat(LinkRow.of("vector.not-open", "VFIO has not armed MSI-X 0").seen(from))
                .returns(Link.State.IDLE, Link::state)
                .returns(Hop.DEVICE_VECTOR, Link::hop)
                .returns("VFIO has not armed MSI-X 0 because no process has the device open", Link::text);
        assertThat(LinkRow.of("gsi.raised").seen(from, List.of(24, 25)))
                .isEqualTo(Link.whole(Hop.GSI, from, List.of(24, 25), "the irqfd raises it"));
    }

    @Test
    void eachRowIsUsed() throws IOException {
        StringBuilder sources = new StringBuilder();
        for (Path file : Artifacts.allSources("io/kvmirq/diag")) {
            sources.append(Files.readString(file));
        }
        assertThat(LinkRow.rows("links.txt", Rows.shipped("links.txt")).keySet())
                .hasSizeGreaterThan(50)
                .allSatisfy(id -> assertThat(sources).contains('"' + id + '"'));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '~',
            value = {
                "a.good | GSI | ok | again | - ~ \"a.good\" has a row already",
                "a.new | GSI | ok | it holds ~ \"a.new\" has 4 columns, expected 5",
                "a.new | GSI | ok |  | - ~ \"a.new\" has an empty column: write -",
                "a.new | route | ok | it holds | - ~ \"route\" is not one of [device, host irq,",
                "a.new | GSI | fine | it holds | - ~ \"fine\" is not one of [ok, broken,",
                "a.new | GSI | ok | it holds | @nobody ~ \"@nobody\" has no row",
            })
    void wrongRowIsNamedByItsLine(String line, String message) {
        assertThatThrownBy(() -> LinkRow.rows("links", "# rows\na.good | GSI | ok | it holds | -\n" + line))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("links:3: " + message);
    }
}
