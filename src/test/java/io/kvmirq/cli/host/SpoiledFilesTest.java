/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ReadOnce;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.BiFunction;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Each file that the links of a device read, spoiled. A link that is not whole without a file needs it, and is not whole
 * either if the file is there and cannot be understood.
 */
class SpoiledFilesTest {
    private static final int FEWEST_FILES = 40;
    /** It would be another device, or none. */
    private static final Set<String> OF_THE_DEVICE = Set.of("vendor", "config");

    private static final Map<String, BiFunction<RecordedHost, String, RecordedHost>> SPOILS = Map.of(
            "empty", (host, path) -> host.putBytes(path, new byte[0]),
            "garbage", (host, path) -> host.put(path, "~?\u0001 :-,x\n=\n"),
            "of one letter", SpoiledFilesTest::cut,
            "a long number", (host, path) -> host.put(path, "99999999999999999999999\n"),
            "of zeros", (host, path) -> host.putBytes(path, new byte[8]));

    /** The first digit of a number is a number, which may be right. */
    private static RecordedHost cut(RecordedHost host, String path) {
        boolean number = host.tree().text(path).orElse("").matches("(?s)(\\d.*)?");
        return number ? host.deny(path) : host.cut(path, 1);
    }

    /** The states of the links of all vectors, the worst of each hop. */
    static Map<Hop<?>, Link.State> states(RecordedHost host, String device) {
        HostFacts facts = new HostFacts(host.tree());
        Map<Hop<?>, Link.State> states = new TreeMap<>();
        facts.pci(PciAddress.parse(device)).stream()
                .flatMap(found -> DeviceChains.read(facts, found).stream())
                .map(InterruptPath::links)
                .flatMap(List::stream)
                .forEach(link -> states.merge(link.hop(), link.state(), SpoiledFilesTest::worst));
        return states;
    }

    static Link.State worst(Link.State first, Link.State other) {
        List<Link.State> order = List.of(
                Link.State.BROKEN, Link.State.DOUBTFUL, Link.State.NOT_SHOWN, Link.State.IDLE, Link.State.WHOLE);
        return order.get(Math.min(order.indexOf(first), order.indexOf(other)));
    }

    static Set<String> read(RecordedHost host, String device) {
        ReadOnce files = new ReadOnce(host.tree());
        HostFacts facts = new HostFacts(files);
        facts.pci(PciAddress.parse(device)).ifPresent(found -> DeviceChains.read(facts, found));
        return new TreeSet<>(files.seen().files().keySet());
    }

    @ParameterizedTest
    @CsvSource({
        "intel-posted, 0000:00:01.0",
        "intel-nopost, 0000:00:01.0",
        "amd-avic, 0000:00:02.0",
        "gicv3, 0000:00:01.0",
        "intx-shared, 0000:00:02.0"
    })
    void spoiledFileLeavesNoLinkWholeThatNeedsIt(String name, String device) throws IOException {
        Map<Hop<?>, Link.State> before = states(GuestHosts.of(name), device);
        Set<String> paths = read(GuestHosts.of(name), device);
        int needed = 0;
        List<String> flaws = new ArrayList<>();
        int examined = 0;
        for (String path : paths) {
            Map<Hop<?>, Link.State> denied = states(GuestHosts.of(name).deny(path), device);
            for (Map.Entry<String, BiFunction<RecordedHost, String, RecordedHost>> spoil : SPOILS.entrySet()) {
                Map<Hop<?>, Link.State> after = states(spoil.getValue().apply(GuestHosts.of(name), path), device);
                examined++;
                for (Map.Entry<Hop<?>, Link.State> link : after.entrySet()) {
                    Hop<?> hop = link.getKey();
                    String what = path + " " + spoil.getKey() + ": " + hop.label();
                    if (before.get(hop) == Link.State.WHOLE && denied.get(hop) == Link.State.NOT_SHOWN) {
                        needed++;
                        // Each line of printable text may be a command line.
                        if (link.getValue() == Link.State.WHOLE && !path.endsWith("/cmdline")) {
                            flaws.add(what + " is whole");
                        }
                    }
                    if (link.getValue() == Link.State.BROKEN
                            && OF_THE_DEVICE.stream().noneMatch(path::endsWith)) {
                        flaws.add(what + " is broken");
                    }
                }
            }
        }
        assertThat(flaws).isEmpty();
        assertThat(paths).hasSizeGreaterThan(FEWEST_FILES);
        assertThat(examined).isEqualTo(paths.size() * SPOILS.size());
        assertThat(needed).isPositive();
    }
}
