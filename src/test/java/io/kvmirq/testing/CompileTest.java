/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The compiler of the scripts, {@code src/build/Compile.java}, on a tree of two units, a and b, of which b uses a. */
@Tag("long")
class CompileTest {
    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path tree;

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private static Path compiled;

    /** Both units, compiled, of which each test has a copy. */
    @BeforeAll
    static void compileBoth() throws IOException, InterruptedException {
        CompileTest test = new CompileTest();
        test.tree = compiled;
        test.start();
    }

    @BeforeEach
    void copy() throws IOException, InterruptedException {
        Program.output(List.of("cp", "-a", compiled + "/.", tree.toString()));
    }

    private void write(String unit, String type, String body) throws IOException {
        Path file = tree.resolve(unit + "/io/kvmirq/" + type + ".java");
        Files.createDirectories(file.getParent());
        Files.writeString(file, "package io.kvmirq; " + body);
    }

    private String compile() throws IOException, InterruptedException {
        return compile(
                List.of("a", "a", "out/a", "none", "-", "-cp", "out/a"),
                List.of(
                        "b",
                        "b",
                        "out/a/META-INF/versions/22",
                        "none",
                        "a=out/a",
                        "-cp",
                        "out/a:out/a/META-INF/versions/22"));
    }

    @SafeVarargs
    private String compile(List<String>... units) throws IOException, InterruptedException {
        Path tool = Machine.root().resolve("target/build");
        assumeTrue(Files.exists(tool.resolve("Compile.class")), "needs the compiler of make build");
        Path newest = Path.of(System.getProperty("java.home"));
        for (String home :
                Program.output(List.of(Machine.root() + "/scripts/jdks")).split("\n", -1)) {
            newest = home.isEmpty() ? newest : Path.of(home);
        }
        List<String> command = new ArrayList<>(List.of(
                newest.resolve("bin/java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                tool + ":" + System.getProperty("java.class.path"),
                "Compile"));
        for (List<String> unit : units) {
            command.add("--");
            command.addAll(unit);
        }
        Process process = new ProcessBuilder(command)
                .directory(tree.toFile())
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return process.waitFor() == 0
                ? said.replaceAll("compiled | sources", "").strip()
                : "failed";
    }

    private void start() throws IOException, InterruptedException {
        write("a", "Base", "public class Base { public static final int N = 1; public int foo(int i) { return i; } }");
        write("a", "Sub", "public class Sub extends Base {}");
        write("a", "Other", "/** {@link Sub}. */ public class Other { int code() { return 1; } }");
        write("a", "Fourth", "public class Fourth {}");
        write("a", "Fifth", "public class Fifth {}");
        write("b", "Use", "class Use { int use() { return new Sub().foo(1); } }");
        write("b", "Alone", "class Alone {}");
        write("b", "Third", "class Third {}");
        assertThat(compile()).isEqualTo("5 of 5 of a\n3 of 3 of b");
        assertThat(compile()).isEmpty();
    }

    @Test
    void onlyADeclarationReachesOthers() throws Exception {
        write("a", "Other", "/** {@link Sub}. */ public class Other { int code() { return 2; } }");
        assertThat(compile()).isEqualTo("1 of 5 of a");
        write(
                "a",
                "Base",
                "public class Base { public static final int N = 1; public long foo(long i) { return i; } }");
        assertThat(compile()).as("foo is long in Use, which names only Sub").isEqualTo("failed");
        write("b", "Use", "class Use { long use() { return new Sub().foo(1); } }");
        assertThat(compile()).contains("of 3 of b");
        write(
                "a",
                "Base",
                "public class Base { public static final int N = 2; public long foo(long i) { return i; } }");
        assertThat(compile()).as("a constant").isEqualTo("5 of 5 of a\n3 of 3 of b");
    }

    private String compileModules() throws IOException, InterruptedException {
        return compile(List.of("both", "m,n", "out", "none,none", "-", "-cp", "out/first:out/second"));
    }

    private void module(String part, String text) throws IOException {
        Files.writeString(Files.createDirectories(tree.resolve(part)).resolve("module-info.java"), text);
    }

    @Test
    void classesOfModulesAreInTheirDirectories() throws Exception {
        module("m", "module first { exports io.kvmirq.m; }");
        module("n", "module second { requires first; }");
        for (String type : List.of("M1", "M2", "M3", "M4")) {
            Files.createDirectories(tree.resolve("m/io/kvmirq/m"));
            Files.writeString(
                    tree.resolve("m/io/kvmirq/m/" + type + ".java"),
                    "package io.kvmirq.m; public class " + type + " { class In {} }");
        }
        Files.createDirectories(tree.resolve("n/io/kvmirq/n"));
        Path user = tree.resolve("n/io/kvmirq/n/User.java");
        Files.writeString(user, "package io.kvmirq.n; class User { io.kvmirq.m.M1 one; }");
        assertThat(compileModules()).isEqualTo("7 of 7 of both");
        assertThat(tree.resolve("out/first/io/kvmirq/m/M1$In.class")).exists();
        assertThat(tree.resolve("out/second/io/kvmirq/n/User.class")).exists();
        Path one = tree.resolve("m/io/kvmirq/m/M1.java");
        Files.writeString(one, "package io.kvmirq.m; public class M1 { public int more; class New {} }");
        assertThat(compileModules()).as("M1 and its user").isEqualTo("2 of 7 of both");
        assertThat(tree.resolve("out/first/io/kvmirq/m/M1$New.class")).exists();
        assertThat(tree.resolve("out/first/io/kvmirq/m/M1$In.class")).doesNotExist();
        assertThat(tree.resolve("out/second/io/kvmirq/m")).doesNotExist();
        module("m", "module first { }");
        assertThat(compileModules()).as("a module that exports nothing").isEqualTo("failed");
        Files.delete(user);
        assertThat(compileModules()).isEqualTo("6 of 6 of both");
        assertThat(tree.resolve("out/second/io/kvmirq/n/User.class")).doesNotExist();
    }

    @Test
    void failureThatIsTakenBackIsCompiledAgain() throws Exception {
        write("a", "Fourth", "public class Fourth { int broken }");
        assertThat(compile()).isEqualTo("failed");
        write("a", "Fourth", "public class Fourth {}");
        assertThat(compile()).isEqualTo("1 of 5 of a");
        assertThat(tree.resolve("out/a/io/kvmirq/Fourth.class")).exists();
    }

    @Test
    void removedTypeIsMissedWhereverItIsNamed() throws Exception {
        Files.delete(tree.resolve("a/io/kvmirq/Sub.java"));
        assertThat(compile()).isEqualTo("failed");
        assertThat(tree.resolve("out/a/io/kvmirq/Sub.class")).doesNotExist();
        write("b", "Use", "class Use {}");
        assertThat(compile()).isEqualTo("1 of 3 of b");
    }
}
