/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.posting.Tracepoints;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * A buffer of the fake kernel's tracepoints, as an instance of tracefs is one: chosen events, of chosen threads, as many as
 * fit. Get it from {@link FakeKernel#tracing}. Thread-safe.
 */
public final class FakeTracing implements AutoCloseable {
    private static final String SWITCH_FLAGS =
            "REC->prev_state ? __print_flags(REC->prev_state, \"|\", { 0x00000001, \"S\" }, { 0x00000002, \"D\" }) :"
                    + " \"R\", REC->prev_state & 0x100 ? \"+\" : \"\"";

    /** The texts of their {@code format} files, without the fields, as Linux 6.18 has them. */
    private static final Map<String, String> FORMATS = Map.of(
            "sched/sched_switch",
            "\"prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%s%s ==> next_comm=%s next_pid=%d next_prio=%d\","
                    + " REC->prev_comm, REC->prev_pid, REC->prev_prio, " + SWITCH_FLAGS
                    + ", REC->next_comm, REC->next_pid, REC->next_prio",
            "kvm/kvm_fpu",
            "\"%s\", __print_symbolic(REC->load, {0, \"unload\"}, {1, \"load\"})",
            "kvm/kvm_userspace_exit",
            "\"reason %s (%d)\", REC->errno < 0 ? (REC->errno == -4 ? \"restart\" : \"error\") :"
                    + " __print_symbolic(REC->reason, { 2, \"KVM_EXIT_IO\" }), REC->errno < 0 ? -REC->errno : REC->reason",
            "kvm/kvm_vcpu_wakeup",
            "\"%s time %lld ns, polling %s\", REC->waited ? \"wait\" : \"poll\", REC->ns, REC->valid ? \"valid\" :"
                    + " \"invalid\"",
            "kvm/kvm_exit",
            "\"vcpu %u reason %s%s%s rip 0x%lx info1 0x%016llx info2 0x%016llx intr_info 0x%08x error_code 0x%08x"
                    + " requests 0x%016llx\", REC->vcpu_id, (REC->isa == 1) ? __print_symbolic(REC->exit_reason & 0xffff,"
                    + " { 12, \"HLT\" }) : \"\", \"\", \"\", REC->guest_rip, REC->info1, REC->info2, REC->intr_info,"
                    + " REC->error_code, REC->requests",
            "kvm/kvm_apicv_inhibit_changed",
            "\"%s reason=%u, inhibits=0x%lx%s%s\", REC->set ? \"set\" : \"cleared\", REC->reason, (REC->inhibits),"
                    + " (REC->inhibits) ? \" \" : \"\", (REC->inhibits) ? __print_flags(REC->inhibits, \"|\", { 1,"
                    + " \"DISABLED\" }) : \"\"",
            "kvm/kvm_pi_irte_update",
            "\"PI is %s for irq %u, vcpu %d, gsi: 0x%x, gvec: 0x%x\", REC->set ? \"enabled and being updated\" :"
                    + " \"disabled\", REC->host_irq, REC->vcpu_id, REC->gsi, REC->gvec");

    private final FakeTime time;
    private final Optional<Tracepoints> host;
    private final Set<String> chosen = new HashSet<>();
    private final Deque<String> lines = new ArrayDeque<>();
    private final Tracepoints.Buffer buffer = this::event;
    private Set<Integer> only = Set.of();
    private int most = Integer.MAX_VALUE;
    private long lost;

    FakeTracing(FakeTime time, Optional<Tracepoints> host) {
        this.time = time;
        this.host = host;
    }

    /**
     * Chooses an event.
     *
     * @param event such as {@code kvm/kvm_fpu}
     * @return the text of its {@code format} file, without the fields. Empty if this kernel never passes it
     */
    public Optional<String> choose(String event) {
        Objects.requireNonNull(event, "event is null");
        return time.locked(() -> {
            String format = host.isPresent() ? FORMATS.get(event) : null;
            String name = event.substring(event.indexOf('/') + 1);
            if (format != null) {
                chosen.add(name);
            }
            return Optional.ofNullable(format).map(text -> "name: " + name + "\nprint fmt: " + text + "\n");
        });
    }

    /** Records what these threads pass, and nothing else ({@code set_event_pid}). None: all threads. */
    public void only(Set<Integer> threads) {
        Objects.requireNonNull(threads, "threads is null");
        time.changing(() -> {
            only = Set.copyOf(threads);
        });
    }

    /** Sets how many events fit. A newer one then replaces the oldest. */
    public void limit(int events) {
        time.changing(() -> {
            most = events;
        });
    }

    /** Begins to record. */
    public void start() {
        time.changing(() -> host.ifPresent(one -> one.add(buffer)));
    }

    private void event(String name, List<Integer> threads, String line) {
        if (chosen.contains(name) && (only.isEmpty() || threads.stream().anyMatch(only::contains))) {
            lines.add(line);
            if (lines.size() > most) {
                lines.remove();
                lost++;
            }
        }
    }

    /** The trace since the last call of this, which takes it out of the buffer. */
    public String read() {
        return time.locked(() -> {
            String text = String.join("", lines);
            lines.clear();
            return text;
        });
    }

    /** Number of events that did not fit, since the last call of this. */
    public long lost() {
        return time.locked(() -> {
            long count = lost;
            lost = 0;
            return count;
        });
    }

    /** Ends the recording. */
    @Override
    public void close() {
        time.changing(() -> host.ifPresent(one -> one.remove(buffer)));
    }
}
