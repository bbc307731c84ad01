/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.diag.Guests.Guest;
import io.kvmirq.diag.HostChanges.Change;
import io.kvmirq.diag.HostChanges.Look;
import io.kvmirq.host.facts.VmProcess.VcpuFile;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The changes of guests between two looks: running guests, the threads that work for them, and their CPUs. */
final class GuestChanges {
    private final Look before;
    private final Look after;
    private final List<Change> changes = new ArrayList<>();

    private GuestChanges(Look before, Look after) {
        this.before = before;
        this.after = after;
    }

    static List<Change> of(Look before, Look after) {
        return new GuestChanges(before, after).all();
    }

    private List<Change> all() {
        List<Guest> left = new ArrayList<>(before.guests().all());
        for (Guest now : after.guests().all()) {
            Optional<Guest> old = find(left, one -> one.process().pid(), now)
                    .or(() -> find(left, one -> one.process().guest(), now).filter(one -> one.process()
                            .guest()
                            .filter(name -> !OtherNames.isNumbered(name))
                            .isPresent()));
            old.ifPresent(left::remove);
            if (old.isEmpty()) {
                add("guest " + now.title(), "is new");
            } else {
                compare(old.get(), now);
            }
        }
        left.forEach(one -> add("guest " + one.title(), "is gone"));
        notes(before, after, "notes no longer: ");
        notes(after, before, "notes now: ");
        return changes;
    }

    private static Optional<Guest> find(List<Guest> all, Function<Guest, Object> key, Guest wanted) {
        return all.stream()
                .filter(one -> key.apply(one).equals(key.apply(wanted)))
                .findFirst();
    }

    private void add(String subject, String text) {
        changes.add(new Change(subject, text));
    }

    private void notes(Look of, Look other, String when) {
        of.guests().notes().stream()
                .filter(note -> !other.guests().notes().contains(note))
                .forEach(note -> add("list", when + note));
    }

    private void compare(Guest old, Guest now) {
        String name = now.process().name();
        if (old.process().pid() != now.process().pid()) {
            add(
                    "guest " + name,
                    "has process " + now.process().pid() + " now, had "
                            + old.process().pid() + ": it was started again");
        }
        number(name, "vCPU", "", old.vcpus().all(), now.vcpus().all());
        number(
                name,
                "file",
                " of vhost",
                old.vhostFiles().size(),
                now.vhostFiles().size());
        number(name, "worker", " of vhost", old.workers().size(), now.workers().size());
        if (isStopped(old) != isStopped(now)) {
            add(
                    "guest " + name,
                    isStopped(now)
                            ? "is stopped now: its vCPUs are stopped, traced, or wait outside of KVM_RUN"
                            : "runs again");
        }
        Map<String, Long> helpers = kinds(old);
        Map<String, Long> others = kinds(now);
        others.keySet().stream()
                .filter(kind -> !helpers.containsKey(kind))
                .forEach(kind -> add("guest " + name, "has a kernel thread " + kind + " now"));
        helpers.keySet().stream()
                .filter(kind -> !others.containsKey(kind))
                .forEach(kind -> add("guest " + name, "has no kernel thread " + kind + " any more"));
        moved(name, vcpus(before, old), vcpus(after, now));
        moved(name, workers(old), workers(now));
    }

    /** One vCPU may wait in the VMM for a moment. */
    private static boolean isStopped(Guest guest) {
        return guest.vcpus().all() > 0
                && guest.vcpus().stopped() == guest.vcpus().all();
    }

    private void number(String name, String thing, String of, int old, int now) {
        if (old != now) {
            add("guest " + name, "has " + now + " " + thing + (now == 1 ? "" : "s") + of + " now, had " + old);
        }
    }

    private static Map<String, Long> kinds(Guest guest) {
        return guest.helpers().stream()
                .collect(Collectors.groupingBy(one -> one.split(" ", 2)[0], TreeMap::new, Collectors.counting()));
    }

    /** The affinity of each thread. Its current CPU changes all the time. */
    private void moved(String name, Map<String, String> old, Map<String, String> now) {
        old.forEach((thread, cpus) -> Optional.ofNullable(now.get(thread))
                .filter(others -> !others.equals(cpus))
                .ifPresent(
                        others -> add(thread + " of " + name, "may run on CPU " + others + " now, before on " + cpus)));
    }

    private static Map<String, String> vcpus(Look look, Guest guest) {
        Map<String, String> allowed = new TreeMap<>();
        for (VcpuFile one : guest.process().vcpus()) {
            one.thread().stream()
                    .mapToObj(tid -> KernelHelpers.allowed(
                            look.files(), "proc/" + guest.process().pid() + "/task/" + tid))
                    .flatMap(Optional::stream)
                    .forEach(cpus -> allowed.put("vCPU " + one.id(), cpus));
        }
        return allowed;
    }

    private static Map<String, String> workers(Guest guest) {
        Map<String, String> allowed = new TreeMap<>();
        guest.workers().forEach(one -> one.allowed().ifPresent(cpus -> allowed.put("worker " + one.tid(), cpus)));
        return allowed;
    }

    /** Reads the compared files, for a capture. */
    static void read(Look look) {
        look.guests().all().forEach(guest -> vcpus(look, guest));
    }
}
