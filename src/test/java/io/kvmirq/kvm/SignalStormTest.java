/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.jna.Function;
import com.sun.jna.NativeLibrary;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

/** A thread that a profiler interrupts with signals: what the kernel gives up because of one is asked for again. */
@RealKvm(fullIrqchip = true)
class SignalStormTest {
    /** HotSpot has a handler for it that returns at once when it did not send the signal. */
    private static final int SIGUSR2 = 12;

    private static final int ROUNDS = Integer.getInteger("kvmirq.test.storm.rounds", 40);
    private static final long INTERVAL_NANOS = Long.getLong("kvmirq.test.storm.nanos", 100_000);

    private static final VcpuId VCPU = new VcpuId(0);

    @Test
    void everyCallOfASetUpEndsAsWithoutSignals() throws InterruptedException {
        assumeTrue(System.getenv("_JAVA_SR_SIGNUM") == null, "HotSpot was told to handle another signal");
        NativeLibrary libc = NativeLibrary.getProcess();
        Function tgkill = libc.getFunction("tgkill");
        int self = libc.getFunction("gettid").invokeInt(new Object[0]);
        int process = (int) ProcessHandle.current().pid();
        AtomicBoolean over = new AtomicBoolean();
        long[] sent = new long[1];
        Thread storm = new Thread(() -> {
            while (!over.get()) {
                tgkill.invokeInt(new Object[] {process, self, SIGUSR2});
                sent[0]++;
                LockSupport.parkNanos(INTERVAL_NANOS);
            }
        });
        try (Kernel kernel = Kernel.open()) {
            kernel.device();
            long fds = Machine.openFds();
            storm.start();
            for (int i = 0; i < ROUNDS; i++) {
                round(kernel);
            }
            assertThat(Machine.openFds()).isEqualTo(fds);
        } finally {
            over.set(true);
            storm.join();
        }
        System.out.println(ROUNDS + " set-ups under " + sent[0] + " signals");
    }

    private static void round(Kernel kernel) {
        try (Vm vm = Vm.create(kernel);
                EventFd event = EventFd.create(kernel)) {
            vm.x86().createIrqchip();
            Gsi gsi = vm.routes().add(MsiMessage.to(VCPU, new InterruptVector(0x31)));
            try (GuestMemory memory = vm.addMemory(0, 4096);
                    Vcpu vcpu = vm.createVcpu(VCPU);
                    Irqfd irqfd = vm.assignIrqfd(event, gsi);
                    IoEventFd out = vm.assignIoEventFd(IoAddress.port(0x80, 1), event)) {
                memory.mapping().putInt(0, 1);
                vcpu.x86().enableLapic();
                irqfd.mask();
                irqfd.unmask();
                assertThat(event.awaitNanos(1)).isFalse();
                assertThat(out.event()).isSameAs(event);
            }
        }
    }
}
