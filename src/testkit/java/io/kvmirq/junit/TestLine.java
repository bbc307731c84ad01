/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.kernel.Kernel;
import java.lang.StackWalker.StackFrame;
import java.security.ProtectionDomain;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Finds the line of a running test. */
final class TestLine {
    private static final StackWalker WALKER = StackWalker.getInstance(StackWalker.Option.RETAIN_CLASS_REFERENCE);
    private static final String LAUNCHER = "org.junit.";
    private static final List<String> OF_OTHERS =
            List.of("java.", "jdk.", "sun.", "com.sun.", LAUNCHER, "org.mockito.");
    /** The artifacts that a test may call, found by one type of each. A project may lack {@code kvmirq-vmm}. */
    private static final Set<ProtectionDomain> OURS = Stream.of(
                    Kernel.class.getName(),
                    FakeKernel.class.getName(),
                    TestLine.class.getName(),
                    "io.kvmirq.pci.GuestMsix")
            .flatMap(TestLine::domain)
            .collect(Collectors.toUnmodifiableSet());

    /** The most stack frames between the test launcher and the system call. */
    private static final int MOST_FRAMES = 200;

    private TestLine() {}

    private static Stream<ProtectionDomain> domain(String type) {
        try {
            return Stream.of(
                    Class.forName(type, false, TestLine.class.getClassLoader()).getProtectionDomain());
        } catch (ClassNotFoundException e) {
            return Stream.empty();
        }
    }

    /** The line that calls this library, such as {@code MyVmm.java:33}, and the test's line if in another file. */
    static String here() {
        return WALKER.walk(TestLine::of);
    }

    /** The method of this library that user code has called, such as {@code ForwardedIrq.unmask}. */
    static String call() {
        return WALKER.walk(stack -> stack.limit(MOST_FRAMES)
                .takeWhile(frame -> !isOfUser(frame))
                .filter(frame -> OURS.contains(frame.getDeclaringClass().getProtectionDomain()))
                .reduce((inner, outer) -> outer)
                .map(frame -> frame.getClassName().replaceFirst("(.*\\.)?([^$]*).*", "$2.") + frame.getMethodName())
                .orElse("an unknown call"));
    }

    private static String of(Stream<StackFrame> stack) {
        List<StackFrame> users = new ArrayList<>();
        // The launcher's frames end the search: another test may have started the launcher.
        stack.limit(MOST_FRAMES)
                .takeWhile(frame -> users.isEmpty() || !frame.getClassName().startsWith(LAUNCHER))
                .filter(TestLine::isOfUser)
                .forEach(users::add);
        if (users.isEmpty()) {
            return "an unknown line";
        }
        StackFrame maker = users.get(0);
        StackFrame test = users.get(users.size() - 1);
        String line = line(maker);
        return file(maker).equals(file(test)) ? line : line + ", from " + line(test);
    }

    /** The line of user code that another thread executes. Empty if its stack has none. */
    static Optional<String> of(Thread thread) {
        return Arrays.stream(thread.getStackTrace())
                .filter(frame -> isOfUser(frame, thread.getContextClassLoader()))
                .findFirst()
                .map(frame -> frame.getFileName() + ":" + frame.getLineNumber());
    }

    private static boolean isOfUser(StackTraceElement frame, ClassLoader loader) {
        String name = frame.getClassName();
        if (OF_OTHERS.stream().anyMatch(name::startsWith)) {
            return false;
        }
        try {
            return !OURS.contains(Class.forName(name, false, loader).getProtectionDomain());
        } catch (ClassNotFoundException | LinkageError e) {
            return true; // loaded by a class loader of the user
        }
    }

    private static boolean isOfUser(StackFrame frame) {
        String name = frame.getClassName();
        return OF_OTHERS.stream().noneMatch(name::startsWith)
                && !OURS.contains(frame.getDeclaringClass().getProtectionDomain());
    }

    private static String file(StackFrame frame) {
        String file = frame.getFileName();
        return file == null ? frame.getClassName() : file;
    }

    private static String line(StackFrame frame) {
        return file(frame) + ":" + frame.getLineNumber();
    }
}
