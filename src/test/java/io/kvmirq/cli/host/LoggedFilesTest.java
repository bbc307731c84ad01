/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.RecordedHost;
import java.util.List;
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

    @Test
    void otherFilesAreThoseOfTheMachine() {
        HostFiles logged = new LoggedFiles(FILES, List.of("echo", "12345678"));
        assertThat(logged.text("proc/version")).contains("Linux version 6.12.0");
        assertThat(logged.list("proc")).containsExactly("version");
        assertThat(logged.bytes(KernelLog.FILE, 3))
                .contains("123".getBytes(java.nio.charset.StandardCharsets.US_ASCII));
    }
}
