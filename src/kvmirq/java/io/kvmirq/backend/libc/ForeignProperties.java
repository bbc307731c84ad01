/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import java.util.HashMap;
import java.util.Map;

/**
 * System properties that say where a foreign library unpacks its native part. Because they apply to the whole process,
 * and the application may use the library too, they are removed once the library is loaded.
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
