/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The example of a guest with serial port, timer and doorbell, on every binding and each JDK of this machine. */
class TimedGuestIT {
    private static final Path EXAMPLE = Machine.root().resolve("src/examples/TimedGuest.java");

    static Stream<Arguments> bindingsAndJdks() throws IOException, InterruptedException {
        String scripts = Machine.root().resolve("scripts/jdks").toString();
        return Program.output(List.of(scripts)).lines().flatMap(jdk -> Stream.of("jni", "jna", "jnr", "ffm")
                .map(binding -> Arguments.of(binding, Path.of(jdk))));
    }

    @ParameterizedTest
    @MethodSource("bindingsAndJdks")
    @RealKvm(fullIrqchip = true)
    void guestTicksAndRings(String binding, Path jdk) throws Exception {
        int feature = feature(jdk);
        assumeTrue(!binding.equals("ffm") || feature >= 22, "FFM needs Java 22");
        List<String> command = new ArrayList<>(List.of(jdk.resolve("bin/java").toString()));
        String classes = System.getProperty("java.class.path");
        if (feature >= 22) {
            command.add("--enable-native-access=ALL-UNNAMED");
            classes = Artifacts.KVMIRQ.classes().resolve("META-INF/versions/22") + File.pathSeparator + classes;
        }
        if (feature >= 24) {
            command.add("--sun-misc-unsafe-memory-access=allow"); // jnr-ffi uses it
        }
        for (String property : new String[] {"kvmirq.library", "jna.library.path"}) {
            if (System.getProperty(property) != null) {
                command.add("-D" + property + "=" + System.getProperty(property));
            }
        }
        command.addAll(List.of("-cp", classes, EXAMPLE.toString(), binding));
        assertThat(Program.output(command)).isEqualTo("tick tick tick\n144 rung 3 times\n");
    }

    private static int feature(Path jdk) throws IOException {
        String release = Files.readString(jdk.resolve("release"));
        return Integer.parseInt(release.replaceFirst("(?s).*JAVA_VERSION=\"(\\d+).*", "$1"));
    }

    @Test
    void exampleMakesNoRawCall() throws IOException {
        assertThat(Files.readString(EXAMPLE)).doesNotContain("libc()", ".fd()", "uapi", "Libc");
    }
}
