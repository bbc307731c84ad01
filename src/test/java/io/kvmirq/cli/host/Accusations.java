/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/** The accusations of commands on a host: of links of a device and of all guests, and by checks of the doctor. */
final class Accusations {
    private Accusations() {}

    /** The links in which a device's vectors or a guest have a flaw, the device's first. */
    static List<Link> links(HostFacts host, PciAddress device) {
        return Stream.of(
                        DeviceChains.gone(host, device).stream(),
                        host.pci(device).stream().flatMap(found -> DeviceChains.read(host, found).stream()),
                        PathsCheck.ofGuests(host, host.vms().all()).stream())
                .flatMap(paths -> paths)
                .map(InterruptPath::links)
                .flatMap(List::stream)
                .filter(Link::isFlawed)
                .distinct()
                .toList();
    }

    /** The flaws that put a link in doubt or break it. */
    static Stream<Flaw> flaws(List<Link> links) {
        return links.stream()
                .flatMap(link -> link.flaws().stream())
                .filter(flaw -> flaw.weight() != Flaw.Weight.REMARK && !flaw.isPastDelay());
    }

    /** The finding of a check. */
    static Finding finding(HostFiles tree, Check check) {
        return Doctor.examine(new HostFacts(tree), EnumSet.of(check)).get(0);
    }

    /** Rules and links that have a flaw, and checks that warn or fail. */
    static Set<String> of(HostFiles tree, PciAddress device) {
        HostFacts host = new HostFacts(tree);
        Set<String> all = new TreeSet<>();
        List<Link> links = links(host, device);
        links.forEach(link -> all.add(link.hop().label() + " " + link.state().label()));
        flaws(links).forEach(flaw -> all.add(flaw.rule()));
        Set<Check> checks = EnumSet.allOf(Check.class);
        checks.removeIf(Check::isStepOfItsOwn);
        Doctor.examine(host, checks).stream()
                .filter(finding -> finding.status() == Finding.Status.FAIL || finding.status() == Finding.Status.WARN)
                .forEach(finding -> all.add("doctor " + finding.check().id() + " " + finding.reason()));
        return all;
    }
}
