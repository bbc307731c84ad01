/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Only a user who may not read a file is told to be root. */
class AsRootTest {
    private static final String TOLD = "(?s).*\\broot (may|sees)\\b.*|.*\\bas root\\b.*";

    @TempDir
    private Path temporary;

    private static RecordedHost host(String name, String gone) throws IOException {
        RecordedHost host = GuestHosts.of(name).remove(gone);
        for (int tid = 101; tid <= 102; tid++) {
            host.put("proc/100/task/" + tid + "/comm", "Thread-" + tid + "\n").remove("proc/100/task/" + tid + "/stat");
        }
        return host;
    }

    @ParameterizedTest
    @CsvSource({
        "virtio,       sys/kernel/debug",
        "virtio,       sys/kernel/debug/kvm",
        "amd-avic,     sys/kernel/debug",
        "intel-posted, proc/interrupts",
        "intel-posted, proc/100",
        "gicv3,        sys/kernel/debug",
        "gicv4,        sys/kernel/debug/kvm",
        "gicv3,        proc/100",
        "vhost-tasks,  sys/kernel/debug",
        "amd-pit,      sys/kernel/debug",
        "intx-shared,  proc/interrupts",
        "intx-exclusive, sys/bus/pci/devices/0000:00:02.0/config"
    })
    void fileThatIsNotThereIsNotMissedByAUser(String name, String gone) throws IOException {
        host(name, gone).writeTo(temporary);
        String device = name.startsWith("intel") || name.startsWith("gic") ? "0000:00:01.0" : "0000:00:02.0";
        for (List<String> words : List.of(
                List.of("explain", device),
                List.of("explain", "--vm", "100"),
                List.of("explain", "--vm", "100", "--vcpus"),
                List.of("list"),
                List.of("list", "--all"),
                List.of("doctor"))) {
            String[] all = new String[words.size() + 2];
            for (int i = 0; i < words.size(); i++) {
                all[i] = words.get(i);
            }
            all[words.size()] = "--root";
            all[words.size() + 1] = temporary.toString();
            Cli.Ended printed = Cli.run(all);
            assertThat(printed.out() + printed.err()).as(words.toString()).doesNotMatch(TOLD);
        }
    }
}
