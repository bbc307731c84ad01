/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.screens.Capture;
import io.kvmirq.host.facts.CountedFiles;
import io.kvmirq.host.facts.GuestHosts;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Captures of a host that are listed and read. */
class CaptureCommandTest {
    @TempDir
    private Path temporary;

    @Test
    void otherFilesAreRefusedWithTheNextStep() throws IOException {
        Path packed = temporary.resolve("host.tgz");
        try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(packed))) {
            out.write(new byte[1024]);
        }
        Path tar = temporary.resolve("host.tar");
        byte[] header = new byte[512];
        System.arraycopy("ustar".getBytes(StandardCharsets.US_ASCII), 0, header, 257, 5);
        Files.write(tar, header);
        for (Path file : List.of(packed, tar)) {
            assertThat(Cli.run("doctor", "--from", file.toString()).exited(3).err())
                    .isEqualTo("kvmirq: " + file + " is not a capture: it is a tar or gzip archive; unpack it, and"
                            + " name its directory\n");
        }
        assertThat(Cli.run("doctor", "--from", temporary.toString()).exited(3).err())
                .isEqualTo("kvmirq: " + temporary + ": expected a directory with proc or sys in it\n");
        Path newer = temporary.resolve("newer.zip");
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(newer))) {
            out.putNextEntry(new ZipEntry("kvmirq.capture"));
            out.write("kvmirq.capture/2\nredacted=true\n".getBytes(StandardCharsets.UTF_8));
        }
        assertThat(Cli.run("doctor", "--from", newer.toString()).exited(3).err())
                .contains("it has the format kvmirq.capture/2, but this kvmirq reads kvmirq.capture/1");
    }

    @Test
    void threadsOfTheKernelAndOrphansAreNamed() throws IOException {
        Path root = temporary.resolve("root");
        GuestHosts.of("vhost-kernel-threads")
                .put("sys/kernel/debug/kvm/77-9/exits", "1\n")
                .writeTo(Files.createDirectories(root));
        assertThat(Cli.run("capture", "--root", root.toString()).exited(0).out())
                .contains(
                        "\n      VMM  /proc/100 of guest-1; its kernel threads: kvm-pit 107, vhost 105, vhost"
                                + " 106\n",
                        "\n     note  kernel thread 109 (vhost-99) is an orphan, because thread 99, which it serves, is"
                                + " gone\n",
                        "\n     note  VM 77-9 in debugfs is an orphan: ");
    }

    /** A device that is opened would change the host that is captured. */
    @Test
    void captureReadsNoDeviceAndEachFileOnce() throws IOException {
        HostFiles tree = GuestHosts.of("vhost-kernel-threads")
                .put("dev/kvm", "")
                .put("dev/vfio/1", "")
                .tree();
        List<String> read = new ArrayList<>();
        Capture.take(CountedFiles.of(tree, read), Capture::analysis, true);
        assertThat(read)
                .contains("proc/100/comm", "proc/105/stat")
                .noneMatch(path -> path.startsWith("dev/"))
                .noneMatch(path -> path.matches("sys/bus/pci/devices/.*/resource\\d+"));
        read.remove("proc/interrupts");
        assertThat(read).doesNotHaveDuplicates();
    }
}
