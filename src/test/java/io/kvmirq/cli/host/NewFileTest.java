/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.frame.Terminal;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NewFileTest {
    @TempDir
    private Path temporary;

    private final ByteArrayOutputStream said = new ByteArrayOutputStream();
    private final PrintStream stream = new PrintStream(said, true, StandardCharsets.UTF_8);
    private final Terminal terminal = new Terminal(stream, stream, false, Terminal.DEFAULT_COLUMNS, 0);

    @Test
    void fileIsForItsOwnerAlone() throws IOException {
        Path file = temporary.resolve("a");
        assertThat(NewFile.write(file, terminal, out -> out.write('x'))).isTrue();
        assertThat(file).hasContent("x");
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
                .isEqualTo("rw-------");
    }

    /** As when the command is killed meanwhile; the file that is written then is removed by the next command. */
    @Test
    void fileHasItsNameWhenItIsWhole() throws IOException {
        Path file = temporary.resolve("a");
        Path abandoned = Files.createFile(temporary.resolve(".kvmirq1.new.tmp"));
        assertThat(NewFile.write(file, terminal, out -> {
                    out.write('x');
                    assertThat(file).doesNotExist();
                    assertThat(temporary).isDirectoryContaining("glob:**/.kvmirq*.new.tmp");
                    assertThat(NewFile.write(temporary.resolve("b"), terminal, other -> other.write('y')))
                            .isTrue();
                    assertThat(abandoned).doesNotExist();
                }))
                .isTrue();
        assertThat(file).hasContent("x");
        try (Stream<Path> files = Files.list(temporary)) {
            assertThat(files).containsExactlyInAnyOrder(file, temporary.resolve("b"));
        }
    }

    /** The next run would be refused because of it. */
    @Test
    void fileThatCouldNotBeWrittenIsNotLeftBehind() {
        Path file = temporary.resolve("a");
        assertThat(NewFile.write(file, terminal, out -> {
                    out.write('x');
                    throw new IOException("No space left on device");
                }))
                .isFalse();
        assertThat(Files.exists(file, LinkOption.NOFOLLOW_LINKS)).isFalse();
        assertThat(said.toString(StandardCharsets.UTF_8)).contains("the disk is full");
    }

    /** Before a command prints what it would write. */
    @Test
    void directoryThatIsNotThereIsToldBefore() {
        assertThat(NewFile.isRefused(temporary.resolve("a"), terminal)).isFalse();
        assertThat(NewFile.isRefused(temporary.resolve("none/a"), terminal)).isTrue();
        assertThat(said.toString(StandardCharsets.UTF_8))
                .isEqualTo("kvmirq: cannot write " + temporary.resolve("none/a") + ": the directory "
                        + temporary.resolve("none")
                        + " does not exist; create it with mkdir -p, or choose another file\n");
        assertThat(NewFile.isRefused(temporary, terminal)).isTrue();
    }

    /** Also as root, in a directory whose files only the kernel makes. */
    @Test
    void directoryThatTakesNoFileIsNamed() {
        assertThat(NewFile.replace(Path.of("/proc/x"), terminal, out -> out.write('x')))
                .isFalse();
        assertThat(said.toString(StandardCharsets.UTF_8))
                .matches("kvmirq: cannot write /proc/x: (the directory /proc accepts no new files; choose a file in"
                        + " another one|permission denied; .*)\n");
    }

    @Test
    void linkThatLeadsElsewhereIsNotFollowed() throws IOException {
        Path target = temporary.resolve("target");
        Path link = Files.createSymbolicLink(temporary.resolve("link"), target);
        assertThat(NewFile.write(link, terminal, out -> out.write('x'))).isFalse();
        assertThat(target).doesNotExist();
        assertThat(said.toString(StandardCharsets.UTF_8)).contains("it exists already; choose another file");
    }
}
