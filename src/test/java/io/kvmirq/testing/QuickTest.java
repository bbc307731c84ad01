/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The compiler of {@code make try}, {@code src/build/Quick.java}, on a tree whose tests use the library. */
@Tag("long")
class QuickTest {
    private static final int FAILED = 1;
    private static final int MAVEN = 10;
    private static final String BASE =
            "public class Base { public static final int N = 1; public int foo(int i) { return i; } }";

    @TempDir
    private Path tree;

    private String write(String folder, String type, String body) throws Exception {
        String file = "src/" + folder + "/java/io/kvmirq/" + type + ".java";
        Files.createDirectories(tree.resolve(file).getParent());
        Files.writeString(tree.resolve(file), "package io.kvmirq; " + body);
        return file;
    }

    private int run(List<String> command) throws Exception {
        Process process = new ProcessBuilder(command)
                .directory(tree.toFile())
                .redirectErrorStream(true)
                .start();
        process.getInputStream().readAllBytes();
        return process.waitFor();
    }

    private int compile(String... files) throws Exception {
        Path round = Files.createDirectories(tree.resolve("below/round"));
        try (Stream<Path> left = Files.walk(round)) {
            left.filter(Files::isRegularFile)
                    .forEach(file -> assertThat(file.toFile().delete()).isTrue());
        }
        List<String> command = new ArrayList<>(List.of(
                System.getProperty("java.home") + "/bin/java",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                tree.resolve("tool") + ":" + System.getProperty("java.class.path"),
                "Quick",
                "below",
                "-cp",
                "below/round:below/classes/io.kvmirq:below/classes/io.kvmirq.vmm:below/test-classes",
                "--"));
        command.addAll(List.of(files));
        return run(command);
    }

    private long modified(String file) throws Exception {
        return Files.getLastModifiedTime(tree.resolve("below").resolve(file)).toMillis();
    }

    private void javac(String place, String... arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/javac", "-d", place));
        command.addAll(List.of(arguments));
        assertThat(run(command)).isZero();
    }

    @BeforeEach
    void compileAll() throws Exception {
        javac(
                "tool",
                "-cp",
                System.getProperty("java.class.path"),
                Machine.root().resolve("src/build/Quick.java").toString());
        String base = write("kvmirq", "Base", BASE);
        String sub = write("kvmirq", "Sub", "public class Sub extends Base {}");
        String module = "src/kvmirq/java/module-info.java";
        Files.writeString(tree.resolve(module), "module io.kvmirq { exports io.kvmirq; }");
        javac("below/classes/io.kvmirq", module, base, sub);
        String use = write("test", "Use", "class Use { int use() { return new Sub().foo(1); } }");
        javac("below/test-classes", "-cp", "below/classes/io.kvmirq", use);
    }

    @Test
    void onlyADeclarationReachesOthers() throws Exception {
        long before = modified("test-classes/io/kvmirq/Use.class");
        String base = write("kvmirq", "Base", BASE.replace("return i", "Runnable r = () -> {}; return i + 1"));
        assertThat(compile(base)).isZero();
        assertThat(modified("test-classes/io/kvmirq/Use.class")).as("a body").isEqualTo(before);
        write("kvmirq", "Base", BASE.replace("int foo(int i)", "long foo(long i)"));
        assertThat(compile(base)).as("foo is long in Use, which names only Sub").isEqualTo(FAILED);
        write(
                "kvmirq",
                "Base",
                BASE.replace("int foo(int i)", "int foo(long i)").replace("return i", "return (int) i"));
        assertThat(compile(base)).isZero();
        assertThat(modified("test-classes/io/kvmirq/Use.class"))
                .as("a signature")
                .isGreaterThan(before);
    }

    @Test
    void failureChangesNoClass() throws Exception {
        long before = modified("classes/io.kvmirq/io/kvmirq/Sub.class");
        assertThat(compile(write("kvmirq", "Sub", "public class Sub extends Base { int broken }")))
                .isEqualTo(FAILED);
        assertThat(modified("classes/io.kvmirq/io/kvmirq/Sub.class")).isEqualTo(before);
    }

    @Test
    void constantAndLostTypeAreLeftToMaven() throws Exception {
        assertThat(compile(write("kvmirq", "Base", BASE.replace("N = 1", "N = 2"))))
                .isEqualTo(MAVEN);
        assertThat(compile(write("kvmirq", "Sub", "public class Sub extends Base { public static final int N = 2; }")))
                .as("Use may have inlined Base.N for Sub.N")
                .isEqualTo(MAVEN);
        assertThat(compile(write("kvmirq", "Base", BASE.replace("public class", "class"))))
                .isEqualTo(MAVEN);
        write("kvmirq", "Base", BASE);
        String more = write("vmm", "More", "public class More extends Sub { class In {} }");
        assertThat(compile(more)).as("a new type").isZero();
        assertThat(tree.resolve("below/classes/io.kvmirq.vmm/io/kvmirq/More$In.class"))
                .exists();
        write("vmm", "More", "public class More extends Sub {}");
        assertThat(compile(more)).isEqualTo(MAVEN);
    }

    /** User reaches Named only as an argument of a type: its class does not name it. */
    @Test
    void supertypeIsLeftToMaven() throws Exception {
        String named = write("kvmirq", "Named", "public class Named implements Runnable { public void run() {} }");
        String all = write("vmm", "All", "public class All { public static java.util.List<Named> all; }");
        String runs = "class User { void run(java.util.List<? extends Runnable> all) {} void use() { run(All.all); } }";
        assertThat(compile(named, all, write("test", "User", runs))).isZero();
        assertThat(compile(write("kvmirq", "Named", "public class Named { public void run() {} }")))
                .isEqualTo(MAVEN);
    }
}
