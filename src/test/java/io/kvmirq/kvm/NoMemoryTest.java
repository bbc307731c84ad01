/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What tear-down needs was allocated at set-up: it takes everything down when direct memory is used up. */
class NoMemoryTest {
    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @ValueSource(strings = {"jni", "jna", "jnr", "ffm"})
    void everythingOnRealKvmIsTakenDownWithoutDirectMemory(String backend) throws IOException, InterruptedException {
        assumeTrue(!backend.equals("ffm") || Runtime.version().feature() >= 22, "FFM needs Java 22");
        assertThat(takenDown(backend)).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "7.1,cdev"})
    void everythingOfADeviceIsTakenDownWithoutDirectMemory(String profile) throws IOException, InterruptedException {
        assertThat(takenDown(profile)).isEmpty();
    }

    private static String takenDown(String kernel) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:MaxDirectMemorySize=8m"));
        if (Runtime.version().feature() >= 22) {
            command.add("--enable-native-access=ALL-UNNAMED");
        }
        for (String property : new String[] {"kvmirq.library", "jna.library.path"}) {
            String value = System.getProperty(property);
            if (value != null) {
                command.add("-D" + property + "=" + value);
            }
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), NoMemoryUser.class.getName(), kernel));
        return Program.output(command);
    }
}
