/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.testing.JavaProcess;
import io.kvmirq.testing.Machine;
import java.io.BufferedReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** A program ends in each callback of the library, whatever its shutdown hooks close. */
class ExitTest {
    private static final int SIGTERM = 128 + 15;
    private static final long LONGEST_SECONDS = 60;

    @Test
    void everyCallbackOfTheApiEndsAProgramHere() {
        Set<String> called = ExitingUser.CALLBACKS.keySet().stream()
                .filter(name -> !name.startsWith("java."))
                .map(name -> name.split("#", -1)[0].replace(".add", ".remove"))
                .collect(Collectors.toSet());
        assertThat(CallbacksTest.usersCode().map(name -> name.replace(".add", ".remove")))
                .hasSameElementsAs(called);
    }

    /** The closeables of x86 and of the packages that call the user's code, or wait for it. */
    @Test
    void everyCloseableOfTheApiIsClosedHere() throws Exception {
        Set<Class<?>> promised = new HashSet<>();
        for (String name : Files.readAllLines(Machine.root().resolve("src/test/resources/promised.txt"))) {
            Class<?> type = Class.forName(name);
            if (AutoCloseable.class.isAssignableFrom(type)
                    && !KvmDevice.class.isAssignableFrom(type)
                    && name.matches("io.kvmirq.(kernel|kvm|forward|pci|run)[.].*")) {
                promised.add(type);
            }
        }
        ExitingUser user = new ExitingUser(ExitingUser.End.EXIT);
        try {
            promised.removeIf(type -> user.closed.values().stream().anyMatch(type::isInstance));
            assertThat(promised).isEmpty();
        } finally {
            user.threads.close();
        }
    }

    static Stream<Arguments> callbacks() {
        return ExitingUser.CALLBACKS.keySet().stream()
                .flatMap(callback -> Stream.of(ExitingUser.End.values()).map(end -> Arguments.of(callback, end)));
    }

    @Tag("long")
    @ParameterizedTest
    @MethodSource("callbacks")
    void hooksCloseAndTheProgramEnds(String callback, ExitingUser.End end) throws Exception {
        Process user = JavaProcess.start(List.of(), ExitingUser.class, callback, end.name());
        try (BufferedReader said = user.inputReader(StandardCharsets.UTF_8)) {
            if (end == ExitingUser.End.SIGNAL) {
                assertThat(said.readLine()).isEqualTo(ExitingUser.CALLED);
                user.toHandle().destroy(); // unlike that of the Process, it leaves the streams open
            }
            boolean ended = user.waitFor(LONGEST_SECONDS, TimeUnit.SECONDS);
            user.toHandle().destroyForcibly();
            List<String> lines = said.lines().toList();
            assertThat(ended)
                    .as(() -> "ended, after these were closed: " + lines)
                    .isTrue();
            assertThat(user.exitValue()).as(lines::toString).isEqualTo(end == ExitingUser.End.SIGNAL ? SIGTERM : 0);
            assertThat(lines).hasSizeGreaterThan(20).noneMatch(line -> line.contains("AssertionError"));
        } finally {
            user.destroyForcibly();
        }
    }
}
