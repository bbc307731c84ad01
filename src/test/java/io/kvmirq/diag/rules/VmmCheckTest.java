/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Threads of a VMM that end while they are read. */
class VmmCheckTest {
    private static final String TASKS = "proc/100/task";

    /** A host that lists a thread of the VMM, which has ended by the time its files are read. */
    private record WithEnded(HostFiles tree, String tid) implements HostFiles {
        @Override
        public Optional<byte[]> bytes(String path, int max) {
            return tree.bytes(path, max);
        }

        @Override
        public Optional<String> link(String path) {
            return tree.link(path);
        }

        @Override
        public List<String> list(String path) {
            return path.equals(TASKS)
                    ? Stream.concat(tree.list(path).stream(), Stream.of(tid)).toList()
                    : tree.list(path);
        }

        @Override
        public Access access(String path) {
            return tree.access(path);
        }
    }

    private static Link link(HostFiles files) {
        HostFacts host = new HostFacts(files);
        return VmmCheck.run(host, host.vms().all().get(0));
    }

    private static RecordedHost host() throws IOException {
        return GuestHosts.guest(RecordedHost.of("amd-7.1"), "02", "/usr/bin/qemu-system-x86_64 -name guest=web");
    }

    @Test
    void threadThatEndsAfterItIsListedIsNoGap() throws IOException {
        Link with = link(new WithEnded(host().tree(), "999"));
        assertThat(with.state()).isEqualTo(Link.State.WHOLE);
        assertThat(with).isEqualTo(link(host().tree()));
    }

    @Test
    void threadWhoseStatIsDeniedIsAGap() throws IOException {
        RecordedHost denied = host().put(TASKS + "/999/comm", "worker\n");
        assertThat(link(denied.tree()).state()).isEqualTo(Link.State.NOT_SHOWN);
    }
}
