/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.trace.Btf;
import io.kvmirq.path.Known;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;

/** The structures of a kernel and of its modules, from BTF that is read once. For use by one thread. */
final class Types {
    private final HostFiles files;
    private final Btf kernel;
    private final Map<String, Known<Btf>> modules = new HashMap<>();
    private final Map<String, Layout> layouts = new HashMap<>();

    /** @throws Unseen if the kernel shows no BTF */
    Types(HostFiles files) {
        this.files = files;
        this.kernel = value(Btf.read(files));
    }

    private static <T> T value(Known<T> known) {
        if (known instanceof Known.Unknown<T> unknown) {
            throw new Unseen(unknown.reason(), unknown.why(), unknown.remedy());
        }
        return known.known().orElseThrow();
    }

    /**
     * The layout of a structure of the kernel.
     *
     * @param members the names of its members; one that begins with {@code ?} may be absent
     * @throws Unseen if this kernel has another structure
     */
    Layout layout(String type, String... members) {
        return ofModule("", type, members);
    }

    /** The layout of a structure of a module, or of the kernel if the module is built in. */
    Layout ofModule(String module, String type, String... members) {
        String key = module + " " + type + " " + String.join(" ", members);
        Layout known = layouts.get(key);
        if (known == null) {
            known = located(types(module), type, members);
            layouts.put(key, known);
        }
        return known;
    }

    /** The size of a structure of the kernel, in bytes. */
    long size(String type) {
        return value(kernel.size(Btf.Kind.STRUCT, type));
    }

    /** The names of the values of an enum of a module, which begin alike. */
    Map<Integer, String> names(String module, String type) {
        return value(types(module).names(type));
    }

    private Btf types(String module) {
        return module.isEmpty() ? kernel : value(modules.computeIfAbsent(module, name -> kernel.with(files, name)));
    }

    private static Layout located(Btf types, String type, String... members) {
        Map<String, Btf.Member> found = new LinkedHashMap<>();
        for (String member : members) {
            boolean mayBeAbsent = member.startsWith("?");
            String name = mayBeAbsent ? member.substring(1) : member;
            Known<Btf.Member> known = types.member(Btf.Kind.STRUCT, type, name);
            if (!mayBeAbsent || known.known().isPresent()) {
                found.put(name, value(known));
            }
        }
        return new Layout(type, found);
    }
}
