/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;

import io.kvmirq.differential.Descriptors.Assignment;
import io.kvmirq.differential.Descriptors.Event;
import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.testing.Choices;
import io.kvmirq.uapi.Uapi;
import java.util.ArrayList;
import java.util.List;

/** A sequence being drawn, and the barriers that make it come out the same each time. */
final class Draft {
    static final int DEASSIGN = Uapi.KVM_IRQFD_FLAG_DEASSIGN;

    private final Choices random;
    private final Values values;
    private final Descriptors fds;
    private final List<Call> calls = new ArrayList<>();
    private final long kvm;
    private long idleVm;
    private long idleEvent;

    Draft(Choices random) {
        this.random = random;
        this.values = new Values(random);
        this.fds = new Descriptors(random);
        this.kvm = fds.add(Kind.KVM, fds.fresh());
        step(call(Operation.OPEN, kvm, 0));
    }

    Values values() {
        return values;
    }

    Descriptors fds() {
        return fds;
    }

    List<Call> calls() {
        return calls;
    }

    void step(Call... made) {
        step(List.of(made));
    }

    void step(List<Call> made) {
        made.stream()
                .filter(call -> call.operation().isSearched() && !isOfProcess(call))
                .forEach(calls::add);
    }

    /** KVM-VFIO takes the value for a descriptor, and low ones are open or not as the process wants. */
    private boolean isOfProcess(Call call) {
        return call.operation() == Operation.SET_VALUE && fds.open(Kind.DEVICE).contains(call.at(0));
    }

    /** Closes a descriptor and waits for all detaching, with a pair that the first one makes. */
    void close(long fd) {
        if (idleVm == 0) {
            idleVm = fds.fresh();
            idleEvent = fds.fresh();
            step(call(Operation.CREATE_VM, idleVm, kvm, 0), call(Operation.EVENTFD, idleEvent, 0, 0));
        }
        fds.close(fd);
        step(call(Operation.CLOSE, fd), call(Operation.IRQFD, idleVm, idleEvent, 0, DEASSIGN, 0));
    }

    /** Waits for what an eventfd may be injecting, and attaches it again where that does not start another. */
    void settle(long fd, List<Call> waiting) {
        Event event = fds.event(fd);
        List<Assignment> tried = List.copyOf(event.assignments());
        boolean again = !tried.isEmpty() && !event.semaphore() && !values.rarely(3);
        if (again) {
            waiting.add(call(Operation.READ, fd, 8));
        }
        detach(fd, waiting);
        if (again) {
            Assignment assignment = tried.get(random.nextInt(tried.size()));
            waiting.add(call(
                    Operation.IRQFD, assignment.vm(), fd, assignment.gsi(), assignment.flags(), assignment.resample()));
            event.assignments().add(assignment);
        }
    }

    private void detach(long fd, List<Call> waiting) {
        List<Assignment> tried = fds.event(fd).assignments();
        tried.stream()
                .flatMap(assignment -> fds.numbers(assignment.vm()).stream()
                        .map(vm -> call(Operation.IRQFD, vm, fd, assignment.gsi(), DEASSIGN, 0)))
                .distinct()
                .forEach(waiting::add);
        tried.clear();
    }

    /** Runs a guest; what it may signal is detached before, as there is no waiting for what that would inject. */
    void run(Call run) {
        List<Call> made = new ArrayList<>();
        fds.open(Kind.EVENTFD).stream()
                .filter(fd -> fds.event(fd).isSignalledByGuests())
                .forEach(fd -> detach(fd, made));
        made.add(run);
        step(made);
    }
}
