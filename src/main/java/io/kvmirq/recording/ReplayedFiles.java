/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** What a replay has open, by the names of the tape. For one thread. */
final class ReplayedFiles {
    /** A number that no file has: beyond what a process may open. */
    static final int NO_FD = 1 << 20;

    /** Bytes mapped at once; a tape may have been made by anybody. */
    private static final long MOST_MAPPED = 1L << 28;

    /** Memory that a call mapped. */
    record Mapping(long address, long length, ByteBuffer bytes) {}

    private final Libc libc;
    private final Map<String, Deque<Integer>> open = new HashMap<>();
    private final Map<String, Mapping> mappings = new HashMap<>();
    /** By vCPU. */
    private final Map<String, ByteBuffer> runs = new HashMap<>();

    private long mapped;
    private int stranger = -1;

    ReplayedFiles(Libc libc) {
        this.libc = libc;
    }

    void opened(String name, int fd) {
        open.computeIfAbsent(name, absent -> new ArrayDeque<>(1)).push(fd);
    }

    Optional<Integer> find(String name) {
        return Optional.ofNullable(open.get(name)).map(Deque::peek);
    }

    Map<String, Integer> descriptors() {
        Map<String, Integer> descriptors = new TreeMap<>();
        open.forEach((name, numbers) -> descriptors.put(name, numbers.getFirst()));
        return descriptors;
    }

    /** What a call is made on; a number that was not open is not open here. */
    int subject(String name) {
        return name.startsWith("closed(fd ") ? NO_FD : find(name).orElseThrow(() -> foreign(name));
    }

    private static CannotReplayException foreign(String name) {
        return new CannotReplayException(name + ", which no call on the tape opened");
    }

    /** A number in a structure that no call on the tape opened: some other file, or none. */
    int unnamed(int number, TapeLine.Call call) {
        boolean none = number < 0
                || call.errno().filter(errno -> errno.equals(Errno.EBADF)).isPresent();
        if (none) {
            return number < 0 ? number : NO_FD;
        }
        if (call.errno().isEmpty()) {
            throw foreign("descriptor " + number);
        }
        if (stranger < 0) {
            stranger = libc.epollCreate(0);
        }
        return stranger;
    }

    /** One of the descriptors of a file goes. */
    void closed(String name) {
        Deque<Integer> numbers = open.get(name);
        if (numbers != null) {
            numbers.pop();
            if (numbers.isEmpty()) {
                open.remove(name);
                runs.remove(name);
            }
        }
    }

    void requireRoom(long length) {
        if (length < 0 || length > MOST_MAPPED - mapped) {
            throw new CannotReplayException("mappings of more than " + (MOST_MAPPED >> 20) + " MiB");
        }
    }

    void mapped(String name, String on, long address, long length) {
        Mapping mapping = new Mapping(address, length, libc.view(address, length));
        mappings.put(name, mapping);
        mapped += length;
        if (on.startsWith(FileType.VCPU.label())) {
            runs.put(on, mapping.bytes);
        }
    }

    Mapping mapping(String name) {
        return Optional.ofNullable(mappings.get(name)).orElseThrow(() -> foreign(name));
    }

    void unmapped(String name) {
        mapped -= mapping(name).length;
        mappings.remove(name);
    }

    /** The address of a place such as {@code memory#1+0x1000}. */
    long address(String place) {
        int plus = place.indexOf('+');
        String name = plus < 0 ? place : place.substring(0, plus);
        return mapping(name).address + (plus < 0 ? 0 : Long.parseUnsignedLong(place.substring(plus + 3), 16));
    }

    /** What a vCPU shares with its VMM. */
    Optional<ByteBuffer> run(String vcpu) {
        return Optional.ofNullable(runs.get(vcpu));
    }

    /** The names of what is open, those with several descriptors with how many. */
    List<String> names() {
        List<String> names = new ArrayList<>();
        Map<String, Deque<Integer>> sorted = new TreeMap<>(ReplayedFiles::inOrder);
        sorted.putAll(open);
        sorted.forEach((name, numbers) -> names.add(numbers.size() == 1 ? name : name + " x" + numbers.size()));
        return names;
    }

    private static int inOrder(String one, String other) {
        int ones = one.indexOf('#');
        int others = other.indexOf('#');
        int byKind = one.substring(0, ones).compareTo(other.substring(0, others));
        return byKind != 0
                ? byKind
                : Integer.compare(
                        Integer.parseInt(one.substring(ones + 1)), Integer.parseInt(other.substring(others + 1)));
    }

    void closeAll() {
        open.values().forEach(numbers -> numbers.forEach(libc::close));
        open.clear();
        mappings.values().forEach(mapping -> libc.munmap(mapping.address, mapping.length));
        mappings.clear();
        if (stranger >= 0) {
            libc.close(stranger);
            stranger = -1;
        }
    }
}
