/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.trace.RecordedTracing;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Counters of a host that goes on counting while the watch removes what it made. */
class LiveCountersTest {
    @TempDir
    private Path root;

    /** Raises the first count of host irq 27. */
    private void count() {
        Path file = root.resolve("proc/interrupts");
        try {
            Files.writeString(file, Files.readString(file).replaceFirst("(?m)^( *27: +)", "$1\\9"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void interruptsThatComeAtTheEndAreNotCounted() throws IOException {
        HostFiles files = GuestHosts.of("amd-avic").writeTo(root);
        RecordedTracing recorded = RecordedTracing.of("x86-7.2", "", 0);
        Tracing tracing = (Tracing) Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {Tracing.class}, (proxy, method, all) -> {
                    if (method.getName().equals("close")) {
                        count();
                    }
                    return method.invoke(recorded, all);
                });
        LiveHost machine = new StillHost() {
            @Override
            public HostFiles files() {
                return files;
            }

            @Override
            public Known<Tracing> tracing(Set<Integer> threads) {
                return new Known.Observed<>(tracing);
            }
        };
        PciAddress device = PciAddress.parse("0000:00:02.0");
        try (LiveWindow window = LiveWindow.begin(machine, new HostFacts(files), List.of(device), List.of(), false)) {
            assertThat(window.end(new HostFacts(files)).counters()).contains(new Live.Counter("host irq 27", 0));
        }
        assertThat(recorded.isClosed()).isTrue();
    }
}
