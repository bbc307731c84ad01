/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.List;

/**
 * The cost of the fake beside the real kernel: a signal that a route takes to a LAPIC against an eventfd nobody listens
 * to, and a VM with 4096 routes and irqfds against the same one. {@code make bench T=fake} runs it.
 */
final class FakeBench {
    private static final int IRQFDS = 4096;
    private static final VcpuId VCPU = new VcpuId(0);

    private FakeBench() {}

    public static void main(String[] arguments) {
        Bench bench = new Bench("fake");
        try (Kernel real = Kernel.open("jni");
                Kernel fake = new FakeKernel(Profile.V6_18).open()) {
            signals(bench, real, fake);
            String title = "fake / real: a VM with " + IRQFDS + " routes and irqfds";
            bench.measure(5, 31, List.of(new Row(title, 0.35, () -> open(fake), () -> open(real))));
        }
    }

    private static void signals(Bench bench, Kernel real, Kernel fake) {
        try (EventFd alone = EventFd.create(real);
                Vm vm = Vm.create(fake);
                EventFd routed = EventFd.create(fake)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(VCPU)) {
                vcpu.x86().enableLapic();
                Gsi gsi = vm.routes().add(MsiMessage.to(VCPU, new InterruptVector(0x31)));
                try (Irqfd irqfd = vm.assignIrqfd(routed, gsi)) {
                    String title = "fake / real: a signal, on the fake through " + irqfd.gsi() + " to the LAPIC";
                    Row row = Row.of(title, 0.25, 1, count -> signal(routed, count), count -> signal(alone, count));
                    bench.measure(20, 61, List.of(row));
                }
            }
        }
    }

    private static long signal(EventFd event, int count) {
        for (int i = 0; i < count; i++) {
            event.signal();
        }
        return count;
    }

    /** The time until all is assigned; closing is not timed. */
    private static long open(Kernel kernel) {
        List<EventFd> events = new ArrayList<>();
        long start = System.nanoTime();
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(0);
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
