/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
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
        Path tool = Machine.root().resolve("target/build");
        assumeTrue(Files.exists(tool.resolve("Compile.class")), "needs the compiler of make build");
        Path newest = Path.of(System.getProperty("java.home"));
        for (String home :
                Program.output(List.of(Machine.root() + "/scripts/jdks")).split("\n", -1)) {
            newest = home.isEmpty() ? newest : Path.of(home);
        }
        Process process = new ProcessBuilder(
                        newest.resolve("bin/java").toString(),
                        "-XX:TieredStopAtLevel=1",
                        "-cp",
                        tool + ":" + System.getProperty("java.class.path"),
                        "Compile",
                        "--",
                        "a",
                        "a",
                        "out/a",
                        "none",
                        "-",
                        "-cp",
                        "out/a",
                        "--",
                        "b",
                        "b",
                        "out/a/META-INF/versions/22",
                        "none",
                        "a=out/a",
                        "-cp",
                        "out/a:out/a/META-INF/versions/22")
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
