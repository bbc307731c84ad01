/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.host.HostTree;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/** The host of a fake kernel. */
public final class FakeTree implements HostTree {
    private final FakeKernel kernel;
    private final HostTree files;

    /** Takes the files as they are now; links are read again each time. */
    public FakeTree(FakeKernel kernel) {
        this.kernel = kernel;
        Map<String, byte[]> relative = new TreeMap<>();
        kernel.hostFiles().forEach((path, content) -> relative.put(path.substring(1), content));
        this.files = HostTree.of(relative, Map.of());
    }

    @Override
    public Optional<byte[]> bytes(String path, int most) {
        return files.bytes(path, most);
    }

    @Override
    public Optional<String> link(String path) {
        return kernel.sysfs().link("/" + path);
    }

    @Override
    public List<String> list(String path) {
        return Stream.concat(files.list(path).stream(), kernel.sysfs().list("/" + path).stream())
                .distinct()
                .sorted()
                .toList();
    }

    @Override
    public Access access(String path) {
        return files.access(path);
    }
}
