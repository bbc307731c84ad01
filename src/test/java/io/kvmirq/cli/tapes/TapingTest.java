/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TapingTest {
    @TempDir
    private Path temporary;

    private Path file() {
        return temporary.resolve("tape");
    }

    private static Kernel opened(Taping taping) {
        Kernel kernel = Kernel.over(taping.over(new FakeKernel(Profile.V6_18).backend()));
        kernel.device();
        return kernel;
    }

    @Test
    void kernelThatRefusesCostsNoEarlierTape() throws IOException {
        Files.writeString(file(), "earlier");
        try (Taping taping = new Taping(Optional.of(file()))) {
            taping.over(new FakeKernel(Profile.V6_18).backend());
        }
        assertThat(file()).hasContent("earlier");
    }

    @Test
    void tapeIsForItsOwnerAndHoldsTheCallsThatOpenedTheKernelOnce() throws IOException {
        try (Taping taping = new Taping(Optional.of(file()))) {
            opened(taping).close();
            opened(taping).close();
            taping.begin();
        }
        assertThat(Files.getPosixFilePermissions(file())).isEqualTo(PosixFilePermissions.fromString("rw-------"));
        assertThat(Files.readAllLines(file()))
                .filteredOn(line -> line.contains("\"path\":\"/dev/kvm\""))
                .hasSize(1);
    }

    private void taped() throws IOException {
        try (Taping taping = new Taping(Optional.of(file()))) {
            opened(taping).close();
            taping.begin();
        }
    }

    @Test
    void earlierTapeIsReplacedByOneForItsOwnerAlone() throws IOException {
        Files.writeString(file(), "earlier");
        Files.setPosixFilePermissions(file(), PosixFilePermissions.fromString("rw-r--r--"));
        taped();
        assertThat(Files.getPosixFilePermissions(file())).isEqualTo(PosixFilePermissions.fromString("rw-------"));
        assertThat(file()).content().startsWith("{\"header\"");
    }

    @Test
    void linkIsNotFollowed() throws IOException {
        Path other = Files.writeString(temporary.resolve("other"), "kept");
        Files.createSymbolicLink(file(), other);
        assertThatThrownBy(this::taped).isInstanceOf(IOException.class).hasMessageContaining("not a regular file");
        assertThat(other).hasContent("kept");
    }

    @Test
    void fileOfAnotherUserIsNotUsed() throws IOException {
        Machine.assumeRoot("to give a file away");
        Files.writeString(file(), "kept");
        Files.setAttribute(file(), "unix:uid", 65534);
        assertThatThrownBy(this::taped)
                .isInstanceOf(IOException.class)
                .hasMessageContaining("it belongs to user 65534, expected user 0");
        assertThat(file()).hasContent("kept");
    }

    @Test
    void fifoIsNotOpened() throws Exception {
        Program.output(List.of("mkfifo", file().toString()));
        assertThatThrownBy(this::taped).isInstanceOf(IOException.class).hasMessageContaining("not a regular file");
    }

    @Test
    void interruptedThreadIsRecorded() throws IOException {
        try (Taping taping = new Taping(Optional.of(file()))) {
            Kernel kernel = opened(taping);
            taping.begin();
            Thread.currentThread().interrupt();
            kernel.close();
        }
        assertThat(Thread.interrupted()).isTrue();
        assertThat(file()).content().endsWith("\n").contains("\"end\":true");
    }
}
