/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.LongSupplier;

/**
 * The cost of the fake beside the real kernel: a signal that a route takes to a LAPIC against an eventfd nobody listens
 * to, and a VM with 4096 routes and irqfds against the same one. In one process, rounds that take turns, medians. It
 * reports and asserts no time; {@code scripts/bench-fake} runs it.
 */
final class FakeBench {
    private static final int ROUNDS = 61;
    private static final int WARM_UP_ROUNDS = 20;
    private static final int SIGNALS = 20_000;
    private static final int VMS = 15;
    private static final int IRQFDS = 4096;
    private static final VcpuId VCPU = new VcpuId(0);

    private FakeBench() {}

    public static void main(String[] arguments) {
        try (Kernel real = Kernel.open("jni");
                Kernel fake = Kernel.over(new FakeKernel(Profile.V6_18).backend(), Kernel.DEVICE)) {
            signals(real, fake);
            compare("a VM with " + IRQFDS + " routes and irqfds", VMS, 5, 1, () -> open(fake), () -> open(real), "< 1");
        }
    }

    private static void signals(Kernel real, Kernel fake) {
        try (EventFd alone = EventFd.create(real);
                Vm vm = Vm.create(fake);
                EventFd routed = EventFd.create(fake)) {
            vm.createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(VCPU)) {
                vcpu.enableLapic();
                Gsi gsi = vm.routes().add(MsiMessage.to(VCPU, new InterruptVector(0x31)));
                try (Irqfd irqfd = vm.assignIrqfd(routed, gsi)) {
                    compare(
                            "a signal through " + irqfd.gsi() + " to the LAPIC / eventfd write",
                            ROUNDS,
                            WARM_UP_ROUNDS,
                            SIGNALS,
                            () -> signal(routed),
                            () -> signal(alone),
                            "<= 1.5");
                }
            }
        }
    }

    private static long signal(EventFd event) {
        long start = System.nanoTime();
        for (int i = 0; i < SIGNALS; i++) {
            event.signal();
        }
        return System.nanoTime() - start;
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

    private static void compare(
            String what, int rounds, int warmUp, int each, LongSupplier fake, LongSupplier real, String goal) {
        double[] fakes = new double[rounds];
        double[] reals = new double[rounds];
        for (int i = -warmUp; i < rounds; i++) {
            double first = fake.getAsLong();
            double second = real.getAsLong();
            if (i >= 0) {
                fakes[i] = first / each;
                reals[i] = second / each;
            }
        }
        double fakeNanos = median(fakes);
        double realNanos = median(reals);
        System.out.printf(
                Locale.ROOT,
                "%s: fake %.0f ns, real %.0f ns, ratio %.2f (goal %s)%n",
                what,
                fakeNanos,
                realNanos,
                fakeNanos / realNanos,
                goal);
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
