/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.sources.CpuList;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.Sight;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Known;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.IdentityHashMap;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * A fact that rules read. Immutable.
 *
 * @param <S> the subject of the fact
 * @param <T> its value
 * @param file the file that shows it, from the root of the host, with names of the subject in braces, such as {@code
 *     proc/irq/{irq}/spurious}
 * @param read the value, or why it is not known; {@link Known#none} if this host has no such fact, which is no gap
 */
public record Fact<S extends Fact.Subject, T>(String file, Function<S, Known<T>> read) {
    /** The remedy for a file that a host in order shows. */
    public static final String LOOK_AGAIN = "run kvmirq on the host itself, or take a new capture";

    /** A subject's facts, each read once. For use by one thread. */
    public static final class Facts {
        final HostFacts host;
        private final IdentityHashMap<Fact<?, ?>, Known<?>> known = new IdentityHashMap<>();

        public Facts(HostFacts host) {
            this.host = host;
        }
    }

    /** The subject of facts: the host, or a part of it. */
    public interface Subject {
        Facts facts();

        /** The name of this subject that a word in braces stands for. */
        default String name(String word) {
            throw new IllegalArgumentException(word);
        }

        default HostFacts host() {
            return facts().host;
        }

        default HostFiles files() {
            return host().files();
        }

        default HostKvm kvm() {
            return host().kvm();
        }

        default boolean isArm() {
            return host().isArm();
        }

        /** The evidence of a file. */
        default Evidence evidence(String file) {
            return Evidence.observed(file.equals(KernelLog.FILE) ? "the kernel's log" : "/" + path(file));
        }

        /** The path of a file, with the names of this subject in place of the words in braces. */
        default String path(String file) {
            int begin = file.indexOf('{');
            int end = file.indexOf('}');
            return begin < 0
                    ? file
                    : file.substring(0, begin) + name(file.substring(begin + 1, end)) + path(file.substring(end + 1));
        }
    }

    /** The fact that the text of a file shows. {@code parse} is empty for a text of another form. */
    static <S extends Subject, T> Fact<S, T> text(String file, Function<String, Optional<T>> parse) {
        Fact<S, T> fact = text(file, subject -> true, parse);
        return file.contains("{")
                ? fact
                : new Fact<>(file, subject -> subject.host()
                        .once(fact, () -> fact.read().apply(subject)));
    }

    /** @param exists whether the kernel has such a file here, as other files show it */
    static <S extends Subject, T> Fact<S, T> text(
            String file, Predicate<S> exists, Function<String, Optional<T>> parse) {
        return new Fact<>(file, subject -> {
            String path = subject.path(file);
            return subject.files()
                    .text(path)
                    .flatMap(parse)
                    .<Known<T>>map(Known.Observed::new)
                    .orElseGet(() -> exists.test(subject) || subject.files().reading(path) != HostFiles.Reading.ABSENT
                            ? missing(subject.files(), path)
                            : Known.none());
        });
    }

    /** The words with which the kernel was booted. */
    static <S extends Subject> Fact<S, String> commandLine() {
        return text("proc/cmdline", form(text -> text.matches("\\P{Cntrl}+")));
    }

    /** A fact that was read with the subject, from a file that is the evidence of rules. */
    static <S extends Subject> Fact<S, S> seen(String file) {
        return new Fact<>(file, Known.Observed::new);
    }

    /** A parser of texts that have a form. */
    public static Function<String, Optional<String>> form(Predicate<String> form) {
        return text -> Optional.of(text).filter(form);
    }

    /** The value, if the host has one. */
    static <T> Known<T> of(Optional<T> value) {
        return value.<Known<T>>map(Known.Observed::new).orElseGet(Known::none);
    }

    /**
     * The CPUs of a file. That of an empty set has a line end, and (null) where the kernel made no set (drivers/base/cpu.c,
     * print_cpus_nohz_full).
     */
    static <S extends Subject> Fact<S, BitSet> cpus(String file, Predicate<S> exists) {
        Fact<S, BitSet> parsed = text(file, exists, CpuList::parse);
        return new Fact<>(file, subject -> subject.host().once(subject.path(file), () -> {
            byte[] bytes = subject.files()
                    .bytes(subject.path(file), HostFiles.LONGEST_TEXT + 1)
                    .orElse(new byte[0]);
            String text = new String(bytes, StandardCharsets.US_ASCII);
            return text.strip().equals("(null)") || text.startsWith("\n")
                    ? new Known.Observed<>(new BitSet())
                    : parsed.of(subject);
        }));
    }

    /** The CPUs between which the scheduler moves no thread. */
    static <S extends Subject> Fact<S, BitSet> isolated() {
        return cpus("sys/devices/system/cpu/isolated", subject -> true);
    }

    /** A file that cannot be read or understood, and why. */
    static <T> Known.Unknown<T> missing(HostFiles files, String path) {
        HostFiles.Reading reading = files.reading(path);
        Sight sight = Sight.read(files);
        if (reading == HostFiles.Reading.DENIED || reading == HostFiles.Reading.ABSENT && sight.locks(path)) {
            return sight.refused(path);
        }
        String why = reading == HostFiles.Reading.ABSENT
                ? " does not exist"
                : files.text(path).filter(String::isEmpty).isPresent() ? " is empty" : " has an unknown format";
        return new Known.Unknown<>(
                reading == HostFiles.Reading.ABSENT ? Known.Reason.ABSENT : Known.Reason.NOT_SHOWN,
                "/" + path + why,
                LOOK_AGAIN);
    }

    /** The fact about a subject. */
    @SuppressWarnings("unchecked")
    public Known<T> of(S subject) {
        return (Known<T>) subject.facts().known.computeIfAbsent(this, fact -> read.apply(subject));
    }

    /** The value, for a rule that names the fact; such a rule holds only if it is known. */
    public T in(S subject) {
        return of(subject).known().orElseThrow(() -> new IllegalStateException("a rule does not name " + file));
    }

    /** Whether it is known and such. */
    public boolean is(S subject, Predicate<T> condition) {
        return of(subject).known().filter(condition).isPresent();
    }
}
