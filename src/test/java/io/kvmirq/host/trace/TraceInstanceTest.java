/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.host.facts.TracingInstances;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Directories with the names of instances, none of them of a kernel: {@code LiveIT} has those. */
class TraceInstanceTest {
    /** No process of Linux has this number. */
    private static final int NOBODY = 2_000_000_000;

    @TempDir
    private Path tracefs;

    private static String ownName() {
        return TracingInstances.ownName().orElseThrow();
    }

    private void directory(String name) throws IOException {
        Files.createDirectories(tracefs.resolve("instances").resolve(name));
    }

    private List<String> names() throws IOException {
        try (Stream<Path> files = Files.list(tracefs.resolve("instances"))) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    /** A kernel that is locked down mounts an empty tracefs. */
    @Test
    void tracefsThatIsEmptyOrNotMountedIsSaid() throws IOException {
        Path own = Files.createDirectories(tracefs.resolve("sys/kernel/tracing"));
        assertThat(why()).isEqualTo("tracefs is not mounted at " + own);
        Files.createDirectory(tracefs.resolve("proc"));
        Files.writeString(tracefs.resolve("proc/mounts"), "tracefs " + own + " tracefs rw,relatime 0 0\n");
        assertThat(why())
                .isEqualTo(
                        "tracefs at " + own + " is empty: the kernel's lockdown for confidentiality disables tracing");
        Files.createDirectory(own.resolve("instances"));
        assertThat(TraceInstance.mounted(tracefs)).isEqualTo(new Known.Observed<>(own));
    }

    private String why() {
        return ((Known.Unknown<Path>) TraceInstance.mounted(tracefs)).why();
    }

    @ParameterizedTest
    @CsvSource({
        "kprobe_events (Permission denied), run as root",
        "AccessDeniedException, run as root",
        "kprobe_events (Operation not permitted), boot without lockdown=confidentiality",
        "kprobe_events (Read-only file system), 'run mount -o remount,rw /sys/kernel/tracing'",
        "trigger (Invalid argument), 'see /sys/kernel/tracing/error_log, and dmesg'"
    })
    void onlyADeniedFileNeedsRoot(String refusal, String remedy) {
        assertThat(TraceFiles.remedy(refusal)).isEqualTo(remedy);
    }

    @Test
    void onlyWhatAGoneProcessLeftIsRemoved() throws IOException {
        String[] own = ownName().split("-");
        String pid = own[1];
        String start = own[2];
        String namespace = own[3];
        List<String> stay = Stream.of(
                        String.join("-", own),
                        "kvmirq-" + pid + "-" + start + "-1" + namespace,
                        "kvmirq-" + NOBODY + "-" + start + "-1" + namespace,
                        "kvmirq-" + NOBODY + "-" + start,
                        "kvmirq-" + NOBODY + "-" + start + "-" + namespace + "-1",
                        "kvmirq-0" + NOBODY + "-" + start + "-" + namespace,
                        "kvmirq-" + NOBODY + "--" + namespace,
                        "kvmirq-x-" + start + "-" + namespace,
                        "xkvmirq-" + NOBODY + "-" + start + "-" + namespace,
                        "kvmirq-" + NOBODY + "-" + start + "-" + namespace + "\n",
                        "kvmirq-")
                .sorted()
                .toList();
        for (String name : stay) {
            directory(name);
        }
        String gone = "kvmirq-" + NOBODY + "-" + start + "-" + namespace;
        String ofVcpus = gone + "-vcpus";
        directory(ofVcpus);
        String numberUsedAgain = "kvmirq-" + pid + "-" + (Long.parseLong(start) + 1) + "-" + namespace;
        directory(gone);
        directory(numberUsedAgain);
        assertThat(TraceInstance.removeLeft(tracefs))
                .containsExactlyInAnyOrder(
                        "removed " + tracefs + "/instances/" + gone + ", which a killed kvmirq had left",
                        "removed " + tracefs + "/instances/" + ofVcpus + ", which a killed kvmirq had left",
                        "removed " + tracefs + "/instances/" + numberUsedAgain + ", which a killed kvmirq had left");
        assertThat(names()).isEqualTo(stay);
    }

    /** Trace files cannot be removed one by one, so no file of such a directory is lost. */
    @Test
    void directoryWithFilesStays() throws IOException {
        String[] own = ownName().split("-");
        String gone = "kvmirq-" + NOBODY + "-" + own[2] + "-" + own[3];
        directory(gone + "/events");
        assertThat(TraceInstance.removeLeft(tracefs))
                .containsExactly(tracefs + "/instances/" + gone
                        + " was left by a killed kvmirq and cannot be removed: it is not a tracefs instance");
        assertThat(names()).containsExactly(gone);
    }

    @Test
    void directoryThatIsNotTracefsIsToldAndLeftAsItWas() throws IOException {
        assertThat(TraceInstance.create(tracefs)).isInstanceOf(Known.Unknown.class);
        Files.createDirectory(tracefs.resolve("instances"));
        assertThat(TraceInstance.create(tracefs))
                .isInstanceOfSatisfying(Known.Unknown.class, unknown -> assertThat(unknown.why())
                        .startsWith("cannot set up " + tracefs));
        assertThat(names()).isEmpty();
    }

    @Test
    void nothingIsLeftWhereThereIsNoTracefs() {
        assertThat(TraceInstance.removeLeft(tracefs.resolve("none"))).isEmpty();
    }
}
