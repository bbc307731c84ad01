/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.testing.Choices;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The descriptors a sequence has asked for so far, as if every call succeeded. */
final class Descriptors {
    private static final int FIRST = 1000;
    private static final int NEVER_OPENED = 5000;

    /** The kind of an open file. */
    enum Kind {
        KVM,
        VM,
        VCPU,
        EVENTFD,
        DEVICE,
        EPOLL,
        VGIC,
        ITS,
        CONTAINER,
        GROUP,
        VFIO_DEVICE;

        boolean isVfio() {
            return compareTo(CONTAINER) >= 0;
        }
    }

    /** An eventfd under all its numbers, and every assignment that has been tried with it. */
    static final class Event {
        private final boolean semaphore;
        private final List<Assignment> assignments = new ArrayList<>();
        private boolean byGuests;

        Event(boolean semaphore) {
            this.semaphore = semaphore;
        }

        boolean semaphore() {
            return semaphore;
        }

        /** A guest's EOI or write may signal it. */
        void signalledByGuests() {
            byGuests = true;
        }

        boolean isSignalledByGuests() {
            return byGuests;
        }

        List<Assignment> assignments() {
            return assignments;
        }
    }

    /** Arguments of {@link Operation#IRQFD} but for the eventfd. */
    record Assignment(long vm, long gsi, long flags, long resample) {}

    private final Choices random;
    private final Map<Kind, List<Long>> open = new EnumMap<>(Kind.class);
    private final Map<Long, Kind> kinds = new HashMap<>();
    private final Map<Long, Event> events = new HashMap<>();
    private final Map<Long, Integer> vcpus = new HashMap<>();
    private final Map<Long, List<Long>> numbers = new HashMap<>();
    /** The device behind a descriptor, and the eventfds that any descriptor of a device has been given. */
    private final Map<Long, Long> devices = new HashMap<>();

    private final Map<Long, Set<Long>> armed = new HashMap<>();
    private final List<Long> closed = new ArrayList<>();
    private int next = FIRST;

    Descriptors(Choices random) {
        this.random = random;
    }

    private List<Long> of(Kind kind) {
        return open.computeIfAbsent(kind, none -> new ArrayList<>());
    }

    /** A number that nothing has had. */
    long fresh() {
        return next++;
    }

    long add(Kind kind, long fd) {
        of(kind).add(fd);
        kinds.put(fd, kind);
        numbers.computeIfAbsent(fd, alone -> new ArrayList<>(List.of(fd)));
        return fd;
    }

    /** One made from another, if that is of the kind it takes. */
    long addFrom(Kind kind, long from, Kind made, long fd) {
        return of(kind).contains(from) ? add(made, fd) : fd;
    }

    /** A VFIO device or its group, by the number of the device. */
    long addOf(long device, Kind kind, long fd) {
        devices.put(fd, device);
        return add(kind, fd);
    }

    /** The device behind a descriptor, or one that was given. */
    long deviceOf(long fd, long otherwise) {
        return devices.getOrDefault(fd, otherwise);
    }

    /** The eventfds that the device behind a descriptor has been given, to be added to. */
    Set<Long> armed(long fd) {
        return armed.computeIfAbsent(devices.getOrDefault(fd, -1L), none -> new LinkedHashSet<>());
    }

    Event addEvent(long fd, Event event) {
        events.put(fd, event);
        add(Kind.EVENTFD, fd);
        return event;
    }

    void addDuplicate(long fd, long of) {
        List<Long> all = numbers.getOrDefault(of, new ArrayList<>());
        all.add(fd);
        numbers.put(fd, all);
        if (devices.containsKey(of)) {
            devices.put(fd, devices.get(of));
        }
        if (events.containsKey(of)) {
            addEvent(fd, events.get(of));
        } else if (kinds.containsKey(of)) {
            add(kinds.get(of), fd);
        }
    }

    /** The eventfd of that number, or one nobody has when it is none. */
    Event event(long fd) {
        return events.getOrDefault(fd, new Event(false));
    }

    /** Every number the file of {@code fd} has or had. */
    List<Long> numbers(long fd) {
        return List.copyOf(numbers.getOrDefault(fd, List.of(fd)));
    }

    void close(long fd) {
        open.values().forEach(fds -> fds.remove(fd));
        closed.add(fd);
    }

    int count(Kind kind) {
        return of(kind).size();
    }

    List<Long> open(Kind kind) {
        return List.copyOf(of(kind));
    }

    /** The oldest that is open, or a number that never is. */
    long first(Kind kind) {
        return of(kind).isEmpty() ? NEVER_OPENED : of(kind).get(0);
    }

    /** Counts vCPUs by VM. */
    int anotherVcpu(long vm) {
        return vcpus.merge(vm, 1, Integer::sum);
    }

    /** Mostly one of that kind that is open. */
    long pick(Kind kind) {
        int drawn = random.nextInt(100);
        if (drawn < 84 && !of(kind).isEmpty()) {
            return oneOf(of(kind));
        }
        return drawn < 93 ? another(kind) : stale();
    }

    /** An open one that is of another kind. */
    long another(Kind kind) {
        return anyOf(open.keySet().stream()
                .filter(other -> other != kind && !other.isVfio())
                .toList());
    }

    /** One that is open and not VFIO's: those have steps of their own, as a read of a device is one of its memory. */
    long anyOpen() {
        return anyOf(open.keySet().stream().filter(kind -> !kind.isVfio()).toList());
    }

    long anyVfio() {
        return anyOf(open.keySet().stream().filter(Kind::isVfio).toList());
    }

    /** One that was closed, never opened, or can be none. */
    long stale() {
        int drawn = random.nextInt(4);
        return drawn < 2 && !closed.isEmpty() ? oneOf(closed) : drawn < 3 ? NEVER_OPENED : -1;
    }

    private long anyOf(List<Kind> kinds) {
        List<Kind> filled = kinds.stream().filter(kind -> !of(kind).isEmpty()).toList();
        return filled.isEmpty() ? -1 : oneOf(of(filled.get(random.nextInt(filled.size()))));
    }

    private long oneOf(List<Long> fds) {
        return fds.get(random.nextInt(fds.size()));
    }
}
