/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.ReadOnce;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * The changes of one host between two looks, in the words of doctor, list and explain: verdicts, guests, devices and the
 * chains of their interrupts. Counts are left out, because they always change. For one use by one thread.
 */
public final class HostChanges {
    /** A subject and its change, which form one sentence without a full stop. Both may contain names from files. */
    public record Change(String subject, String text) {
        @Override
        public String toString() {
            return subject + " " + text;
        }
    }

    record Look(HostFiles files, HostFacts host, Guests guests) {
        static Look at(HostFiles tree) {
            ReadOnce files = new ReadOnce(tree);
            HostFacts host = new HostFacts(files);
            return new Look(files, host, Guests.of(files, host));
        }

        Set<String> devices() {
            Set<String> devices = new HashSet<>();
            host.pciAddresses().stream()
                    .flatMap(address -> host.pci(address).stream())
                    .forEach(one -> devices.add(one.address() + " " + one.vendor() + " " + one.device()));
            return devices;
        }
    }

    private final Look before;
    private final Look after;
    private final List<Change> changes = new ArrayList<>();

    private HostChanges(Look before, Look after) {
        this.before = before;
        this.after = after;
    }

    /** The changes between two looks at one host. */
    public static List<Change> of(HostFiles before, HostFiles after) {
        return new HostChanges(Look.at(before), Look.at(after)).all();
    }

    /**
     * The reason why two trees seem to be of two hosts: a clause without a full stop. Empty if they may be of one host.
     * Trees of two hosts of one model look the same.
     */
    public static Optional<String> ofTwoHosts(HostFiles before, HostFiles after) {
        HostFacts first = new HostFacts(before);
        HostFacts second = new HostFacts(after);
        if (first.isArm() != second.isArm()) {
            return Optional.of("only one of them is an arm64 machine");
        }
        if (first.posting().vendor().isPresent()
                && second.posting().vendor().isPresent()
                && !first.posting().vendor().equals(second.posting().vendor())) {
            return Optional.of(
                    "their processors are of " + first.posting().vendor().get() + " and "
                            + second.posting().vendor().get());
        }
        Set<String> all = Look.at(before).devices();
        Set<String> others = Look.at(after).devices();
        Set<String> both = new HashSet<>(all);
        both.retainAll(others);
        return both.size() * 2 < Math.max(all.size(), others.size())
                ? Optional.of("they have " + both.size() + " of " + all.size() + " and " + others.size()
                        + " PCI devices in common")
                : Optional.empty();
    }

    private List<Change> all() {
        String kernel = before.host().kernel().orElse("not shown");
        String now = after.host().kernel().orElse("not shown");
        if (!kernel.equals(now)) {
            add("the kernel", "is " + now + " now, was " + kernel);
        }
        verdicts();
        changes.addAll(GuestChanges.of(before, after));
        devices();
        return changes;
    }

    private void add(String subject, String text) {
        changes.add(new Change(subject, text));
    }

    private void verdicts() {
        EnumSet<Check> checks = EnumSet.complementOf(EnumSet.of(Check.BACKENDS));
        List<Finding> old = Doctor.examine(before.host(), checks);
        List<Finding> now = Doctor.examine(after.host(), checks);
        for (int i = 0; i < old.size(); i++) {
            Finding one = old.get(i);
            Finding other = now.get(i);
            if (one.status() != other.status() || !one.reason().equals(other.reason())) {
                add(
                        "check " + one.check().id(),
                        (one.status() == other.status()
                                        ? "is still " + other.status() + ", for another reason now: "
                                        : "is " + other.status() + " now, was " + one.status() + ": ")
                                + other.text());
            }
        }
    }

    private void devices() {
        TreeSet<PciAddress> addresses = new TreeSet<>(before.host().pciAddresses());
        addresses.addAll(after.host().pciAddresses());
        for (PciAddress address : addresses) {
            Optional<PciDevice> old = before.host().pci(address);
            Optional<PciDevice> now = after.host().pci(address);
            if (old.isEmpty() && now.isEmpty()) {
                continue;
            }
            if (old.isEmpty() || now.isEmpty()) {
                add(address.toString(), now.isEmpty() ? "is gone" : "is new");
                continue;
            }
            differs(address, "driver", old.get().driver(), now.get().driver());
            differs(
                    address,
                    "IOMMU group",
                    old.get().group().stream().mapToObj(String::valueOf).findFirst(),
                    now.get().group().stream().mapToObj(String::valueOf).findFirst());
            if (old.get().isBoundToVfio() || now.get().isBoundToVfio()) {
                changes.addAll(ChainChanges.of(before, old.get(), after, now.get()));
            }
        }
    }

    private void differs(PciAddress address, String name, Optional<String> old, Optional<String> now) {
        if (!old.equals(now)) {
            add(
                    address.toString(),
                    "has " + now.map(one -> name + " " + one).orElse("no " + name) + " now, had " + old.orElse("none"));
        }
    }
}
