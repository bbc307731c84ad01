/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.util.HashSet;
import java.util.Set;

/**
 * Eventfds whose users may be others here than on the tape. Calls that overlapped in time gave them to GSIs or took them
 * away, and the replay chose an order that explains one answer and may not explain the next. An eventfd is sure again
 * when it is closed: its users go with it.
 */
final class UnsureEventFds {
    private final Set<String> names = new HashSet<>();

    private static boolean isWiring(TapeLine.Call call) {
        return call.call().equals("ioctl");
    }

    /** After a call whose order is not known. */
    void add(TapeLine.Call call) {
        if (isWiring(call)) {
            call.names().values().stream()
                    .filter(name -> FileKind.ofName(name) == FileKind.EVENTFD)
                    .forEach(names::add);
        }
    }

    /** Whether a call gives such an eventfd to a user, or takes it away. */
    boolean has(TapeLine.Call call) {
        return isWiring(call) && call.names().values().stream().anyMatch(names::contains);
    }

    void closed(TapeLine.Call call) {
        if (call.call().equals("close")) {
            names.remove(call.on());
        }
    }
}
