/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Libraries of other releases, built from our sources with one change, each loaded into a JVM of its own. */
class HandshakeTest {
    private static final String VERSION = "#define KVMIRQ_ABI_VERSION " + Abi.OURS.version();
    private static final String NEXT = "#define KVMIRQ_ABI_VERSION " + (Abi.OURS.version() + 1);
    private static final String RELEASES = ": use the library and the jar of one release";

    @TempDir
    private Path temporary;

    @BeforeEach
    void sourcesOfOurs() throws IOException {
        Machine.assumeProgram("cc");
        Machine.assumeProgram("make");
        Files.copy(Machine.root().resolve("native/Makefile"), temporary.resolve("Makefile"));
        Path bridge = Files.createDirectory(temporary.resolve("bridge"));
        try (Stream<Path> files = Files.list(Machine.root().resolve("native/bridge"))) {
            for (Path file : files.toList()) {
                Files.copy(file, bridge.resolve(file.getFileName()));
            }
        }
    }

    private void change(String file, String from, String to) throws IOException {
        Path source = temporary.resolve("bridge").resolve(file);
        String text = Files.readString(source);
        assertThat(text).as(file).containsOnlyOnce(from);
        Files.writeString(source, text.replace(from, to));
    }

    private Path library() {
        return temporary.resolve("build/libkvmirq.so");
    }

    /** Builds the changed sources and says what a JVM makes of the library. */
    private String opened() throws IOException, InterruptedException {
        return opened("-D" + NativeLibrary.PROPERTY + "=" + library());
    }

    private String opened(String... places) throws IOException, InterruptedException {
        String home = System.getProperty("java.home");
        Program.output(List.of(
                "make",
                "-s",
                "-C",
                temporary.toString(),
                "CFLAGS=-O0",
                "WHOLE=",
                "JAVA_HOME=" + home,
                "build/libkvmirq.so"));
        List<String> command =
                new ArrayList<>(List.of(Path.of(home, "bin/java").toString(), "--enable-native-access=ALL-UNNAMED"));
        command.addAll(List.of(places));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), Opener.class.getName()));
        return Program.output(command).strip();
    }

    /** The other JVM: opens the library twice, makes a call through it each time and prints outcomes that differ. */
    static final class Opener {
        private Opener() {}

        public static void main(String[] arguments) {
            Set<String> outcomes = new LinkedHashSet<>(List.of(outcome()));
            outcomes.add(outcome());
            System.out.println(String.join("\nthen ", outcomes));
        }

        private static String outcome() {
            try {
                KernelBackend backend = Backends.ofThisMachine().open("jni");
                int fd = backend.eventfdCreate();
                return backend.description() + (backend.fdClose(fd) == 0 ? ", works" : ", broken");
            } catch (BackendUnavailableException e) {
                return String.valueOf(e.getMessage());
            }
        }
    }

    @Test
    void unchangedLoads() throws IOException, InterruptedException {
        assertThat(opened()).isEqualTo(Abi.OURS + ", " + library() + ", works");
    }

    @Test
    void otherVersionIsRefusedNamingBoth() throws IOException, InterruptedException {
        change("kvmirq.h", VERSION, NEXT);
        assertThat(opened())
                .isEqualTo("backend jni cannot be used: " + library() + " has ABI " + (Abi.OURS.version() + 1)
                        + ", but this kvmirq needs " + Abi.OURS + RELEASES);
    }

    @Test
    void installedOneOfAnotherVersionGivesWayToTheOneOfTheJar() throws IOException, InterruptedException {
        change("kvmirq.h", VERSION, NEXT);
        String cache = "-Dkvmirq.cache=" + temporary.resolve("cache");
        assertThat(opened("-Djava.library.path=" + library().getParent(), cache))
                .matches(Abi.OURS + ", " + temporary + "/cache/libkvmirq-[0-9a-f]+-[0-9]+\\.so; passed over: "
                        + library()
                        + " has ABI " + (Abi.OURS.version() + 1) + ", but this kvmirq needs " + Abi.OURS + RELEASES
                        + ", works");
    }

    @Test
    void anotherRecordSizeIsRefusedNamingBoth() throws IOException, InterruptedException {
        change("kvmirq.h", "uint32_t count; /* 0: ", "uint32_t count; uint64_t more; /* 0: ");
        change("abi.c", "sizeof(struct kvmirq_vfio_irq) == 8", "sizeof(struct kvmirq_vfio_irq) == 16");
        assertThat(opened())
                .isEqualTo(
                        "backend jni cannot be used: " + library() + " has records of 40, 512, 16 and 8 bytes (route,"
                                + " irqchip, vfio irq, irqfd), this kvmirq of 40, 512, 8 and 8" + RELEASES);
    }

    @Test
    void methodsWeDoNotKnowAreLeftOut() throws IOException, InterruptedException {
        change("jni.c", "\tNUMBERS\n", "\t{ \"tomorrow\", \"(I)I\", (void *)(uintptr_t)fdClose },\n\tNUMBERS\n");
        assertThat(opened()).isEqualTo(Abi.OURS + ", " + library() + ", works");
    }

    @Test
    void methodWeNeedAndTheLibraryLacksIsNamed() throws IOException, InterruptedException {
        change("functions.awk", "name = word[1]\n", "name = word[1] == \"abi\" ? \"yesterday\" : word[1]\n");
        assertThat(opened()).contains(library() + " is not a libkvmirq: ").contains("abiVersion");
    }
}
