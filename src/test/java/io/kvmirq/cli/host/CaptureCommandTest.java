/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.diag.Capture;
import io.kvmirq.host.facts.CountedFiles;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
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

/** Captures of a host that are listed and compared. */
class CaptureCommandTest {
    private static final String NOTHING = "nothing changed, except counts of interrupts\n";

    @TempDir
    private Path temporary;

    private String archive(String name, RecordedHost host, boolean redact) throws IOException {
        Path file = temporary.resolve(name);
        try (OutputStream out = Files.newOutputStream(file)) {
            Capture.of(host.tree(), Capture::analysis, redact).write(out);
        }
        return file.toString();
    }

    private static RecordedHost moved(int cpu) throws IOException {
        return GuestHosts.of("amd-avic").put("proc/irq/30/effective_affinity_list", cpu + "\n");
    }

    @Test
    void changesOfTwoArchivesAreSentences() throws IOException {
        String before = archive("before.zip", moved(0), true);
        String after = archive("after.zip", moved(1), true);
        assertThat(Cli.run("capture", "--diff", before, after))
                .isEqualTo(new Cli.Ended(
                        ExitCode.FAILED,
                        "- MSI-X 3 of 0000:00:02.0 (guest-1) moved from CPU 0 to CPU 1\n"
                                + "one file differs: --files shows its lines\n",
                        ""));
        assertThat(Cli.run("capture", "--diff", before, after, "--files").out())
                .endsWith(
                        "CPU 1\nfiles that differ; a line with - is of the first capture alone, a line with + of the second\n"
                                + "/proc/irq/30/effective_affinity_list\n  - 0\n  + 1\n");
        assertThat(Cli.run("capture", "--diff", before, after, "--json")
                        .exited(1)
                        .out())
                .isEqualTo("{\"schema\":\"kvmirq.capture-diff/1\",\"notes\":[],\"changes\":[{\"subject\":\"MSI-X 3 of"
                        + " 0000:00:02.0 (guest-1)\",\"text\":\"moved from CPU 0 to CPU 1\"}],\"files\":[{\"path\":"
                        + "\"/proc/irq/30/effective_affinity_list\",\"before\":true,\"after\":true,\"gone\":[\"0\"],"
                        + "\"added\":[\"1\"]}]}\n");
        assertThat(Cli.run("capture", "--diff", before, before)).isEqualTo(new Cli.Ended(ExitCode.OK, NOTHING, ""));
    }

    @Test
    void registerOfADeviceIsNotWrittenInOneLine() throws IOException {
        String config = "sys/bus/pci/devices/0000:00:02.0/config";
        RecordedHost host = moved(0);
        byte[] bytes = host.tree().bytes(config, 4096).orElseThrow();
        bytes[4] ^= 4;
        String[] archives = {
            archive("before.zip", moved(0), true), archive("after.zip", host.putBytes(config, bytes), true)
        };
        assertThat(Cli.run("capture", "--diff", archives[0], archives[1], "--files")
                        .exited(1)
                        .out())
                .containsPattern("/config\n  - bytes from 0x04: .. .. .. ..\n  \\+ bytes from 0x04: .. .. .. ..\n");
    }

    /** A copy by bash, unpacked, is compared too. */
    @Test
    void directoriesAreComparedToo() throws IOException {
        Path root = temporary.resolve("root");
        moved(1).writeTo(Files.createDirectories(root));
        String archive = archive("named.zip", moved(0), false);
        assertThat(Cli.run("capture", "--diff", archive, root.toString())
                        .exited(1)
                        .out())
                .startsWith("- MSI-X 3 of 0000:00:02.0 (web) moved from CPU 0 to CPU 1\n");
        assertThat(Cli.run("capture", "--diff", archive, temporary.toString())
                        .exited(3)
                        .err())
                .isEqualTo("kvmirq: " + temporary + ": expected a directory with proc or sys in it\n");
    }

    @Test
    void capturesOfTwoHostsAreCalledSo() throws IOException {
        String amd = archive("amd.zip", RecordedHost.of("amd-6.1"), true);
        String intel = archive("intel.zip", RecordedHost.of("intel-6.1"), true);
        assertThat(Cli.run("capture", "--diff", amd, intel).exited(1).out())
                .startsWith("these seem to be captures of two hosts: ")
                .contains("the differences of two hosts follow");
    }

    @Test
    void otherFilesAreRefusedWithTheNextStep() throws IOException {
        String good = archive("good.zip", moved(0), true);
        Path packed = temporary.resolve("host.tgz");
        try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(packed))) {
            out.write(new byte[1024]);
        }
        Path tar = temporary.resolve("host.tar");
        byte[] header = new byte[512];
        System.arraycopy("ustar".getBytes(StandardCharsets.US_ASCII), 0, header, 257, 5);
        Files.write(tar, header);
        for (Path file : List.of(packed, tar)) {
            assertThat(Cli.run("capture", "--diff", good, file.toString())
                            .exited(3)
                            .err())
                    .isEqualTo("kvmirq: " + file + " is no capture: it is a tar archive, or is packed by gzip; unpack"
                            + " it, and name its directory\n");
        }
        Path newer = temporary.resolve("newer.zip");
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(newer))) {
            out.putNextEntry(new ZipEntry("kvmirq.capture"));
            out.write("kvmirq.capture/2\nredacted=true\n".getBytes(StandardCharsets.UTF_8));
        }
        assertThat(Cli.run("capture", "--diff", newer.toString(), good)
                        .exited(3)
                        .err())
                .contains("it has the form kvmirq.capture/2, and this kvmirq reads kvmirq.capture/1");
        assertThat(Cli.run("capture", "--files").exited(ExitCode.USAGE).err())
                .isEqualTo("kvmirq: --files is an option of --diff A B: add that. See kvmirq capture --help\n");
    }

    @Test
    void threadsOfTheKernelAndOrphansAreNamed() throws IOException {
        Path root = temporary.resolve("root");
        GuestHosts.of("vhost-kernel-threads")
                .put("sys/kernel/debug/kvm/77-9/exits", "1\n")
                .writeTo(Files.createDirectories(root));
        assertThat(Cli.run("capture", "--root", root.toString()).exited(0).out())
                .contains(
                        "\n      VMM  /proc/100 of guest-1; threads of the kernel for it: kvm-pit 107, vhost 105, vhost"
                                + " 106\n",
                        "\n     note  kernel thread 109 (vhost-99) works for thread 99, which is gone: an orphan\n",
                        "\n     note  VM 77-9 of debugfs is an orphan: ");
    }

    /** A device that is opened would change the host that is captured. */
    @Test
    void captureReadsNoDeviceAndEachFileOnce() throws IOException {
        HostFiles tree = GuestHosts.of("vhost-kernel-threads")
                .put("dev/kvm", "")
                .put("dev/vfio/1", "")
                .tree();
        List<String> read = new ArrayList<>();
        Capture.of(CountedFiles.of(tree, read), Capture::analysis, true);
        assertThat(read)
                .contains("proc/100/comm", "proc/105/stat")
                .noneMatch(path -> path.startsWith("dev/"))
                .noneMatch(path -> path.matches("sys/bus/pci/devices/.*/resource\\d+"));
        read.remove("proc/interrupts");
        assertThat(read).doesNotHaveDuplicates();
    }
}
