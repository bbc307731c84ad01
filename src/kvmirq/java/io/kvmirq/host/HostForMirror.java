/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.MirrorHostProvider;
import java.util.Objects;

/** The known facts about the host that may post. */
public final class HostForMirror implements MirrorHostProvider {
    /** For {@link java.util.ServiceLoader}. */
    public HostForMirror() {}

    @Override
    public MirrorHost of(HostFiles files, boolean arm64) {
        Objects.requireNonNull(files, "files is null");
        HostFacts host = new HostFacts(files);
        if (arm64) {
            return host.vlpiKernel()
                    .map(version -> host.gicv4()
                            .map(gicv4 -> MirrorHost.arm64(gicv4, version))
                            .orElseGet(() -> MirrorHost.arm64(version)))
                    .orElseGet(() -> MirrorHost.unknown("the version of the kernel cannot be read"));
        }
        return host.posting()
                .map(posting -> host.avicKernel()
                        .map(version -> MirrorHost.x86(posting, version))
                        .orElseGet(() -> MirrorHost.x86(posting)))
                .orElseGet(() -> MirrorHost.unknown(String.join("; ", host.unreadableOfPosting())));
    }
}
