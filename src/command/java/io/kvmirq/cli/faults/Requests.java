/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import io.kvmirq.text.Foreign;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.UapiTable;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The ioctls of KVM, VFIO and iommufd on this machine, by name and by number. */
final class Requests {
    private static final Map<String, Long> NUMBERS = here().collect(Collectors.toMap(
            UapiTable.Request::name, UapiTable.Request::number, (one, same) -> one, TreeMap::new));

    private Requests() {}

    private static Stream<UapiTable.Request> here() {
        boolean arm64 = System.getProperty("os.arch", "").equals("aarch64");
        return Stream.concat(UapiTable.REQUESTS.stream(), arm64 ? UapiTable.ARM64.stream() : Stream.empty());
    }

    /** @throws IllegalArgumentException if no ioctl has the name; the message lists similar names */
    static long number(String name) {
        @Nullable Long number = NUMBERS.get(name);
        if (number == null) {
            throw new IllegalArgumentException("no ioctl is named " + Foreign.quoted(name) + ": near are "
                    + String.join(", ", Names.nearest(name, NUMBERS.keySet())));
        }
        return number;
    }

    /** The names of each number: several share one on different files, such as a container and a device of VFIO. */
    static Map<Long, String> names() {
        return NUMBERS.keySet().stream()
                .collect(Collectors.toMap(NUMBERS::get, Function.identity(), (one, other) -> one + "|" + other));
    }
}
