/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/** The open files of a replay, keyed by their names on the tape. For one thread. */
final class ReplayedFiles {
    /** A descriptor number above the limit of a process, so that no file has it. */
    static final int NO_FD = 1 << 20;

    /** The most bytes mapped at a time, because a tape may come from an untrusted source. */
    private static final long MOST_MAPPED = 1L << 28;

    private static final int MOST_MAPPINGS = 4096;
    private static final long PAGE = 4096;

    record Mapping(long address, long length, ByteBuffer bytes, String on) {
        boolean anonymous() {
            return on.isEmpty();
        }
    }

    private final Libc libc;
    private final Map<String, Deque<Integer>> open = new HashMap<>();
    private final Map<String, Mapping> mappings = new HashMap<>();
    /** The mapped kvm_run structures, keyed by vCPU. */
    private final Map<String, ByteBuffer> runs = new HashMap<>();

    /** Mappings that are or were guest memory. They stay mapped: a VM would also use a new mapping at their address. */
    private final Set<String> given = new HashSet<>();

    private final Set<String> absent = new HashSet<>();

    private final List<Mapping> kept = new ArrayList<>();

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

    /** The descriptor of a file; {@link #NO_FD} for a number that was not open on the tape. */
    int subject(String name) {
        return name.startsWith("closed(fd ") ? NO_FD : find(name).orElseThrow(() -> foreign(name));
    }

    private static LackingException foreign(String name) {
        return new LackingException("the call that opened " + name);
    }

    /** Notes a file that was not opened here, so that the calls on it are passed over. */
    void absent(String name) {
        absent.add(name);
    }

    void absentUnlessOpen(String name) {
        if (!open.containsKey(name)) {
            absent.add(name);
        }
    }

    /** Whether the call uses a file that was not opened here. */
    boolean lacks(TapeLine.Call call) {
        return !absent.isEmpty()
                && (absent.contains(call.on()) || call.names().values().stream().anyMatch(this::isAbsent));
    }

    private boolean isAbsent(String place) {
        int plus = place.indexOf('+');
        return absent.contains(plus < 0 ? place : place.substring(0, plus));
    }

    /** A descriptor for a number that no call on the tape opened: an unrelated file, or a closed number. */
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

    /** Forgets the newest descriptor of a file. */
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
        if (length < 0 || length > MOST_MAPPED || pages(length) > MOST_MAPPED - mapped) {
            throw new CannotReplayException("mappings of more than " + (MOST_MAPPED >> 20) + " MiB");
        }
        if (mappings.size() + kept.size() >= MOST_MAPPINGS) {
            throw new CannotReplayException("more than " + MOST_MAPPINGS + " mappings");
        }
    }

    private static long pages(long length) {
        return (length + PAGE - 1) / PAGE * PAGE;
    }

    void mapped(String name, String on, long address, long length) {
        if (mappings.containsKey(name)) {
            libc.munmap(address, length);
            throw new CannotReplayException(name + " twice");
        }
        Mapping mapping = new Mapping(address, length, libc.view(address, length), on);
        mappings.put(name, mapping);
        mapped += pages(length);
        if (on.startsWith(FileKind.VCPU.label())) {
            runs.put(on, mapping.bytes);
        }
    }

    Mapping mapping(String name) {
        return Optional.ofNullable(mappings.get(name)).orElseThrow(() -> foreign(name));
    }

    int unmap(String name) {
        Mapping mapping = mapping(name);
        mappings.remove(name);
        runs.remove(mapping.on);
        if (given.remove(name)) {
            kept.add(mapping);
            return 0;
        }
        mapped -= pages(mapping.length);
        return libc.munmap(mapping.address, mapping.length);
    }

    /** The address of guest memory at a place such as {@code memory#1+0x1000}. */
    long address(String place, long size) {
        int plus = place.indexOf('+');
        String name = plus < 0 ? place : place.substring(0, plus);
        long offset = plus < 0 ? 0 : Long.parseUnsignedLong(place.substring(plus + 3), 16);
        Mapping mapping = mapping(name);
        boolean within = size >= 0 && offset >= 0 && offset <= mapping.length && size <= mapping.length - offset;
        if (!within) {
            throw new CannotReplayException("memory beyond the end of " + name);
        }
        given.add(name);
        return mapping.address + offset;
    }

    Optional<ByteBuffer> run(String vcpu) {
        return Optional.ofNullable(runs.get(vcpu));
    }

    /** The names of the open files, with the number of descriptors if there are several. */
    List<String> names() {
        List<String> names = new ArrayList<>();
        Map<String, Deque<Integer>> sorted =
                new TreeMap<>(Comparator.comparing((String name) -> name.substring(0, name.indexOf('#')))
                        .thenComparingInt(name -> Integer.parseInt(name.substring(name.indexOf('#') + 1))));
        sorted.putAll(open);
        sorted.forEach((name, numbers) -> names.add(numbers.size() == 1 ? name : name + " x" + numbers.size()));
        return names;
    }

    /** @param running whether a guest still runs; then its memory stays mapped */
    void closeAll(boolean running) {
        open.values().forEach(numbers -> numbers.forEach(libc::close));
        open.clear();
        if (!running) {
            mappings.values().forEach(mapping -> libc.munmap(mapping.address, mapping.length));
            kept.forEach(mapping -> libc.munmap(mapping.address, mapping.length));
        }
        mappings.clear();
        kept.clear();
        if (stranger >= 0) {
            libc.close(stranger);
            stranger = -1;
        }
    }
}
