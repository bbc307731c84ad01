/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** What a descriptor of this process is open on; source: proc_pid_fd(5). */
final class OpenFile {
    private static final Path DESCRIPTORS = Path.of("/proc/self/fd");
    private static final String EVENTFD = "anon_inode:[eventfd]";

    private OpenFile() {}

    /**
     * Asks nothing where /proc cannot be read, as in some jails.
     *
     * @throws IllegalArgumentException if {@code number} is open on something else, or not open
     */
    static void requireEventFd(int number) {
        try {
            String file = Files.readSymbolicLink(DESCRIPTORS.resolve(Integer.toString(number)))
                    .toString();
            if (!file.equals(EVENTFD)) {
                throw new IllegalArgumentException(
                        "fd " + number + " is open on " + file + ": expected an eventfd, made by eventfd(2)");
            }
        } catch (NoSuchFileException e) {
            if (Files.isDirectory(DESCRIPTORS)) {
                throw new IllegalArgumentException(
                        "fd " + number + " is not open in this process: expected an eventfd, made by eventfd(2)", e);
            }
        } catch (IOException e) {
            // Cannot be told: what the kernel answers to the first call has to do.
        }
    }
}
