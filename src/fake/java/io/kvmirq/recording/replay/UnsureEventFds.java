/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.util.HashSet;
import java.util.Set;

/**
 * Eventfds whose users may differ from those on the tape. Overlapping calls assigned or deassigned them, and the replay
 * chose an order that explains one answer but perhaps not the next. Closing such an eventfd removes its users and the
 * doubt.
 */
final class UnsureEventFds {
    private final Set<String> names = new HashSet<>();

    private static boolean isWiring(TapeLine.Call call) {
        return call.call().equals("ioctl");
    }

    /** Adds the eventfds of a call whose order is not known. */
    void add(TapeLine.Call call) {
        if (isWiring(call)) {
            call.names().values().stream()
                    .filter(name -> FileKind.ofName(name) == FileKind.EVENTFD)
                    .forEach(names::add);
        }
    }

    /** Whether a call assigns or deassigns such an eventfd. */
    boolean has(TapeLine.Call call) {
        return isWiring(call) && call.names().values().stream().anyMatch(names::contains);
    }

    void closed(TapeLine.Call call) {
        if (call.call().equals("close")) {
            names.remove(call.on());
        }
    }
}
