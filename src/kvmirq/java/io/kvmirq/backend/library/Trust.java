/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

import io.kvmirq.backend.BackendUnavailableException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Checks that no other user could have written, or could replace, a file that kvmirq is about to load or write. */
public final class Trust {
    private static final int WRITABLE_BY_OTHERS = 0022;
    private static final int STICKY = 01000;
    private static final int ROOT = 0;
    /** The default of /proc/sys/kernel/overflowuid. */
    private static final int OVERFLOW = 65534;

    private Trust() {}

    /**
     * Checks {@code path} and every directory above it. Root or this process's user must own each, and no other user
     * may write it. A directory above may be writable by all if it is sticky, such as /tmp.
     *
     * @param path absolute and without symbolic links
     * @return a description of the flaw, or null
     */
    static @Nullable String flawOf(Path path) throws IOException {
        return flawOf(path, path);
    }

    /** Like {@link #flawOf(Path)}, for a directory above a path that does not exist yet. */
    static @Nullable String flawOfAbove(Path directory) throws IOException {
        return flawOf(directory, null);
    }

    private static @Nullable String flawOf(Path path, @Nullable Path leaf) throws IOException {
        int user = thisUser();
        @Nullable Boolean mapped = null;
        for (Path each = path; each != null; each = each.getParent()) {
            Map<String, Object> attributes = Files.readAttributes(each, "unix:mode,uid", LinkOption.NOFOLLOW_LINKS);
            int mode = (int) attributes.getOrDefault("mode", WRITABLE_BY_OTHERS);
            int owner = (int) attributes.getOrDefault("uid", -1);
            boolean unmappedDirectoryAbove = false;
            if (!each.equals(leaf) && owner == OVERFLOW) {
                // In a user namespace, directories of the real root appear as owned by the overflow user.
                mapped = mapped == null ? isMapped(OVERFLOW) : mapped;
                unmappedDirectoryAbove = !mapped;
            }
            if (owner != ROOT && owner != user && !unmappedDirectoryAbove) {
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

    /** Like {@link #flawOf}, but no other user may write the directory itself, even if it is sticky. */
    static @Nullable String flawOfPrivate(Path real) throws IOException {
        int mode = (int) Files.getAttribute(real, "unix:mode", LinkOption.NOFOLLOW_LINKS);
        if ((mode & WRITABLE_BY_OTHERS) != 0) {
            return real + " can be written by other users (mode " + Integer.toOctalString(mode & 07777)
                    + "): expected a directory of this user alone, such as "
                    + real.resolve("kvmirq-" + thisUser());
        }
        return flawOf(real);
    }

    /** Names a symbolic link in {@code named} that another user owns and so could point anywhere, or returns null. */
    static @Nullable String flawOfLinks(Path named, Path real) throws IOException {
        if (real.equals(named)) {
            return null;
        }
        int user = thisUser();
        for (Path each = named; each != null; each = each.getParent()) {
            if (Files.isSymbolicLink(each) && userOf(each) != ROOT && userOf(each) != user) {
                return each + " is a symbolic link owned by user " + userOf(each) + ": expected root or user " + user;
            }
        }
        return null;
    }

    /** Whether this process's user namespace maps this user id, so that the id is a real user's. */
    private static boolean isMapped(int user) throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/uid_map"))) {
            String[] range = line.strip().split(" +", -1);
            long first = Long.parseLong(range[0]);
            if (user >= first && user < first + Long.parseLong(range[2])) {
                return true;
            }
        }
        return false;
    }

    public static int thisUser() {
        try {
            return userOf(Path.of("/proc/self"));
        } catch (IOException e) {
            throw new BackendUnavailableException(
                    "this user's id cannot be determined: " + e + "; is /proc mounted?", e);
        }
    }

    /** The user id of a file's owner. Symbolic links are followed only in /proc. */
    public static int userOf(Path path) throws IOException {
        // Only /proc/self among these paths may be a symbolic link.
        return (int)
                (path.startsWith("/proc")
                        ? Files.getAttribute(path, "unix:uid")
                        : Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS));
    }
}
