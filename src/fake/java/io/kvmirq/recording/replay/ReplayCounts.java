/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.UapiTable.Request;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** Counts calls whose answers were not compared, for each request. */
final class ReplayCounts {
    private final String title;
    private final Map<String, Long> counts = new TreeMap<>();
    private long all;

    ReplayCounts(String title) {
        this.title = title;
    }

    long all() {
        return all;
    }

    void add(TapeLine.Call call) {
        all++;
        counts.merge(
                call.call().equals("ioctl")
                        ? Optional.ofNullable(Arguments.of(call.request(), call.on()))
                                .map(Request::name)
                                .orElseGet(() -> Names.hex(call.request()))
                        : call.call(),
                1L,
                Long::sum);
    }

    Optional<String> remark() {
        return counts.isEmpty()
                ? Optional.empty()
                : Optional.of(counts.entrySet().stream()
                        .map(count -> count.getKey() + " " + count.getValue())
                        .collect(Collectors.joining(", ", title + ": ", "")));
    }
}
