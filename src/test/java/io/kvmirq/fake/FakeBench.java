/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.List;

/**
 * The cost of the fake beside the real kernel: a signal that a route takes to a LAPIC against an eventfd nobody listens
 * to, and a VM with 4096 routes and irqfds against the same one, in one process. {@code make bench T=fake} runs it.
 */
final class FakeBench {
    private static final int ROUNDS = 61;
    private static final int WARM_UP_ROUNDS = 20;
    private static final int SIGNALS = 20_000;
    private static final int VMS = 31;
    private static final int WARM_UP_VMS = 5;
    private static final int IRQFDS = 4096;
    private static final VcpuId VCPU = new VcpuId(0);

    private enum Op {
        SIGNAL,
        VM
    }

    private FakeBench() {}

    public static void main(String[] arguments) {
        Bench bench = new Bench("fake");
        try (Kernel real = Kernel.open("jni");
                Kernel fake = new FakeKernel(Profile.V6_18).open()) {
            signals(bench, real, fake);
            Op[] vm = {Op.VM};
            Rounds.of(vm, bench.warmUp(WARM_UP_VMS), op -> open(fake), op -> open(real));
            bench.measure(
                    vm,
                    VMS,
                    op -> open(fake),
                    op -> open(real),
                    op -> new Bench.Title(
                            "fake / real: a VM with " + IRQFDS + " routes and irqfds", Goal.atMost(0.35)));
        }
    }

    private static void signals(Bench bench, Kernel real, Kernel fake) {
        try (EventFd alone = EventFd.create(real);
                Vm vm = Vm.create(fake);
                EventFd routed = EventFd.create(fake)) {
            vm.createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(VCPU)) {
                vcpu.enableLapic();
                Gsi gsi = vm.routes().add(MsiMessage.to(VCPU, new InterruptVector(0x31)));
                try (Irqfd irqfd = vm.assignIrqfd(routed, gsi)) {
                    Op[] signal = {Op.SIGNAL};
                    Rounds.of(signal, bench.warmUp(WARM_UP_ROUNDS), op -> signal(routed), op -> signal(alone));
                    bench.measure(
                            signal,
                            ROUNDS,
                            op -> signal(routed),
                            op -> signal(alone),
                            op -> new Bench.Title(
                                    "fake / real: a signal, on the fake through " + irqfd.gsi() + " to the LAPIC",
                                    Goal.atMost(0.25)));
                }
            }
        }
    }

    private static double signal(EventFd event) {
        long start = System.nanoTime();
        for (int i = 0; i < SIGNALS; i++) {
            event.signal();
        }
        return (double) (System.nanoTime() - start) / SIGNALS;
    }

    /** The time until all is assigned; closing is not timed. */
    private static long open(Kernel kernel) {
        List<EventFd> events = new ArrayList<>();
        long start = System.nanoTime();
        try (Vm vm = Vm.create(kernel)) {
            vm.createSplitIrqchip(0);
            List<Gsi> gsis = vm.routes().change(edit -> {
                List<Gsi> added = new ArrayList<>();
                for (int i = 0; i < IRQFDS; i++) {
                    added.add(edit.add(MsiMessage.to(VCPU, new InterruptVector(0x20 + i % 200))));
                }
                return added;
            });
            List<Irqfd> irqfds = new ArrayList<>();
            for (Gsi gsi : gsis) {
                EventFd event = EventFd.create(kernel);
                events.add(event);
                irqfds.add(vm.assignIrqfd(event, gsi));
            }
            long took = System.nanoTime() - start;
            irqfds.forEach(Irqfd::close);
            return took;
        } finally {
            events.forEach(EventFd::close);
        }
    }
}
