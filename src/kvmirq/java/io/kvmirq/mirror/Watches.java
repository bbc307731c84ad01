/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.VcpuId;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The vCPUs whose phases a mirror reads. They change under the mirror's lock, but {@link #isCurrent} needs no lock. */
final class Watches {
    private static final class Watch {
        private final VcpuId vcpu;
        private final VcpuPhase phase;
        /** The number of the phase that the mirror last got. */
        private volatile long lastPhase;
        /** The LAPIC sample that the mirror last got. */
        private volatile Optional<LapicSample> lapic = Optional.empty();
        /** Whether the mirror knows that the LAPIC has these ids. */
        private volatile boolean hasLapic;

        Watch(Event.VcpuWatched watched) {
            vcpu = watched.vcpu();
            phase = watched.phase();
            lastPhase = phase.number();
        }

        boolean isCurrent() {
            return phase.number() == lastPhase
                    && phase.lapic().equals(lapic)
                    && phase.hasLapicOf(lastPhase) == hasLapic;
        }

        boolean is(Event.VcpuWatched watched) {
            return vcpu.equals(watched.vcpu()) && phase.equals(watched.phase());
        }

        private void change(List<Event> events) {
            long now = phase.number();
            if (now != lastPhase) {
                boolean later = !phase.isInRun(lastPhase);
                lastPhase = now;
                events.add(event(now));
                if (later && phase.hasEntered(now)) {
                    events.add(new Event.GuestEntered(vcpu)); // this run began after the last event
                }
            }
            Optional<LapicSample> last = phase.lapic();
            boolean has = last.isPresent() && phase.hasLapicOf(now);
            boolean same = last.equals(lapic);
            if (!same || has && !hasLapic) {
                last.ifPresent(sample -> events.add(new Event.LapicSampled(vcpu, sample)));
            }
            if (!has && (!same || hasLapic)) {
                events.add(new Event.LapicUnseen(vcpu));
            }
            lapic = last;
            hasLapic = has;
        }

        Event event(long number) {
            if (phase.isInRun(number)) {
                return new Event.VcpuEntered(vcpu);
            }
            return phase.hasRun(number) ? new Event.VcpuLeft(vcpu) : new Event.VcpuOutside(vcpu);
        }
    }

    private volatile List<Watch> all = List.of();

    /** Whether no phase has changed since {@link #changes}. Does not allocate. */
    boolean isCurrent() {
        List<Watch> watches = all;
        for (int i = 0; i < watches.size(); i++) {
            if (!watches.get(i).isCurrent()) {
                return false;
            }
        }
        return true;
    }

    /** The changes since the last call. The caller must mark the mirror's state as stale first. */
    List<Event> changes() {
        List<Event> events = new ArrayList<>();
        for (Watch watch : all) {
            watch.change(events);
        }
        return events;
    }

    /** Requests a LAPIC sample from each vCPU. Does not allocate. */
    void askForLapics() {
        List<Watch> watches = all;
        for (int i = 0; i < watches.size(); i++) {
            watches.get(i).phase.askForLapic();
        }
    }

    /** @return the phases of the vCPUs that are watched because of these events */
    List<Event> meet(List<? extends Event> events) {
        List<Watch> before = all;
        for (Event event : events) {
            if (event instanceof Event.VcpuWatched watched && all.stream().noneMatch(watch -> watch.is(watched))) {
                remove(watched.vcpu());
                List<Watch> more = new ArrayList<>(all);
                more.add(new Watch(watched));
                all = List.copyOf(more);
            } else if (event instanceof Event.VcpuRemoved removed) {
                remove(removed.vcpu());
            }
        }
        return all == before
                ? List.of()
                : all.stream()
                        .filter(watch -> !before.contains(watch))
                        .map(watch -> watch.event(watch.lastPhase))
                        .toList();
    }

    private void remove(VcpuId vcpu) {
        all = all.stream().filter(watch -> !watch.vcpu.equals(vcpu)).toList();
    }
}
