/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.JavaProcess;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What tear-down needs was allocated at set-up: it takes everything down when direct memory is used up. */
class NoMemoryTest {
    private static final List<String> BINDINGS = List.of("jni", "jna", "jnr", "ffm");
    private static final List<String> PROFILES = List.of("6.12", "7.1,cdev");

    /** By kernel. The JVM waits for half a second each time before it refuses memory, so all processes wait at once. */
    private static final Map<String, Process> USERS = new HashMap<>();

    @BeforeAll
    static void start() throws IOException {
        for (String profile : PROFILES) {
            USERS.put(profile, user(profile));
        }
        if (Machine.kvmFlaw().or(Machine::irqchipFlaw).isEmpty()) {
            for (String backend : BINDINGS) {
                if (isHere(backend)) {
                    USERS.put(backend, user(backend));
                }
            }
        }
    }

    @AfterAll
    static void end() {
        USERS.values().forEach(Process::destroyForcibly);
    }

    private static boolean isHere(String backend) {
        return !backend.equals("ffm") || Runtime.version().feature() >= 22;
    }

    static List<String> bindings() {
        return BINDINGS;
    }

    static List<String> profiles() {
        return PROFILES;
    }

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @MethodSource("bindings")
    void everythingOnRealKvmIsTakenDownWithoutDirectMemory(String backend) throws IOException, InterruptedException {
        assumeTrue(isHere(backend), "FFM needs Java 22");
        assertTakenDown(backend);
    }

    @ParameterizedTest
    @MethodSource("profiles")
    void everythingOfADeviceIsTakenDownWithoutDirectMemory(String profile) throws IOException, InterruptedException {
        assertTakenDown(profile);
    }

    private static void assertTakenDown(String kernel) throws IOException, InterruptedException {
        Process user = Objects.requireNonNull(USERS.get(kernel));
        String said = new String(user.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(said).isEmpty();
        assertThat(user.waitFor()).isZero();
    }

    private static Process user(String kernel) throws IOException {
        return JavaProcess.start(List.of("-XX:MaxDirectMemorySize=8m"), NoMemoryUser.class, kernel);
    }
}
