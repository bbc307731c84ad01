/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;
import io.kvmirq.backend.HostFiles;

/**
 * Reads the facts that a mirror may know of a host from the host's files. {@link java.util.ServiceLoader} finds it,
 * because this package reads no file and its provider depends on this one.
 */
@NotPromised
public interface MirrorHostProvider {
    /**
     * The host of these files, of a fake kernel or of this machine. {@link MirrorHost.Unknown} says which could not be
     * read.
     */
    MirrorHost of(HostFiles files, boolean arm64);
}
