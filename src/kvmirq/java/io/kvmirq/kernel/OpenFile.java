/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.uapi.UapiTable.FileKind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;
import java.util.List;

/** The file that one of this process's descriptors refers to. Source: proc_pid_fd(5). */
final class OpenFile {
    private static final Path DESCRIPTORS = Path.of("/proc/self/fd");

    /** The labels of the kinds whose files have a path. */
    private static final List<String> NODES = Arrays.stream(FileKind.values())
            .filter(FileKind::isNode)
            .map(FileKind::label)
            .toList();

    private OpenFile() {}

    /**
     * Checks that a descriptor is open on a file of one of these kinds. Passes if /proc cannot be read, as in
     * sandboxes. If a device node is expected, a node with an unknown path passes, because it may have been renamed.
     *
     * @param expected the expected kind, for the message
     * @throws IllegalArgumentException if {@code number} is open on something else, or not open
     */
    static void require(int number, String expected, String... kinds) {
        try {
            String file = Files.readSymbolicLink(DESCRIPTORS.resolve(Integer.toString(number)))
                    .toString();
            FileKind kind = FileKind.ofLink(file);
            boolean maybe = kind == FileKind.NONE
                    && file.startsWith("/")
                    && isNode(number)
                    && NODES.stream().anyMatch(List.of(kinds)::contains);
            if (!maybe && !List.of(kinds).contains(kind.label())) {
                throw new IllegalArgumentException("fd " + number + " is open on " + file + ": expected " + expected);
            }
        } catch (NoSuchFileException e) {
            if (Files.isDirectory(DESCRIPTORS)) {
                throw notOpen(number, expected);
            }
        } catch (IOException e) {
            // The kind cannot be read. The kernel checks it at the first call.
        }
    }

    static IllegalArgumentException notOpen(int number, String expected) {
        return new IllegalArgumentException("fd " + number + " is not open in this process: expected " + expected);
    }

    private static boolean isNode(int number) throws IOException {
        return Files.readAttributes(DESCRIPTORS.resolve(Integer.toString(number)), BasicFileAttributes.class)
                .isOther();
    }
}
