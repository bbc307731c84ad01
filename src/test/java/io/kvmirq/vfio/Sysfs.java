/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Another sysfs than that of a fake kernel: links, and lists of names, by path. Other paths are absent. */
final class Sysfs implements HostFiles {
    private final Map<String, String> links = new TreeMap<>();
    private final Map<String, List<String>> lists = new TreeMap<>();

    Sysfs put(String path, String target) {
        links.put(path, target);
        return this;
    }

    Sysfs put(String path, List<String> names) {
        lists.put(path, names);
        return this;
    }

    @Override
    public Optional<byte[]> bytes(String path, int max) {
        return Optional.empty();
    }

    @Override
    public Access access(String path) {
        return Access.ABSENT;
    }

    @Override
    public Optional<String> link(String path) {
        return Optional.ofNullable(links.get(path));
    }

    @Override
    public List<String> list(String path) {
        return lists.getOrDefault(path, List.of());
    }

    /** The backend, with this sysfs. */
    KernelBackend over(KernelBackend backend) {
        Libc libc = with(Libc.class, backend.libc(), "hostFiles", this);
        return with(KernelBackend.class, backend, "libc", libc);
    }

    private static <T> T with(Class<T> type, T of, String getter, Object instead) {
        return type.cast(Proxy.newProxyInstance(
                type.getClassLoader(),
                new Class<?>[] {type},
                (proxy, method, arguments) ->
                        method.getName().equals(getter) ? instead : method.invoke(of, arguments)));
    }
}
