/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Whether another user could have written, or could swap, what we are about to load. */
final class Trust {
    private static final int WRITABLE_BY_OTHERS = 0022;
    private static final int STICKY = 01000;
    private static final int ROOT = 0;

    private Trust() {}

    /**
     * Checks {@code path} and every directory above it: owned by root or by this process's user, and writable by nobody
     * else; a directory above may be open to all if it is sticky, such as /tmp.
     *
     * @param path absolute and without symbolic links
     * @return what is wrong, or null
     */
    static @Nullable String flawOf(Path path) throws IOException {
        int user = userOf(Path.of("/proc/self"));
        for (Path each = path; each != null; each = each.getParent()) {
            int mode = (int) attribute(each, "mode");
            int owner = userOf(each);
            if (owner != ROOT && owner != user) {
                return each + " belongs to user " + owner + ", who could replace it: expected root or user " + user;
            }
            boolean sticky = (mode & STICKY) != 0 && Files.isDirectory(each, LinkOption.NOFOLLOW_LINKS);
            if ((mode & WRITABLE_BY_OTHERS) != 0 && !sticky) {
                return each + " can be written by other users (mode " + Integer.toOctalString(mode & 07777)
                        + "): chmod go-w " + each;
            }
        }
        return null;
    }

    static int userOf(Path path) throws IOException {
        return (int) attribute(path, "uid");
    }

    private static Object attribute(Path path, String name) throws IOException {
        // /proc/self is a link by nature; nothing else may be one here.
        return path.startsWith("/proc")
                ? Files.getAttribute(path, "unix:" + name)
                : Files.getAttribute(path, "unix:" + name, LinkOption.NOFOLLOW_LINKS);
    }
}
