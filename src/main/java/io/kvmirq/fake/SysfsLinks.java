/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.fake.file.FakeTime;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * The sysfs of a fake kernel.
 *
 * @param links its symbolic links, path and target; the directories are those on their paths
 */
record SysfsLinks(FakeTime time, Supplier<Map<String, String>> links) implements HostFiles {
    private Map<String, String> now() {
        time.enter();
        try (time) {
            return links.get();
        }
    }

    @Override
    public Optional<String> link(String path) {
        return Optional.ofNullable(now().get(path));
    }

    @Override
    public List<String> list(String path) {
        String below = path + "/";
        return now().keySet().stream()
                .filter(link -> link.startsWith(below))
                .map(link -> link.substring(below.length()))
                .map(rest -> rest.indexOf('/') < 0 ? rest : rest.substring(0, rest.indexOf('/')))
                .distinct()
                .sorted()
                .toList();
    }
}
