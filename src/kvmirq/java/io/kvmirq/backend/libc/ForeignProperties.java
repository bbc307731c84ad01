/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import java.util.HashMap;
import java.util.Map;

/**
 * System properties that set the directory into which a foreign library unpacks its native part. They apply to the
 * whole process, whose application may use the library too, so they are removed once the library is loaded.
 */
final class ForeignProperties implements AutoCloseable {
    private final Map<String, String> ours = new HashMap<>();

    void set(String name, String value) {
        if (System.getProperties().putIfAbsent(name, value) == null) {
            ours.put(name, value);
        }
    }

    @Override
    public void close() {
        for (Map.Entry<String, String> property : ours.entrySet()) {
            System.getProperties().remove(property.getKey(), property.getValue());
        }
    }
}
