/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.diag.HostChanges.Change;
import io.kvmirq.diag.HostChanges.Look;
import io.kvmirq.host.facts.PciDevice;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The changes of the chains of one device between two looks. Interrupts that changed alike are one change. */
final class ChainChanges {
    private static final int MOST_NAMED = 8;
    /** The CPUs to which a host irq goes, or else those to which it may go. */
    private static final List<String> AFFINITIES = List.of("effective_affinity_list", "smp_affinity_list");

    private static final String IRQ = "\\d{1,9}";
    /** As {@link DeviceChains} names an interrupt whose vector no file shows. */
    private static final String UNNUMBERED = " of host irq ";

    private final Look before;
    private final Look after;
    private final String device;
    /** The interrupts, by their change. */
    private final Map<String, List<String>> alike = new LinkedHashMap<>();

    private final List<String> irqs = new ArrayList<>();
    private final List<String> oldIrqs = new ArrayList<>();
    private final List<String> newIrqs = new ArrayList<>();

    private ChainChanges(Look before, Look after, String device) {
        this.before = before;
        this.after = after;
        this.device = device;
    }

    static List<Change> of(Look before, PciDevice old, Look after, PciDevice now) {
        List<Chain> chains = DeviceChains.of(after.host(), now);
        String guest = chains.stream()
                .flatMap(one -> one.guest().stream())
                .findFirst()
                .map(name -> " (" + name.replaceFirst(" \\(process \\d+\\)$", "") + ")")
                .orElse("");
        return new ChainChanges(before, after, now.address() + guest)
                .compare(DeviceChains.of(before.host(), old), chains);
    }

    private List<Change> compare(List<Chain> old, List<Chain> now) {
        Map<String, Chain> left = byInterrupt(old);
        for (Chain chain : now) {
            Chain one = Optional.ofNullable(left.remove(chain.interrupt()))
                    .or(() -> ofIrq(chain, old).filter(same -> left.remove(same.interrupt()) != null))
                    .orElse(null);
            if (one == null) {
                add(chain, "is new" + (chain.fails().isPresent() ? ", and " + fault(chain) : ""));
            } else {
                compare(one, isUnnumbered(chain) ? named(chain, one) : chain);
            }
        }
        left.values().forEach(chain -> add(chain, "is gone: VFIO has not armed it and the host has no irq for it now"));
        List<Change> changes = new ArrayList<>();
        if (!irqs.isEmpty()) {
            changes.add(new Change(subject(irqs), "moved to host irq " + named(newIrqs) + " from " + named(oldIrqs)));
        }
        alike.forEach((text, interrupts) -> changes.add(new Change(subject(interrupts), text)));
        return changes;
    }

    /** The chain of the same host irq, if only one of the two chains shows its vector. */
    private static Optional<Chain> ofIrq(Chain chain, List<Chain> all) {
        Optional<String> irq = chain.link(Hop.HOST_IRQ).flatMap(Link::value);
        return all.stream()
                .filter(one -> irq.isPresent()
                        && isUnnumbered(one) != isUnnumbered(chain)
                        && one.link(Hop.HOST_IRQ).flatMap(Link::value).equals(irq))
                .findFirst();
    }

    private static boolean isUnnumbered(Chain chain) {
        return chain.interrupt().contains(UNNUMBERED);
    }

    private static Chain named(Chain chain, Chain name) {
        return new Chain(
                chain.device(), name.interrupt(), chain.guest(), chain.links(), chain.claims(), chain.remarks());
    }

    private static Map<String, Chain> byInterrupt(List<Chain> chains) {
        return chains.stream()
                .collect(Collectors.toMap(
                        Chain::interrupt, Function.identity(), (one, other) -> one, LinkedHashMap::new));
    }

    private void add(Chain chain, String text) {
        String ofAny = text.replaceAll(
                chain.interrupt() + "(?!\\d)|the vector" + UNNUMBERED + "\\d+, whose number is not shown", "it");
        alike.computeIfAbsent(ofAny, any -> new ArrayList<>()).add(chain.interrupt());
    }

    private String subject(List<String> interrupts) {
        return ranges(interrupts) + " of " + device;
    }

    /** Such as {@code MSI-X 0 to 4, 7}. */
    static String ranges(List<String> interrupts) {
        List<String> parts = new ArrayList<>();
        for (int i = 0; i < interrupts.size(); ) {
            int end = i;
            while (end + 1 < interrupts.size() && follows(interrupts.get(end), interrupts.get(end + 1))) {
                end++;
            }
            String first = interrupts.get(i);
            String kind = i == 0 ? first : first.substring(first.lastIndexOf(' ') + 1);
            parts.add(
                    end == i
                            ? kind
                            : kind + " to " + number(interrupts.get(end)).orElse(0));
            i = end + 1;
        }
        return String.join(", ", parts);
    }

    private static boolean follows(String one, String other) {
        Optional<Integer> number = number(one);
        return number.isPresent()
                && number(other).filter(next -> next == number.get() + 1).isPresent();
    }

    private static Optional<Integer> number(String interrupt) {
        String word = interrupt.substring(interrupt.lastIndexOf(' ') + 1);
        return word.matches("\\d{1,9}") ? Optional.of(Integer.valueOf(word)) : Optional.empty();
    }

    private static String named(List<String> values) {
        return values.stream().limit(MOST_NAMED).collect(Collectors.joining(", "))
                + (values.size() > MOST_NAMED ? ", ..." : "");
    }

    private void compare(Chain old, Chain now) {
        old.guest()
                .filter(name -> !guest(now).equals(guest(old)))
                .ifPresent(name -> add(now, "has left guest " + name));
        now.guest()
                .filter(name -> old.guest().isEmpty())
                .ifPresent(name -> add(now, "is seen in guest " + name + " now"));
        boolean told = false;
        for (Hop hop : Hop.values()) {
            Optional<Link> one = old.link(hop);
            Optional<Link> other = now.link(hop);
            if (one.isPresent() && other.isPresent()) {
                told |= compare(now, one.get(), other.get());
            }
        }
        told |= broken(old, now);
        if (!told) {
            posted(old, now);
        }
        cpu(old, now);
        remarks(old, now, "has this remark no longer: ");
        remarks(now, old, "has this remark now: ");
    }

    /** Name and process, or only its process if the name is a number. */
    private static Optional<String> guest(Chain chain) {
        return chain.guest().map(name -> {
            int process = name.lastIndexOf(" (process ");
            return process > 0 && OtherNames.isNumbered(name.substring(0, process)) ? name.substring(process) : name;
        });
    }

    /** A link that only one of the chains has is behind the end of the other. */
    private boolean broken(Chain old, Chain now) {
        Optional<Link> fault = now.firstBroken();
        Optional<Link> fixed = old.firstBroken();
        if (fault.isPresent() && old.link(fault.get().hop()).isEmpty()) {
            add(now, fault(now));
            return true;
        }
        if (fixed.isPresent() && now.link(fixed.get().hop()).isEmpty()) {
            add(now, "is no longer broken at its " + fixed.get().hop().label());
            return true;
        }
        return false;
    }

    private static String fault(Chain chain) {
        return chain.firstBroken()
                .map(link -> "is broken at its " + link.hop().label() + " now: " + link.text())
                .orElseGet(() -> "is not posted" + why(chain));
    }

    private static String why(Chain chain) {
        return chain.whyNot().map(why -> ": " + clause(why)).orElse("");
    }

    /** Without the details, which explain prints. */
    private static String clause(String text) {
        return text.split("; ", 2)[0];
    }

    /** Whether a link broke or was repaired. */
    private boolean compare(Chain now, Link one, Link other) {
        String hop = other.hop().label();
        boolean wasBroken = one.state() == Link.State.BROKEN;
        if (other.state() == Link.State.BROKEN) {
            if (!wasBroken || !steady(one.text()).equals(steady(other.text()))) {
                add(
                        now,
                        "is broken at its " + hop + (wasBroken ? " for another reason" : "") + " now: " + other.text());
                return true;
            }
        } else if (wasBroken) {
            add(now, "is no longer broken at its " + hop);
            return true;
        } else if (other.state() == Link.State.IDLE && one.state() != Link.State.IDLE) {
            add(now, "is not used any more: " + other.text());
        } else if (one.state() != other.state()) {
            add(
                    now,
                    other.state() == Link.State.DOUBTFUL
                            ? "is in doubt at its " + hop + " now: " + other.text()
                            : one.state() == Link.State.DOUBTFUL
                                    ? "is no longer in doubt at its " + hop
                                    : other.state() == Link.State.WHOLE
                                            ? "can be followed at its " + hop + " now: "
                                                    + other.value().orElse(other.text())
                                            : "cannot be followed at its " + hop + " any more: "
                                                    + other.text().replaceFirst("^.*; (?=not looked at: )", ""));
        } else if (!one.value().equals(other.value()) && one.value().isPresent()) {
            if (other.hop() == Hop.HOST_IRQ) {
                moved(now, one.value().get(), other.value().orElse(""));
            } else {
                add(
                        now,
                        "has " + hop + " " + other.value().orElse("none") + " now, had "
                                + one.value().get());
            }
        }
        return false;
    }

    /** @param other may name several irqs */
    private void moved(Chain now, String one, String other) {
        if (one.matches(IRQ) && other.matches(IRQ)) {
            irqs.add(now.interrupt());
            oldIrqs.add(one);
            newIrqs.add(other);
        }
    }

    /** Replaces numbers, because texts may have counts. */
    private static String steady(String text) {
        return text.replaceAll("\\d+", "#");
    }

    private void posted(Chain old, Chain now) {
        if (old.isIdle() && now.isIdle()) {
            return;
        }
        if (now.posted().equals(old.posted())) {
            if (!why(now).equals(why(old))) {
                add(now, "is not posted for another reason now" + why(now));
            }
        } else {
            add(
                    now,
                    now.posted()
                            .map(yes -> yes ? "is posted now" : "is not posted now" + why(now))
                            .orElse("is not known to be posted now, was "
                                    + (old.posted().orElse(false) ? "posted" : "not posted")));
        }
    }

    private void cpu(Chain old, Chain now) {
        for (String list : AFFINITIES) {
            Optional<String> one = cpu(before, old, list);
            Optional<String> other = cpu(after, now, list);
            if (one.isPresent() && other.isPresent()) {
                if (!one.equals(other)) {
                    add(now, "moved from CPU " + one.get() + " to CPU " + other.get());
                }
                return;
            }
        }
    }

    /** Reads the compared files, for a capture. */
    static void read(Look look, Chain chain) {
        AFFINITIES.forEach(list -> cpu(look, chain, list));
    }

    private static Optional<String> cpu(Look look, Chain chain, String list) {
        return chain.link(Hop.HOST_IRQ)
                .flatMap(Link::value)
                .filter(irq -> irq.matches(IRQ))
                .flatMap(irq -> look.files().text("proc/irq/" + irq + "/" + list))
                .filter(text -> !text.isEmpty());
    }

    private void remarks(Chain of, Chain other, String when) {
        List<String> others = other.remarks().stream().map(ChainChanges::steady).toList();
        of.remarks().stream()
                .filter(remark -> !others.contains(steady(remark)))
                .forEach(remark -> add(of, when + clause(remark)));
    }
}
