/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.backend.HostFiles;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;

/**
 * Replacements for the names of guests, groups of processes, network interfaces and disks in a capture. A replacement
 * is a hash of the name and of the machine's id, so it is the same in all captures of one host. A host without an id
 * gets numbers, as does one whose file says {@code uninitialized}, because that text is the same on all hosts of one
 * image and not secret.
 *
 * <p>Source: machine-id(5), which asks for a hash with a word of the program, because the id is confidential.
 */
public final class OtherNames {
    public static final String MACHINE = "etc/machine-id";
    public static final String GUEST = "guest-";

    private static final int HASHED = 4;

    private final String machine;

    private OtherNames(String machine) {
        this.machine = machine;
    }

    public static OtherNames read(HostFiles host) {
        return new OtherNames(
                host.text(MACHINE).filter(id -> id.matches("[0-9a-f]{32}")).orElse(""));
    }

    /** @param others all names of this kind that were asked for */
    public String name(String kind, Map<String, String> others, String name) {
        return others.computeIfAbsent(
                name, key -> kind + (machine.isEmpty() ? String.valueOf(others.size() + 1) : hash(kind + key)));
    }

    private String hash(String name) {
        try {
            byte[] hash = MessageDigest.getInstance("SHA-256")
                    .digest((machine + "\0kvmirq capture\0" + name).getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(hash, 0, HASHED);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("each Java has SHA-256", e);
        }
    }
}
