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
 * The guests of a tape that run on the tape only: a KVM_RUN without the guest's memory ends as recorded. From then on
 * the replay does not know what the guest changed: its registers, its interrupt controllers, and the eventfds that it
 * signals or that its interrupts reach.
 */
final class ReplayGuests {
    /** Threads that are remembered: a tape may come from an untrusted source. */
    private static final int MOST_THREADS = 1 << 16;

    /** By vCPU. */
    private final Map<String, String> vms = new HashMap<>();

    private final Set<String> ran = new HashSet<>();
    /** The vCPUs that run on the tape at this line. */
    private final Set<String> running = new HashSet<>();
    /** Eventfds that a VM or a device has. */
    private final Set<String> wired = new HashSet<>();

    /** The number of the line from which a vCPU may run, though its KVM_RUN has no line yet: it is written at the end. */
    private final Map<String, Long> mayRun = new HashMap<>();

    private final Map<Long, Long> lastOfThread = new HashMap<>();

    /** Whether a process read or wrote an eventfd that it had inherited: which one, the tape does not say. */
    private boolean inheritedEventFd;

    /** Reads a line of the tape before the replay. */
    void foresee(TapeLine.Call call) {
        long thread = (long) call.pid() << Integer.SIZE | call.tid();
        if (isRun(call)) {
            // One that begins on the tape runs here, or is told of by begin.
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

    /** After a call that answered as on the tape, or was passed over. */
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

    /** After a call that was passed over because no call of the tape opened its file: a process has inherited it. */
    void inherited(TapeLine.Call call) {
        inheritedEventFd |= (call.isRead() || call.isWrite()) && FileKind.ofName(call.on()) == FileKind.EVENTFD;
    }

    /** A KVM_RUN begins whose guest does not run here. */
    void begin(String vcpu) {
        running.add(vcpu);
        ran(vcpu);
    }

    /** Whether the KVM_RUN that ends ran on the tape only. */
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

    /** Whether the call asks for state that a guest has changed since. The replay does not know the answer's bytes. */
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

    /** Whether what a guest, or another process, did may be why the kernel answered otherwise. */
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
