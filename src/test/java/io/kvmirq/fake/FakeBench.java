/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

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
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;

/**
 * The cost of the fake beside the real kernel: a signal that a route takes to a LAPIC against an eventfd nobody listens
 * to. {@code make bench T=fake} runs it.
 */
@BenchmarkMode(Mode.AverageTime)
public class FakeBench {
    private static final VcpuId VCPU = new VcpuId(0);

    @SuppressWarnings("NullAway.Init")
    private static EventFd routed;

    @SuppressWarnings("NullAway.Init")
    private static EventFd alone;

    public static void main(String[] arguments) {
        try (Kernel real = Kernel.open("jni");
                Kernel fake = new FakeKernel(Profile.V6_18).open();
                Vm vm = Vm.create(fake)) {
            alone = EventFd.create(real);
            routed = EventFd.create(fake);
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(VCPU);
                    Irqfd irqfd =
                            vm.assignIrqfd(routed, vm.routes().add(MsiMessage.to(VCPU, new InterruptVector(0x31))))) {
                vcpu.x86().enableLapic();
                String title = "fake / real: a signal, on the fake through " + irqfd.gsi() + " to the LAPIC";
                List<Row> rows = List.of(new Row(title, 0.25, "signal", "signalReal"));
                Bench bench = new Bench("fake", FakeBench.class);
                bench.warm(1000, rows);
                bench.measure(61, rows);
            }
        }
    }

    @Benchmark
    public void signal() {
        routed.signal();
    }

    @Benchmark
    public void signalReal() {
        alone.signal();
    }
}
