/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Rounds;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * The cost of attaching the vectors of a device to a VM, and of detaching them: eventfds stand in for the device. Each
 * comparison takes turns in one process, each time on a new VM. It reports and asserts no time; {@code
 * scripts/bench-attach} runs it.
 *
 * <p>The other half is {@code src/test/native/attach.c}.
 */
final class AttachBench {
    private static final int FIRST_GSI = 24;
    private static final int ROUNDS = 31;
    private static final int WARM_UP_ROUNDS = 20;
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));

    /** In each, the first side over the second should not exceed the goal. */
    private enum Op {
        ATTACH("attach: Java, one commit / C, one commit", 1.2),
        ATTACH_SINGLY("attach: Java, one commit / C, a commit each", 1 / 70.0),
        DETACH("detach: Java, closeAll / C, deassign each", 1 / 1.8),
        DETACH_JAVA("detach: Java, closeAll / Java, close each", 1 / 1.8);

        private final String title;
        private final double goal;

        Op(String title, double goal) {
            this.title = title;
            this.goal = goal;
        }
    }

    private final PrintStream out;
    private final Kernel kernel;
    private final int vectors;
    private final ByteBuffer fds;

    private AttachBench(PrintStream out, Kernel kernel, int vectors) {
        this.out = out;
        this.kernel = kernel;
        this.vectors = vectors;
        this.fds = Buffers.allocate(vectors * Integer.BYTES);
    }

    private static native int attachInC(int vm, ByteBuffer fds, int first, int count, boolean singly);

    private static native int detachInC(int vm, ByteBuffer fds, int first, int count);

    /** @param arguments the absolute path of the other half, then numbers of vectors */
    public static void main(String[] arguments) {
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.open("jni")) {
            for (String vectors : List.of(arguments).subList(1, arguments.length)) {
                new AttachBench(System.out, kernel, Integer.parseInt(vectors)).run();
            }
        }
    }

    private void run() {
        double first = java(Op.ATTACH);
        for (int i = 0; i < WARM_UP_ROUNDS; i++) {
            java(Op.ATTACH);
            java(Op.DETACH);
            c(Op.DETACH_JAVA);
        }
        Rounds.of(Op.values(), ROUNDS, this::java, this::c).forEach(this::print);
        out.printf(
                Locale.ROOT,
                "%-6d%-46s%8.2f ms%n",
                vectors,
                "attach: Java, before the warm-up of this row's size",
                first / 1e6);
    }

    private void print(Op op, Rounds rounds) {
        out.printf(
                Locale.ROOT,
                "%-6d%-46s%8.2f%10.2f%10.4f%9.4f%9.4f%11.2f%s%n",
                vectors,
                op.title,
                rounds.java(50) / 1e6,
                rounds.c(50) / 1e6,
                rounds.ratio(),
                op.goal,
                rounds.java(10) / rounds.c(10),
                rounds.spread(),
                rounds.isCalm() ? "" : "  not calm");
    }

    private static void require(int result) {
        if (result < 0) {
            throw new IllegalStateException("the kernel answers " + result);
        }
    }

    /** The first side, in nanoseconds. */
    private double java(Op op) {
        boolean attaching = op == Op.ATTACH || op == Op.ATTACH_SINGLY;
        return inJava(attaching, true);
    }

    /** The second side, in nanoseconds. */
    private double c(Op op) {
        return op == Op.DETACH_JAVA ? inJava(false, false) : inC(op == Op.DETACH, op == Op.ATTACH_SINGLY);
    }

    private double inJava(boolean timeAttach, boolean together) {
        try (Vm vm = Vm.create(kernel)) {
            vm.createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            List<EventFd> events = new ArrayList<>(vectors);
            for (int i = 0; i < vectors; i++) {
                events.add(EventFd.create(kernel));
            }
            List<Gsi> gsis = vm.routes().change(edit -> {
                List<Gsi> added = new ArrayList<>(vectors);
                for (int i = 0; i < vectors; i++) {
                    added.add(edit.add(MESSAGE));
                }
                return added;
            });
            List<Irqfd> irqfds = vm.assignIrqfds(events, gsis);
            long attached = System.nanoTime();
            if (vm.routes().commits() != 1) {
                throw new IllegalStateException(vm.routes().commits() + " commits of routes: expected 1");
            }
            long detaching = System.nanoTime();
            events.forEach(EventFd::close);
            if (together) {
                Irqfd.closeAll(irqfds);
            } else {
                irqfds.forEach(Irqfd::close);
            }
            long detached = System.nanoTime();
            return timeAttach ? attached - start : detached - detaching;
        }
    }

    private double inC(boolean timeDetach, boolean singly) {
        try (Vm vm = Vm.create(kernel);
                Fd.Lease lease = vm.fd().lease()) {
            vm.createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            require(attachInC(lease.number(), fds, FIRST_GSI, vectors, singly));
            long attached = System.nanoTime();
            require(detachInC(lease.number(), fds, FIRST_GSI, vectors));
            long detached = System.nanoTime();
            return timeDetach ? detached - attached : attached - start;
        }
    }
}
