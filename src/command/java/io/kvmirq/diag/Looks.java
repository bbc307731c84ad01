/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostKvm;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The findings of the checks of one link. A link is whole only if each file that would show a flaw was read. For use by
 * one thread.
 */
final class Looks {
    private record Flaw(String file, String text, List<Remedy> remedies) {}

    private final HostFiles files;
    private final List<String> fine = new ArrayList<>();
    private final List<Flaw> broken = new ArrayList<>();
    private final List<Flaw> doubts = new ArrayList<>();
    private final Set<String> unseen = new LinkedHashSet<>();
    private final Set<String> shownBy = new LinkedHashSet<>();

    Looks(HostFiles files) {
        this.files = files;
    }

    /** A copy of these findings, to which another interrupt adds its own. */
    Looks copy() {
        Looks copy = new Looks(files);
        copy.fine.addAll(fine);
        copy.broken.addAll(broken);
        copy.doubts.addAll(doubts);
        copy.unseen.addAll(unseen);
        copy.shownBy.addAll(shownBy);
        return copy;
    }

    /** The text of a file that would show a flaw; noted if it cannot be read or is malformed. */
    Optional<String> text(String path, Predicate<String> form) {
        return text(path, true, form);
    }

    /**
     * The text of a file that would show a flaw. Notes a file that may not be read or is malformed, and a missing one.
     *
     * @param exists whether the kernel has such a file here, as other files show it
     */
    Optional<String> text(String path, boolean exists, Predicate<String> form) {
        Optional<String> text = files.text(path).filter(form);
        if (text.isEmpty() && (exists || files.reading(path) != HostFiles.Reading.ABSENT)) {
            absent(path);
        }
        return text;
    }

    /** Notes a file that cannot be read or understood, and why. */
    void absent(String path) {
        HostFiles.Reading reading = files.reading(path);
        String why =
                switch (reading) {
                    case DENIED -> " may not be read by this user";
                    case ABSENT -> " does not exist";
                    case READABLE ->
                        files.text(path).filter(String::isEmpty).isPresent() ? " is empty" : " has another form";
                };
        unseen(
                "/" + path + why,
                reading == HostFiles.Reading.DENIED ? HostKvm.AS_ROOT : "look on the host itself, or capture it again");
    }

    /** Notes a check that was not made. */
    void unseen(String why, String remedy) {
        unseen.add(why);
        shownBy.add(remedy);
    }

    /** Notes a fact without a flaw: a clause. */
    void fine(String text) {
        fine.add(text);
    }

    /** Notes a flaw that interrupts do not pass. */
    void broken(String file, String text, Remedy... remedies) {
        broken.add(new Flaw(file, text, List.of(remedies)));
    }

    /** Notes a doubt: evidence that proves nothing alone. */
    void doubt(String file, String text, Remedy... remedies) {
        doubts.add(new Flaw(file, text, List.of(remedies)));
    }

    boolean isBroken() {
        return !broken.isEmpty();
    }

    /**
     * The link: its first flaw decides, and others follow in its sentence.
     *
     * @param text one sentence without a full stop; may be empty if looks found something in order
     */
    Link link(Hop hop, Evidence evidence, String value, String text) {
        List<Flaw> flaws = Stream.concat(broken.stream(), doubts.stream()).toList();
        if (!flaws.isEmpty()) {
            return new Link(
                    hop,
                    broken.isEmpty() ? Link.State.DOUBTFUL : Link.State.BROKEN,
                    Optional.of(Evidence.observed("/" + flaws.get(0).file())),
                    Optional.of(value),
                    flaws.stream().map(Flaw::text).distinct().collect(Collectors.joining("; ")),
                    // A doubt may be a consequence of a break.
                    (broken.isEmpty() ? doubts : broken)
                            .stream()
                                    .flatMap(flaw -> flaw.remedies().stream())
                                    .distinct()
                                    .toList());
        }
        String all = Stream.concat(Stream.of(text), fine.stream())
                .filter(part -> !part.isEmpty())
                .collect(Collectors.joining(", "));
        return unseen.isEmpty()
                ? Link.whole(hop, evidence, value, all)
                : new Link(
                        hop,
                        Link.State.NOT_SHOWN,
                        Optional.of(evidence),
                        Optional.of(value),
                        (all.isEmpty() ? "" : all + "; ") + "not looked at: " + String.join("; ", unseen),
                        shownBy.stream().map(Remedy::look).toList());
    }
}
