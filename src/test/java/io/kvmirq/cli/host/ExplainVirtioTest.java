/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.diag.screens.Archive;
import io.kvmirq.diag.screens.Capture;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The interrupts of a guest that are of no device of VFIO, by its name. */
class ExplainVirtioTest {
    @TempDir
    private Path temporary;

    private Cli.Ended explain(RecordedHost host, String... more) throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        host.writeTo(root);
        String[] all = {"explain", "--root", root.toString(), "--vm", "100"};
        String[] words = Arrays.copyOf(all, all.length + more.length);
        System.arraycopy(more, 0, words, all.length, more.length);
        return Cli.run(words);
    }

    @Test
    void guestWithoutAVfioDeviceIsExplained() throws IOException {
        Cli.Ended said = explain(GuestHosts.of("virtio")).exited(0);
        assertThat(said.err()).isEmpty();
        assertThat(said.out()).isEqualTo(Recorded.text(ExplainVirtioTest.class, "explain-virtio.txt", said.out()));
        assertThat(explain(GuestHosts.of("virtio"), "--json").exited(0).out())
                .contains(
                        "\"paths\":[],\"sources\":[{\"guest\":\"web (process 100)\",\"virtio\":true,\"vmm\":{\"hop\":"
                                + "\"vmm\",\"state\":\"whole\",",
                        "\"rows\":[{\"name\":\"virtio\",",
                        "{\"name\":\"queues\",\"evidence\":null,\"text\":");
    }

    /** It has no chain: the link of the VMM stands alone, and decides. */
    @Test
    void stoppedVmmOfAGuestWithoutAVfioDeviceIsNamed() throws IOException {
        RecordedHost host = GuestHosts.of("virtio").put("proc/100/status", "State:\tT (stopped)\n");
        assertThat(explain(host).exited(19).out())
                .contains(
                        "  VMM            broken     process 100: process 100 is stopped by a signal",
                        "do: kill -CONT 100");
        assertThat(explain(host, "--json").exited(19).out()).contains("\"exitCode\":19");
        RecordedHost sleeps = GuestHosts.of("virtio").put("proc/100/status", "State:\tD (disk sleep)\n");
        assertThat(explain(sleeps).exited(0).out()).contains("  VMM            doubtful ");
        explain(sleeps, "--strict").exited(39);
    }

    /** An archive keeps what it needs, without the guest's name. */
    @Test
    void captureIsExplainedAlike() throws IOException {
        Path file = temporary.resolve("host.zip");
        try (OutputStream out = Files.newOutputStream(file)) {
            Archive.write(Capture.take(GuestHosts.of("virtio").tree(), Capture::analysis, true), out);
        }
        assertThat(Cli.run("explain", "--from", file.toString(), "--vm", "100")
                        .exited(0)
                        .out()
                        .replace("guest-1", "web"))
                .isEqualTo(Cli.golden(ExplainVirtioTest.class, "explain-virtio.txt"));
    }

    @Test
    void vhostWithoutAWorkerIsSaid() throws IOException {
        assertThat(explain(GuestHosts.of("virtio").remove("proc/105/").remove("proc/106/"))
                        .out())
                .contains("; the VMM has started no worker, or hardware does the work")
                .doesNotContain("worker 10");
        assertThat(explain(GuestHosts.of("virtio").remove("proc/100/fd/40").remove("proc/100/fd/41"))
                        .out())
                .contains("no vhost file is open, so the VMM or a vhost-user process serves the devices")
                .doesNotContain("worker 10");
    }

    @Test
    void guestWithVfioDevicesOnlyHasNoSuchSection() throws IOException {
        assertThat(explain(GuestHosts.of("amd-avic")).out()).doesNotContain("other interrupts");
        assertThat(explain(GuestHosts.of("vhost-tasks")).out()).contains("web (process 100)  other interrupts\n");
        assertThat(explain(GuestHosts.of("gicv4")
                                .remove("proc/100/task/101/stat")
                                .remove("proc/100/task/102/stat")
                                .link("proc/100/fd/40", "/dev/vhost-net"))
                        .out())
                .contains(
                        "  vCPUs          not shown  no file shows the threads of 2 vCPUs",
                        "KVM's counters do not exist");
    }

    @Test
    void listNamesWhoExplainsIt() throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        GuestHosts.of("virtio").writeTo(root);
        assertThat(Cli.run("list", "--root", root.toString(), "--vm", "web")
                        .exited(3)
                        .err())
                .isEqualTo("kvmirq: guest 'web' has no VFIO PCI device: 'kvmirq explain --vm NAME' shows its other"
                        + " interrupts\n");
    }
}
