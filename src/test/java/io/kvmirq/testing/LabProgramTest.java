/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code LAB_CLASS}: a program in place of the lab's tests. What cannot run is refused before anything is prepared. */
class LabProgramTest {
    private static final Pattern EXAMPLE = Pattern.compile("LAB_CLASS=(\\S+) LAB_CLASSPATH=(\\S+)");
    /** Where these classes are. */
    private static final String HERE = "target/test-classes";

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    /** The one line that the lab prints, with exit code 2. */
    private static String refused(String flavour, Map<String, String> variables) throws Exception {
        ProcessBuilder lab = new ProcessBuilder(Machine.root() + "/scripts/lab/run", flavour).redirectErrorStream(true);
        lab.environment().putAll(variables);
        Process process = lab.start();
        process.getOutputStream().close();
        List<String> said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                .lines()
                .toList();
        assertThat(process.waitFor()).as("%s", said).isEqualTo(2);
        assertThat(said).hasSize(1);
        return said.get(0);
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', textBlock = """
            sparc; LAB_CLASS=Main; CLASSES=; lab: flavour 'sparc' is unknown: expected one of amd
            amd; LAB_CLASS=com.example.Main; LAB_CLASSPATH=target/test-classes;\
              lab: no class is named 'com.example.Main' in LAB_CLASSPATH=target/test-classes
            amd; LAB_CLASS=com.example.Main; LAB_CLASSPATH=; lab: LAB_CLASS=com.example.Main needs LAB_CLASSPATH, the\
             directories and jars of its classes, separated by colons
            amd; LAB_CLASS=com.example.Main; LAB_CLASSPATH=target/test-classes:/no/such.jar;\
              lab: LAB_CLASSPATH names '/no/such.jar', which does not exist
            amd; LAB_CLASS=io.kvmirq.testing.LabProgramTest; LAB_CLASSPATH=target/test-classes;\
              lab: io.kvmirq.testing.LabProgramTest has no main: expected public static void main(String[])
            amd; LAB_CLASS=Main; CLASSES=io.kvmirq.kvm; lab: LAB_CLASS runs in place of tests: leave out CLASSES
            """)
    void programMustBeOneThatCanRun(String flavour, String one, String other, String sentence) throws Exception {
        String[] type = one.split("=", -1);
        String[] more = other.split("=", -1);
        assertThat(refused(flavour, Map.of(type[0], type[1], more[0], more[1]))).startsWith(sentence);
    }

    /** The minor and the major version are the bytes 4 to 7 of a class file. */
    @Test
    void classMustBeOfTheJavaOfTheLab() throws Exception {
        String file = Summary.class.getName().replace('.', '/') + ".class";
        byte[] bytes = Files.readAllBytes(Path.of(HERE, file));
        bytes[7] = 127;
        Files.createDirectories(directory.resolve(file).getParent());
        Files.write(directory.resolve(file), bytes);
        assertThat(refused("arm-gicv3", Map.of("LAB_CLASS", Summary.class.getName(), "LAB_CLASSPATH", directory + "")))
                .isEqualTo(
                        "lab: io.kvmirq.testing.Summary is compiled for a newer Java than the 17 of the lab: compile it"
                                + " with --release 17");
    }

    @Test
    void exampleOfTheDocumentationHasAMain() throws Exception {
        Matcher example = EXAMPLE.matcher(Files.readString(Machine.root().resolve("src/docs/lab.md")));
        List<MatchResult> examples = example.results().toList();
        assertThat(examples).hasSize(1);
        URL classes = new File(Machine.root().toFile(), examples.get(0).group(2))
                .toURI()
                .toURL();
        try (URLClassLoader loader = new URLClassLoader(new URL[] {classes})) {
            Method main = loader.loadClass(examples.get(0).group(1)).getMethod("main", String[].class);
            assertThat(main.getReturnType()).isEqualTo(void.class);
        }
    }
}
