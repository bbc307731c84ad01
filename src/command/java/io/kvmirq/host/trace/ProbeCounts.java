/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The counts of the probes. Immutable.
 *
 * @param handlers VFIO's handlers
 * @param irqfds the irqfds that were signalled
 * @param starved the irqfds behind those that took signals
 * @param raised the results of workers, for irqfds whose signal KVM cannot deliver at once
 * @param pulsed the eventfds whose irqfd has no resamplefd: a worker raises its GSI and lowers it at once
 * @param unrouted the workers that found no route. None on arm64
 * @param accepted the vectors that vCPUs got; none on a kernel that does not tell
 * @param taken the vectors that KVM injected into vCPUs; hardware injects others without KVM
 * @param isTakenCounted whether the kernel has the tracepoint that counts them
 * @param ended the vectors that guests ended, where KVM sees their EOI
 * @param isEndedCounted whether the kernel has the tracepoint that counts them
 * @param callers the threads that signalled irqfds, except in the handlers of interrupts
 * @param latencies times between two stages; none where the kernel does not measure them
 * @param missed events that a probe or a histogram missed; if not 0, each count is a minimum
 * @param missing a sentence for each probe that this kernel does not have, without a full stop
 */
public record ProbeCounts(
        List<Handler> handlers,
        List<Irqfd> irqfds,
        List<Starved> starved,
        List<Raised> raised,
        Set<Integer> pulsed,
        List<Unrouted> unrouted,
        List<Accepted> accepted,
        List<Taken> taken,
        boolean isTakenCounted,
        List<Taken> ended,
        boolean isEndedCounted,
        List<Caller> callers,
        List<Latency> latencies,
        long missed,
        List<String> missing) {
    /** The host handled an irq of VFIO, and signalled an eventfd. The id is the {@code eventfd-id} of fdinfo. */
    public record Handler(int irq, int eventfd, long count) {}

    /** A message of a route: an address of 64 bits and 32 bits of data. */
    public record Message(long address, long data) {
        /** The vector, on x86. */
        public int vector() {
            return (int) data & 0xff;
        }

        /** Whether its delivery mode is fixed or lowest priority, on x86: the others have no vector. */
        public boolean hasVector() {
            return (data >> 8 & 6) == 0;
        }

        @Override
        public String toString() {
            return "address 0x" + Long.toHexString(address) + ", data 0x" + Long.toHexString(data);
        }
    }

    /**
     * An irqfd.
     *
     * @param eventfd its id
     * @param gsi the GSI of the irqfd, with or without a route
     * @param creator the thread that created the VM ({@code kvm.userspace_pid}), as the first PID namespace numbers it
     * @param signals how often it took a signal
     * @param routes how often its GSI had a route of each type ({@code KVM_IRQ_ROUTING_MSI}, and others); 0 is none, or several
     * @param messages the messages of its routes
     * @param results how often {@code kvm_arch_set_irq_inatomic()} returned each number
     */
    public record Irqfd(
            int eventfd,
            int gsi,
            int creator,
            long signals,
            Map<Integer, Long> routes,
            Set<Message> messages,
            Map<Integer, Long> results) {
        public Irqfd {
            routes = Map.copyOf(routes);
            messages = Set.copyOf(messages);
            results = Map.copyOf(results);
        }
    }

    /**
     * An eventfd has a second irqfd, in a VM of its creator. A signal wakes only the first one. Linux 6.17 and newer refuse the
     * second one.
     */
    public record Starved(int eventfd, int creator) {}

    /** {@code kvm_set_irq()} returned a result to a worker that raised the GSI of an eventfd. */
    public record Raised(int eventfd, int result, long count) {}

    /** A worker found no route for the GSI of an eventfd. */
    public record Unrouted(int eventfd, long count) {}

    /**
     * A LAPIC of a vCPU got a vector from a worker, before KVM checks whether the LAPIC is on. On arm64 the VGIC got an
     * interrupt from a worker or a handler, whose number is the vector, with the vCPU as its target, before KVM checks whether
     * the interrupt is enabled.
     */
    public record Accepted(int eventfd, int vcpu, int vector, long count) {}

    /** A thread of a vCPU got a vector, or wrote its EOI. */
    public record Taken(int thread, int vector, long count) {}

    /** A thread signalled an eventfd that has an irqfd. */
    public record Caller(int eventfd, int thread) {}

    /** The stage at which a time ends. */
    public enum Stage {
        /** From VFIO's handler to the irqfd. */
        IRQFD,
        /** From the irqfd to KVM's result. */
        DELIVERED,
        /** From the irqfd to the injection into a vCPU. */
        TAKEN
    }

    /**
     * Times until a stage, of all signals of an eventfd. Those of a histogram are known by their powers of two.
     *
     * @param eventfd its id
     * @param powers how many were in (2<sup>n-1</sup>, 2<sup>n</sup>] nanoseconds, by n
     * @param max the longest, in nanoseconds
     */
    public record Latency(Stage stage, int eventfd, SortedMap<Integer, Long> powers, long max) {
        public Latency {
            powers = Collections.unmodifiableSortedMap(new TreeMap<>(powers));
        }
    }

    public ProbeCounts {
        handlers = List.copyOf(handlers);
        irqfds = List.copyOf(irqfds);
        starved = List.copyOf(starved);
        raised = List.copyOf(raised);
        unrouted = List.copyOf(unrouted);
        accepted = List.copyOf(accepted);
        taken = List.copyOf(taken);
        ended = List.copyOf(ended);
        callers = List.copyOf(callers);
        latencies = List.copyOf(latencies);
        missing = List.copyOf(missing);
    }
}
