/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.diag.sources.Guests.Guest;
import io.kvmirq.host.facts.HostFacts;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;

/** The rates of the guests' counters between two looks at a machine. */
public final class GuestRates extends Watch {
    private final Guests before;
    private final long begin;

    /**
     * Events per second.
     *
     * @param exits exits of all vCPUs; empty if a look did not show them
     * @param injected interrupts that KVM injected by software; empty likewise
     */
    public record Rate(OptionalLong exits, OptionalLong injected) {}

    /**
     * The second look.
     *
     * @param rates by the guest's process. None of a process that began after the first look
     */
    public record Seen(Guests guests, HostFacts host, Duration watched, Map<Integer, Rate> rates) {
        public Seen {
            rates = Map.copyOf(rates);
        }

        /** Whether the exits of all guests that both looks saw are known. */
        public boolean hasAll() {
            return rates.values().stream().allMatch(rate -> rate.exits().isPresent());
        }
    }

    private GuestRates(LiveHost machine) {
        super(machine);
        this.before = Guests.find(new HostFacts(machine.files()));
        this.begin = machine.nanos();
    }

    /** Takes the first look. */
    public static GuestRates of(LiveHost machine) {
        return new GuestRates(machine);
    }

    /** Takes the second look. */
    public Seen end() {
        long nanos = Math.max(1, machine.nanos() - begin);
        HostFacts host = new HostFacts(machine.files());
        Guests after = Guests.find(host);
        Map<Integer, Guest> first = new HashMap<>();
        before.all().forEach(guest -> first.put(guest.process().pid(), guest));
        Map<Integer, Rate> rates = new HashMap<>();
        for (Guest now : after.all()) {
            Guest then = first.remove(now.process().pid());
            if (then != null) {
                rates.put(
                        now.process().pid(),
                        new Rate(rate(then.exits(), now.exits(), nanos), rate(then.injected(), now.injected(), nanos)));
            }
        }
        List<String> notes = new ArrayList<>(after.notes());
        first.values().stream()
                .sorted(Comparator.comparingInt(guest -> guest.process().pid()))
                .forEach(guest -> notes.add("guest " + guest.process().asGuest() + " ended between the two reads"));
        return new Seen(new Guests(after.all(), notes), host, Duration.ofNanos(nanos), rates);
    }

    private static OptionalLong rate(OptionalLong then, OptionalLong now, long nanos) {
        return then.isEmpty() || now.isEmpty() || now.getAsLong() < then.getAsLong()
                ? OptionalLong.empty()
                : OptionalLong.of(Math.round(
                        (now.getAsLong() - then.getAsLong()) * (double) TimeUnit.SECONDS.toNanos(1) / nanos));
    }
}
