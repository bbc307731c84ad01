/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** The addresses of some symbols of the kernel and its modules. Immutable. Source: {@code s_show()} in kernel/kallsyms.c. */
final class Symbols {
    private static final String FILE = "/proc/kallsyms";
    private static final int HEX = 16;

    private final Map<String, Long> addresses;
    private final Set<String> ambiguous;

    private Symbols(Map<String, Long> addresses, Set<String> ambiguous) {
        this.addresses = addresses;
        this.ambiguous = ambiguous;
    }

    /**
     * Reads the symbols that have one of these names, line by line: a kernel has more than a hundred thousand.
     *
     * @throws Unseen if the file cannot be read or hides addresses
     */
    static Symbols read(HostFiles files, Set<String> wanted) {
        Optional<InputStream> open = files.open(FILE.substring(1));
        if (open.isEmpty()) {
            throw new Unseen(
                    Known.Reason.REFUSED,
                    FILE + " cannot be read",
                    "run as root, with a kernel that has CONFIG_KALLSYMS");
        }
        Reading reading = new Reading(wanted);
        try (InputStream in = open.get()) {
            reading.lines(in);
        } catch (IOException | NumberFormatException e) {
            throw new Unseen(FILE + " cannot be read: " + e.getMessage(), "report it with the kernel's release");
        }
        Map<String, Long> addresses = reading.addresses;
        if (!addresses.isEmpty() && addresses.values().stream().allMatch(address -> address == 0)) {
            throw new Unseen(
                    FILE + " shows all addresses as 0: this process lacks CAP_SYSLOG, or kernel.kptr_restrict is 2",
                    "run as root outside of a container, with sysctl kernel.kptr_restrict at 0 or 1");
        }
        return new Symbols(addresses, reading.ambiguous);
    }

    boolean has(String name) {
        return addresses.containsKey(name);
    }

    /** @throws Unseen if the kernel shows no symbol of this name, or two */
    long address(String name) {
        if (ambiguous.contains(name)) {
            throw new Unseen(FILE + " has two symbols named " + name, "report it with the kernel's release");
        }
        Long address = addresses.get(name);
        if (address == null) {
            throw new Unseen(
                    FILE + " has no symbol " + name, "load its module, or use a kernel that has CONFIG_KALLSYMS_ALL");
        }
        return address;
    }

    /** One reading of the file. A text is made of a line only if its name is as long as a wanted one. */
    private static final class Reading {
        private static final int PIECE = 1 << 16;

        private final Set<String> wanted;
        private final BitSet lengths = new BitSet();
        final Map<String, Long> addresses = new HashMap<>();
        final Set<String> ambiguous = new HashSet<>();

        Reading(Set<String> wanted) {
            this.wanted = wanted;
            wanted.forEach(name -> lengths.set(name.length()));
        }

        void lines(InputStream in) throws IOException {
            byte[] piece = new byte[PIECE];
            int kept = 0;
            int read = in.read(piece);
            while (read > 0) {
                int begin = 0;
                for (int i = kept; i < kept + read; i++) {
                    if (piece[i] == '\n') {
                        line(piece, begin, i);
                        begin = i + 1;
                    }
                }
                kept += read - begin;
                System.arraycopy(piece, begin, piece, 0, kept);
                if (kept == PIECE) {
                    throw new IOException("a line has more than " + PIECE + " bytes");
                }
                read = in.read(piece, kept, PIECE - kept);
            }
        }

        /** Address, space, type, space, name, and for a module a tab and its name in brackets. */
        private void line(byte[] bytes, int begin, int end) {
            int space = begin;
            while (space < end && bytes[space] != ' ') {
                space++;
            }
            int name = space + 3;
            int last = name;
            while (last < end && bytes[last] != '\t') {
                last++;
            }
            if (last > end || !lengths.get(last - name)) {
                return;
            }
            String symbol = new String(bytes, name, last - name, StandardCharsets.ISO_8859_1);
            if (wanted.contains(symbol)) {
                String hex = new String(bytes, begin, space - begin, StandardCharsets.ISO_8859_1);
                long address = Long.parseUnsignedLong(hex, HEX);
                Long before = addresses.put(symbol, address);
                if (before != null && before != address) {
                    ambiguous.add(symbol);
                }
            }
        }
    }
}
