/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Trait;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The guests that run only on the tape, because it lacks their memory: KVM_RUN ends as recorded. Afterwards the replay
 * does not know the state that the guest changed: registers, interrupt controllers, and eventfds that the guest signals
 * or its interrupts reach.
 */
final class ReplayGuests {
    /** The most threads in {@code lastOfThread}, because a tape may come from an untrusted source. */
    private static final int MOST_THREADS = 1 << 16;

    /** The VM of each vCPU, by name. */
    private final Map<String, String> vms = new HashMap<>();

    private final Set<String> ran = new HashSet<>();
    /** The vCPUs that run only on the tape at the current line. */
    private final Set<String> running = new HashSet<>();
    /** Eventfds that an ioctl has given to a VM or a device. */
    private final Set<String> wired = new HashSet<>();

    /** The first line at which a vCPU may run. A KVM_RUN without a begin line has its only line at its end. */
    private final Map<String, Long> mayRun = new HashMap<>();

    private final Map<Long, Long> lastOfThread = new HashMap<>();

    /** Whether a process read or wrote an inherited eventfd. The tape does not show which eventfd that is. */
    private boolean inheritedEventFd;

    /** Reads a line of the tape before the replay. */
    void foresee(TapeLine.Call call) {
        long thread = (long) call.pid() << Integer.SIZE | call.tid();
        if (isRun(call)) {
            // A KVM_RUN with a begin line is replayed, or reported by begin().
            mayRun.putIfAbsent(call.on(), call.begins() ? Long.MAX_VALUE : lastOfThread.getOrDefault(thread, 0L));
        }
        if (lastOfThread.size() == MOST_THREADS) {
            lastOfThread.clear();
        }
        lastOfThread.put(thread, call.number());
    }

    static boolean isRun(TapeLine.Call call) {
        return call.call().equals("ioctl") && call.request() == Uapi.KVM_RUN;
    }

    /** Notes a call that had the answer of the tape, or was passed over. */
    void note(TapeLine.Call call) {
        boolean made = call.made().isPresent();
        if (made && call.request() == Uapi.KVM_CREATE_VCPU) {
            vms.put(call.made().get(), call.on());
        }
        if (call.call().equals("ioctl")) {
            call.names().values().stream()
                    .filter(name -> FileKind.ofName(name) == FileKind.EVENTFD)
                    .forEach(wired::add);
        }
    }

    /** Notes a call that was passed over because a process inherited its file. */
    void inherited(TapeLine.Call call) {
        inheritedEventFd |= (call.isRead() || call.isWrite()) && FileKind.ofName(call.on()) == FileKind.EVENTFD;
    }

    /** Begins a KVM_RUN that is not replayed. */
    void begin(String vcpu) {
        running.add(vcpu);
        ran(vcpu);
    }

    /** Ends a KVM_RUN; returns whether it ran only on the tape. */
    boolean end(String vcpu) {
        return running.remove(vcpu);
    }

    void ran(String vcpu) {
        ran.add(vms.getOrDefault(vcpu, vcpu));
    }

    boolean hasRun(String vcpu) {
        return ran.contains(vms.getOrDefault(vcpu, vcpu));
    }

    private boolean mayHaveRun(String vm, long line) {
        return ran.contains(vm)
                || mayRun.entrySet().stream()
                        .anyMatch(run -> run.getValue() <= line && vm.equals(vms.get(run.getKey())));
    }

    private boolean anyMayHaveRun(long line) {
        return !ran.isEmpty() || vms.keySet().stream().anyMatch(vcpu -> mayRun.getOrDefault(vcpu, line + 1) <= line);
    }

    /** Whether the call reads state that a guest may have changed, so that the replay cannot compare the bytes. */
    boolean asksChanged(TapeLine.Call call) {
        @Nullable Request request = Arguments.of(call.request(), call.on());
        return call.call().equals("ioctl")
                && call.errno().isEmpty()
                && call.made().isEmpty()
                && request != null
                && request.writes()
                && (FileKind.ofName(call.on()) == FileKind.VCPU
                        ? hasRun(call.on())
                        : ran.contains(call.on()) && ReplayPassed.hasTrait(call, Trait.OF_GUEST));
    }

    /** Whether a guest or another process may have caused the kernel's different answer. */
    boolean mayChange(TapeLine.Call call) {
        if (call.isRead() || call.isWrite()) {
            return inheritedEventFd && FileKind.ofName(call.on()) == FileKind.EVENTFD
                    || anyMayHaveRun(call.number()) && wired.contains(call.on());
        }
        return switch (call.call()) {
            case "poll", "ppoll", "epoll_wait" -> inheritedEventFd || anyMayHaveRun(call.number());
            case "ioctl" ->
                switch (FileKind.ofName(call.on())) {
                    case VCPU -> mayHaveRun(vms.getOrDefault(call.on(), call.on()), call.number());
                    case VM -> ReplayPassed.hasTrait(call, Trait.OF_GUEST) && mayHaveRun(call.on(), call.number());
                    default -> false;
                };
            default -> false;
        };
    }
}
