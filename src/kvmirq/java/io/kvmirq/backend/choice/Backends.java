/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.choice;

import io.kvmirq.backend.BackendProvider;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.jni.JniBackend;
import io.kvmirq.backend.libc.FfmLibc;
import io.kvmirq.backend.libc.JnaLibc;
import io.kvmirq.backend.libc.JnrLibc;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Chooses among the kernel bindings, in order of preference. Loads a binding's classes only to try it. Thread-safe. */
public final class Backends {
    /** The system property that selects a binding by name, or {@value #AUTO}. It overrides the environment variable. */
    public static final String PROPERTY = "kvmirq.backend";

    public static final String ENVIRONMENT = "KVMIRQ_BACKEND";
    public static final String AUTO = "auto";
    /** The fake kernel's name. The fake is used only if selected. */
    public static final String FAKE = "fake";

    private final List<Candidate> candidates;

    /** A binding. {@code load} may throw BackendUnavailableException. If it is null, {@code name} selects the class. */
    public record Candidate(String name, @Nullable Supplier<KernelBackend> load) {
        private KernelBackend open() {
            return load == null ? Backends.load(name) : load.get();
        }
    }

    public static Backends ofThisMachine() {
        return new Backends(List.of(
                new Candidate("jni", null),
                new Candidate("ffm", null),
                new Candidate("jna", null),
                new Candidate("jnr", null)));
    }

    private static KernelBackend load(String name) {
        return switch (name) {
            case "jni" -> JniBackend.load(NativeLibrary.ofThisMachine());
            case "ffm" -> LibcBackend.over(FfmLibc.open(), name, FfmLibc.description());
            case "jna" -> LibcBackend.over(JnaLibc.open(), name, JnaLibc.description());
            case "jnr" -> LibcBackend.over(JnrLibc.open(), name, JnrLibc.description());
            case FAKE ->
                provided(
                        name,
                        provider -> !provider.isSelectedFromOutside(),
                        "nothing on the class path provides it: add io.kvmirq:kvmirq-fake");
            default -> throw new AssertionError(name);
        };
    }

    private static KernelBackend provided(String name, Predicate<BackendProvider> choice, String without) {
        for (BackendProvider provider : ServiceLoader.load(BackendProvider.class, Backends.class.getClassLoader())) {
            if (provider.name().equals(name) && choice.test(provider)) {
                return provider.open();
            }
        }
        throw new BackendUnavailableException(without);
    }

    public Backends(List<Candidate> candidates) {
        this.candidates = List.copyOf(candidates);
    }

    /** Opens the binding that {@link #selection} names, but rejects the fake kernel without the test kit. */
    public KernelBackend openSelected() {
        String selection = selection();
        return selection.equals(FAKE)
                ? provided(
                        FAKE,
                        BackendProvider::isSelectedFromOutside,
                        "-D" + PROPERTY + " or $" + ENVIRONMENT + " selects the fake kernel, but only tests with"
                                + " io.kvmirq:kvmirq-testkit accept this setting: use Kernel.open(\"fake\")")
                : open(selection);
    }

    /** The binding named by the system property, or else the environment variable, or {@value #AUTO} without either. */
    public static String selection() {
        @Nullable String property = System.getProperty(PROPERTY);
        if (property != null) {
            return property;
        }
        @Nullable String variable = System.getenv(ENVIRONMENT);
        return variable == null || variable.isEmpty() ? AUTO : variable;
    }

    /** The result of trying a binding, which is a backend, or the reason why the binding cannot be used. */
    public record Probe(String name, Optional<KernelBackend> backend, String reason) {}

    /**
     * Opens the binding that {@code selection} names, or for {@value #AUTO}, the first that works. If the user set
     * {@value NativeLibrary#PROPERTY}, each binding that failed before it is logged as WARNING.
     *
     * @throws BackendUnavailableException with the cause for each binding tried
     */
    public KernelBackend open(String selection) {
        List<Probe> tried = new ArrayList<>();
        for (Candidate candidate : named(selection)) {
            KernelBackend backend;
            try {
                backend = candidate.open();
            } catch (RuntimeException | Error e) {
                tried.add(failed(candidate, e));
                continue;
            }
            warnOfNamedLibrary(tried, candidate);
            return backend;
        }
        throw new BackendUnavailableException(tried.stream()
                .map(probe -> "backend " + probe.name() + " cannot be used: " + probe.reason())
                .collect(Collectors.joining("\n")));
    }

    /** Warns the user, who named a library, that another binding is used. */
    private static void warnOfNamedLibrary(List<Probe> failed, Candidate used) {
        if (!failed.isEmpty() && System.getProperty(NativeLibrary.PROPERTY) != null) {
            failed.forEach(probe -> System.getLogger("io.kvmirq")
                    .log(
                            System.Logger.Level.WARNING,
                            "backend " + probe.name() + " cannot be used although -D" + NativeLibrary.PROPERTY
                                    + " names a library, and " + used.name() + " is used instead: " + probe.reason()));
        }
    }

    /** The valid selections: {@value #AUTO}, each binding's name, and {@value #FAKE}. */
    public List<String> names() {
        List<String> names = new ArrayList<>(List.of(AUTO));
        for (Candidate candidate : candidates) {
            names.add(candidate.name());
        }
        names.add(FAKE);
        return names;
    }

    /** Tries every binding but the fake kernel, even after one that works. */
    public List<Probe> probeAll() {
        return candidates.stream().map(Backends::probe).toList();
    }

    private static Probe probe(Candidate candidate) {
        try {
            KernelBackend backend = candidate.open();
            return new Probe(candidate.name(), Optional.of(backend), backend.description());
        } catch (RuntimeException | Error e) {
            return failed(candidate, e);
        }
    }

    /** Handles anything that a foreign library throws, so that the next binding can be tried. */
    private static Probe failed(Candidate candidate, Throwable e) {
        if (e instanceof VirtualMachineError error) {
            throw error;
        }
        String reason = e instanceof BackendUnavailableException ? String.valueOf(e.getMessage()) : causes(e);
        return new Probe(candidate.name(), Optional.empty(), reason);
    }

    private static String causes(Throwable e) {
        StringBuilder text = new StringBuilder(e.toString());
        for (@Nullable Throwable cause = e.getCause(); cause != null; cause = cause.getCause()) {
            text.append(": ").append(cause);
        }
        return text.toString();
    }

    private List<Candidate> named(String selection) {
        if (selection.equals(AUTO)) {
            return candidates;
        }
        if (selection.equals(FAKE)) {
            return List.of(new Candidate(FAKE, null));
        }
        for (Candidate candidate : candidates) {
            if (candidate.name().equals(selection)) {
                return List.of(candidate);
            }
        }
        throw new BackendUnavailableException(
                "backend " + Foreign.quoted(selection) + " is unknown: expected one of " + String.join(", ", names()));
    }
}
