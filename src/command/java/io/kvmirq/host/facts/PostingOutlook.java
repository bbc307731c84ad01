/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.gic.VlpiObstacle;
import java.util.List;
import java.util.Optional;

/**
 * Whether a host's hardware can deliver device messages to guests, before any VM is looked at. Immutable.
 *
 * @param posts empty if it cannot be known
 * @param text why, one sentence without a full stop
 * @param remedy the remedy; empty if the host posts, or if there is none
 */
public record PostingOutlook(Optional<Boolean> posts, String text, Optional<String> remedy) {
    /** The outlook from a host's files. */
    public static PostingOutlook fromHost(HostFacts host) {
        return host.isArm() ? ofArm(host) : ofX86(host);
    }

    private static PostingOutlook ofX86(HostFacts host) {
        Optional<PostingHost> known = host.posting().host();
        if (host.interrupts().isPresent() && !host.interrupts().get().hasChip("IR-")) {
            return unremapped(host);
        }
        if (known.isEmpty()) {
            return unknown(String.join("; ", host.posting().unreadable()), Optional.empty());
        }
        Optional<PostingObstacle> flaw = known.get().flaw();
        return flaw.isPresent()
                ? new PostingOutlook(
                        Optional.of(false),
                        host.posting().flaw().orElseThrow(),
                        Optional.of(flaw.get().remedy()))
                : new PostingOutlook(
                        Optional.of(true), "this host can post device interrupts to running vCPUs", Optional.empty());
    }

    private static PostingOutlook unremapped(HostFacts host) {
        PostingObstacle obstacle = PostingObstacle.NO_REMAPPING;
        return new PostingOutlook(
                Optional.of(false),
                obstacle.text(),
                Optional.of(
                        host.isVirtual()
                                ? "run on bare metal, because this host is a VM and emulated IOMMUs do not post"
                                : remapping(host)));
    }

    /** Only words that the command line has can be removed from it. */
    private static String remapping(HostFacts host) {
        StringBuilder words = new StringBuilder();
        for (String word : host.kvm().commandLine().known().orElse(List.of())) {
            boolean off = word.startsWith("intremap=")
                    && ("," + word.substring("intremap=".length()) + ",").contains(",off,");
            if (off || word.equals("nointremap")) {
                words.append(words.length() == 0 ? "" : " and ").append(word);
            }
        }
        return words.length() == 0
                ? "enable the IOMMU and its interrupt remapping in firmware"
                : "remove " + words + " from the kernel's command line";
    }

    private static PostingOutlook ofArm(HostFacts host) {
        VlpiObstacle none = VlpiObstacle.NO_GICV4;
        Optional<Boolean> used = host.posting().gicv4();
        if (used.isEmpty()) {
            return unknown(
                    "kvm-arm.vgic_v4_enable is set, but only a running VM shows whether the host has a GICv4",
                    Optional.of("look again while a VM with an ITS runs"));
        }
        return used.get()
                ? new PostingOutlook(Optional.of(true), "GICv4 delivers device messages as vLPIs", Optional.empty())
                : new PostingOutlook(used, none.text(), Optional.of(none.remedy()));
    }

    private static PostingOutlook unknown(String text, Optional<String> remedy) {
        return new PostingOutlook(Optional.empty(), text, remedy);
    }

    /** The outlook in one line. */
    @Override
    public String toString() {
        return posts.map(yes -> yes ? "on" : "off").orElse("not known") + ": " + text
                + remedy.map(what -> " (" + what + ")").orElse("");
    }
}
