/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.RecordedHost;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The kernel's log of this machine, beside its files. */
class LoggedFilesTest {
    private static final HostFiles FILES = new RecordedHost()
            .put("proc/version", "Linux version 6.12.0\n")
            .put("kmsg", "")
            .tree();

    private static List<String> reports(String... command) {
        return new HostFacts(new LoggedFiles(FILES, List.of(command)))
                .log()
                .about(PciAddress.parse("0000:00:01.0"), List.of(), List.of());
    }

    @Test
    void logIsWhatTheCommandPrints() {
        assertThat(reports("echo", "<4>[    1.500000] vfio-pci 0000:00:01.0: reset error"))
                .containsExactly("the kernel's log, 1.500 s after the boot: vfio-pci 0000:00:01.0: reset error");
        assertThat(reports("false")).isEmpty();
        assertThat(reports("/no/such/command")).isEmpty();
    }

    /** 100 MB with escape codes, of which a reader keeps the reports. */
    @Test
    @Tag("long")
    void longLogIsReadToItsEnd() {
        KernelLog log = new HostFacts(
                        new LoggedFiles(
                                FILES,
                                List.of(
                                        "sh",
                                        "-c",
                                        "yes \"$(printf '<6>[    1.000000] \\033[32mnoise\\033[0m \\007 of a driver')\" | head -c 100000000;"
                                                + " printf '\\n<4>[ 9999.000000] \\033[1mvfio-pci 0000:00:01.0: reset failed\\033[0m\\n'")))
                .log();
        assertThat(log.about(PciAddress.parse("0000:00:01.0"), List.of(), List.of()))
                .containsExactly("the kernel's log, 9999.000 s after the boot: vfio-pci 0000:00:01.0: reset failed");
        assertThat(log.text()).isEqualTo("[ 9999.000000] vfio-pci 0000:00:01.0: reset failed\n");
    }

    @Test
    void otherFilesAreThoseOfTheMachine() {
        HostFiles logged = new LoggedFiles(FILES, List.of("echo", "12345678"));
        assertThat(logged.text("proc/version")).contains("Linux version 6.12.0");
        assertThat(logged.list("proc")).containsExactly("version");
    }
}
