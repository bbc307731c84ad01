/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import java.util.OptionalInt;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The descriptors of a process. A lookup allocates nothing. Source: fs/file.c. */
public final class FileTable {
    private static final int DEFAULT_LIMIT = 65536;

    private @Nullable FakeFile[] files = new FakeFile[64];
    private int noneFreeBelow;
    private int limit = DEFAULT_LIMIT;
    private boolean foreign;

    /** Returns RLIMIT_NOFILE: every descriptor is below this number. */
    public int limit() {
        return limit;
    }

    /** Returns the descriptor limit, for /proc; empty if the test set no limit. */
    public OptionalInt shownLimit() {
        return limit == DEFAULT_LIMIT ? OptionalInt.empty() : OptionalInt.of(limit);
    }

    public void limit(int descriptors) {
        limit = descriptors;
    }

    @Nullable
    public FakeFile get(int fd) {
        return fd >= 0 && fd < files.length ? files[fd] : null;
    }

    /** Whether calls are those of a second process, which shares the first process's descriptors. */
    public boolean isForeign() {
        return foreign;
    }

    public void setForeign(boolean on) {
        foreign = on;
    }

    public boolean isFull() {
        return free(0) >= limit;
    }

    private int free(int lowest) {
        int fd = Math.max(lowest, noneFreeBelow);
        while (get(fd) != null) {
            fd++;
        }
        return fd;
    }

    /** Assigns the lowest free descriptor from {@code lowest} on, and returns it; -1 if the limit is reached. */
    public int install(FakeFile file, int lowest) {
        int fd = free(lowest);
        if (fd >= limit) {
            return -1;
        }
        if (fd >= files.length) {
            files = Arrays.copyOf(files, Math.max(fd + 1, 2 * files.length));
        }
        files[fd] = file;
        if (lowest <= noneFreeBelow) {
            noneFreeBelow = fd + 1;
        }
        file.installed(fd);
        return fd;
    }

    /** @return the file that the descriptor had; null if the descriptor was closed already */
    @Nullable
    public FakeFile remove(int fd) {
        FakeFile file = get(fd);
        if (file != null) {
            files[fd] = null;
            noneFreeBelow = Math.min(noneFreeBelow, fd);
        }
        return file;
    }

    /** Returns the open descriptors that are at least {@code from}, each with the class of its file. */
    public Map<Integer, String> open(int from) {
        Map<Integer, String> open = new TreeMap<>();
        for (int fd = from; fd < files.length; fd++) {
            FakeFile file = files[fd];
            if (file != null) {
                open.put(fd, file.getClass().getSimpleName());
            }
        }
        return open;
    }

    /** Polls {@code count} pollfd structures without a wait. Returns how many have an event or a closed descriptor. */
    public int poll(ByteBuffer polled, int at, int count) {
        int ready = 0;
        for (int i = 0; i < count; i++) {
            int entry = at + i * Uapi.Pollfd.SIZE;
            int fd = polled.getInt(entry + Uapi.Pollfd.FD);
            int events = 0;
            if (fd >= 0) {
                FakeFile file = get(fd);
                int asked = polled.getShort(entry + Uapi.Pollfd.EVENTS) | Epoll.EPOLLERR | Epoll.EPOLLHUP;
                events = file == null ? Uapi.POLLNVAL : file.poll() & asked;
            }
            polled.putShort(entry + Uapi.Pollfd.REVENTS, (short) events);
            ready += events == 0 ? 0 : 1;
        }
        return ready;
    }
}
