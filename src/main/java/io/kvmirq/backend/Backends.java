/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.backend.jni.JniBackend;
import io.kvmirq.backend.libc.FfmLibc;
import io.kvmirq.backend.libc.JnaLibc;
import io.kvmirq.backend.libc.JnrLibc;
import io.kvmirq.backend.libc.LibcBackend;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The bindings to the kernel, best first, and the choice among them. A binding's classes are loaded when it is tried, not
 * before. Thread-safe.
 */
public final class Backends {
    /** Names a binding, or {@value #AUTO}; the environment variable is asked after the property. */
    public static final String PROPERTY = "kvmirq.backend";

    public static final String ENVIRONMENT = "KVMIRQ_BACKEND";
    public static final String AUTO = "auto";
    /** The fake kernel: never chosen but by this name. */
    public static final String FAKE = "fake";

    private final List<Candidate> candidates;
    private final List<BackendProvider> onRequest;

    /** A binding that could be tried; {@code load} throws {@link BackendUnavailableException}. */
    public record Candidate(String name, Supplier<KernelBackend> load) {}

    /** The bindings that exist, in the order {@value #AUTO} tries them. */
    public static Backends ofThisMachine() {
        return new Backends(
                List.of(
                        new Candidate("jni", () -> JniBackend.load(NativeLibrary.ofThisMachine())),
                        new Candidate("ffm", () -> LibcBackend.over(FfmLibc.open(), "ffm", FfmLibc.description())),
                        new Candidate("jna", () -> LibcBackend.over(JnaLibc.open(), "jna", JnaLibc.description())),
                        new Candidate("jnr", () -> LibcBackend.over(JnrLibc.open(), "jnr", JnrLibc.description()))),
                ServiceLoader.load(BackendProvider.class, Backends.class.getClassLoader()).stream()
                        .map(ServiceLoader.Provider::get)
                        .toList());
    }

    public Backends(List<Candidate> candidates, List<BackendProvider> onRequest) {
        this.candidates = List.copyOf(candidates);
        this.onRequest = List.copyOf(onRequest);
    }

    /** What system property and environment ask for; {@value #AUTO} when neither says. */
    public static String selection() {
        @Nullable String property = System.getProperty(PROPERTY);
        if (property != null) {
            return property;
        }
        @Nullable String variable = System.getenv(ENVIRONMENT);
        return variable == null || variable.isEmpty() ? AUTO : variable;
    }

    /**
     * One binding tried.
     *
     * @param backend present when it can be used
     * @param reason why not, or where it came from
     */
    public record Probe(String name, Optional<KernelBackend> backend, String reason) {}

    /**
     * The binding of that name, or with {@value #AUTO} the first that works.
     *
     * @throws BackendUnavailableException with the cause for each binding tried
     */
    public KernelBackend open(String selection) {
        List<Probe> tried = new ArrayList<>();
        for (Candidate candidate : named(selection)) {
            Probe probe = probe(candidate);
            if (probe.backend().isPresent()) {
                return probe.backend().get();
            }
            tried.add(probe);
        }
        throw new BackendUnavailableException(tried.stream()
                .map(probe -> "backend " + probe.name() + " cannot be used: " + probe.reason())
                .collect(Collectors.joining("\n")));
    }

    /** What can be asked for: {@value #AUTO}, and each binding by name. */
    public List<String> names() {
        return Stream.of(
                        Stream.of(AUTO),
                        candidates.stream().map(Candidate::name),
                        onRequest.stream().map(BackendProvider::name))
                .flatMap(names -> names)
                .toList();
    }

    /** Every binding tried, whether or not an earlier one works. */
    public List<Probe> probeAll() {
        return candidates.stream().map(Backends::probe).toList();
    }

    private static Probe probe(Candidate candidate) {
        try {
            KernelBackend backend = candidate.load().get();
            return new Probe(candidate.name(), Optional.of(backend), backend.description());
        } catch (BackendUnavailableException e) {
            return new Probe(candidate.name(), Optional.empty(), String.valueOf(e.getMessage()));
        } catch (LinkageError e) {
            return new Probe(candidate.name(), Optional.empty(), e.toString());
        }
    }

    private List<Candidate> named(String selection) {
        if (selection.equals(AUTO)) {
            return candidates;
        }
        List<Candidate> named = Stream.concat(
                        candidates.stream(),
                        onRequest.stream().map(provider -> new Candidate(provider.name(), provider::open)))
                .filter(candidate -> candidate.name().equals(selection))
                .toList();
        if (named.isEmpty()) {
            throw new BackendUnavailableException(
                    "backend '" + selection + "' is unknown: expected one of " + String.join(", ", names()));
        }
        return named;
    }
}
