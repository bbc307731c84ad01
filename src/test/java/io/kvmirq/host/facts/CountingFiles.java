/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import java.util.List;
import java.util.Optional;

/** Files of a host, and what was asked of them. */
record CountingFiles(HostFiles tree, List<String> asked) implements HostFiles {
    @Override
    public Optional<byte[]> bytes(String path, int max) {
        asked.add(path);
        return tree.bytes(path, max);
    }

    @Override
    public Optional<String> link(String path) {
        asked.add(path);
        return tree.link(path);
    }

    @Override
    public List<String> list(String path) {
        asked.add(path);
        return tree.list(path);
    }

    @Override
    public Optional<Owner> owner(String path) {
        asked.add("owner of " + path);
        return tree.owner(path);
    }

    @Override
    public Access access(String path) {
        return tree.access(path);
    }
}
