/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.fake.file.Build;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The registers that a kernel lists for a vCPU without optional features, with their reset values, measured in the lab
 * on QEMU's processor max. A file has a line with id and value for each register, in the kernel's order.
 */
final class ArmRegisterTable {
    private static final int HEX = 16;
    private static final ArmRegisterTable V6_1 = read("registers-6.1.txt");
    private static final ArmRegisterTable V6_12 = read("registers-6.12.txt");
    private static final ArmRegisterTable V7_2 = read("registers-7.2.txt");

    private final Map<Long, Long> values = new LinkedHashMap<>();

    private ArmRegisterTable() {}

    /** The table of the kernel that is nearest to a build. */
    static ArmRegisterTable build(Build build) {
        if (build.isSince(7, 1)) {
            return V7_2;
        }
        return build.isSince(6, 12) ? V6_12 : V6_1;
    }

    private static ArmRegisterTable read(String name) {
        ArmRegisterTable table = new ArmRegisterTable();
        try (InputStream file = ArmRegisterTable.class.getResourceAsStream(name);
                BufferedReader lines = new BufferedReader(new InputStreamReader(file, StandardCharsets.US_ASCII))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] parts = line.split(" ");
                long value = parts.length == 1 ? 0 : Long.parseUnsignedLong(parts[1], HEX);
                table.values.put(Long.parseUnsignedLong(parts[0], HEX), value);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return table;
    }

    List<Long> ids() {
        return List.copyOf(values.keySet());
    }

    Optional<Long> resetValue(long id) {
        return Optional.ofNullable(values.get(id));
    }
}
