/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.contentOf;

import io.kvmirq.testing.TinyVmm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The archive of classes that scripts/tiny-vmm makes at its first run. */
class TinyVmmArchiveTest {
    private static final String ANSWERED =
            "tiny-vmm: the guest has answered; 10 interrupts sent, 10 answered, 0 lost\n";

    @TempDir
    private Path tree;

    private Path script;
    private Path java = Path.of(System.getProperty("java.home"), "bin/java");

    @BeforeEach
    void buildAndRunOnce() throws Exception {
        script = TinyVmm.built(tree);
        assertThat(takesFromArchive()).isFalse();
        assertThat(archive()).isRegularFile();
    }

    private Path archive() throws IOException {
        try (var files = Files.list(tree.resolve("target/archives"))) {
            return files.findFirst().orElseThrow();
        }
    }

    /** Runs the small guest, and looks from where the JVM took the main class. */
    private boolean takesFromArchive() throws Exception {
        Path log = tree.resolve("loaded");
        ProcessBuilder run = new ProcessBuilder("sh", script.toString(), "--backend", "fake", "--interrupts", "10");
        run.environment().put("JAVA", java.toString());
        run.environment().put("JDK_JAVA_OPTIONS", "-Xlog:class+load:file=" + log);
        Path said = tree.resolve("said");
        Process vmm = run.redirectError(said.toFile()).start();
        assertThat(new String(vmm.getInputStream().readAllBytes()))
                .as(() -> contentOf(said.toFile()))
                .endsWith(ANSWERED)
                .hasLineCount(2);
        assertThat(vmm.waitFor()).isZero();
        List<String> loaded = Files.readAllLines(log).stream()
                .filter(line -> line.contains(" tinyvmm.TinyVmm source: "))
                .toList();
        assertThat(loaded).hasSize(1);
        return loaded.get(0).contains("shared objects file (top)");
    }

    private static void permit(Path file, String permissions) throws IOException {
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
    }

    @Test
    void secondRunTakesItsClassesFromTheArchive() throws Exception {
        assertThat(takesFromArchive()).isTrue();
    }

    @Tag("long")
    @Test
    void pathOfJavaMayHaveBlanks() throws Exception {
        Path other = Files.createDirectory(tree.resolve("a b")).resolve("java");
        Files.writeString(other, "#!/bin/sh\nexec " + java + " \"$@\"\n");
        permit(other, "rwx------");
        java = other;
        assertThat(takesFromArchive()).isFalse();
        assertThat(takesFromArchive()).isTrue();
    }

    @Tag("long")
    @Test
    void directoryThatOthersMayWriteIsNotUsed() throws Exception {
        permit(archive().getParent(), "rwxrwxrwx");
        assertThat(takesFromArchive()).isFalse();
    }

    @Tag("long")
    @Test
    void archiveThatOthersMayWriteIsMadeAgain() throws Exception {
        permit(archive(), "rw-rw-rw-");
        assertThat(takesFromArchive()).isFalse();
        assertThat(takesFromArchive()).isTrue();
    }

    @Tag("long")
    @Test
    void archiveOfOlderJarsIsMadeAgain() throws Exception {
        FileTime later = FileTime.from(Instant.now());
        Files.setLastModifiedTime(archive(), FileTime.fromMillis(later.toMillis() - 60_000));
        Files.setLastModifiedTime(tree.resolve("target/kvmirq-cli.jar"), later);
        assertThat(takesFromArchive()).isFalse();
        assertThat(takesFromArchive()).isTrue();
    }

    /** An upgrade replaces the file at the same path, and may leave it an old time of modification. */
    @Tag("long")
    @Test
    void archiveOfAJavaThatIsReplacedIsMadeAgain() throws Exception {
        String content = "#!/bin/sh\nexec " + java + " \"$@\"\n";
        java = tree.resolve("java");
        for (int version = 0; version < 2; version++) {
            Files.writeString(java, content);
            permit(java, "rwx------");
            Files.setLastModifiedTime(java, FileTime.fromMillis(0));
            assertThat(takesFromArchive()).isFalse();
            assertThat(takesFromArchive()).isTrue();
        }
    }

    @Tag("long")
    @Test
    void archiveThatWasNotFinishedIsMadeAgain() throws Exception {
        permit(archive(), "rw-------");
        Files.write(archive(), new byte[4096]);
        assertThat(takesFromArchive()).isFalse();
        assertThat(takesFromArchive()).isTrue();
    }

    @Test
    void jvmStartsWithoutAnArchiveThatItRefuses() throws Exception {
        permit(archive(), "rw-------");
        Files.writeString(archive(), "of another JVM");
        assertThat(takesFromArchive()).isFalse();
    }
}
