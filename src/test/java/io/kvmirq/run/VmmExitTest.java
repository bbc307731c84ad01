/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.JavaProcess;
import io.kvmirq.testing.Machine;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A VMM whose handler calls System.exit when the guest powers off, and whose hook for Ctrl-C closes it. */
class VmmExitTest {
    private static final long LONGEST_SECONDS = 300;
    private static final int POWER_OFF = 3;

    /** A program that should end by itself. */
    static final class Vmm {
        private Vmm() {}

        /** @param arguments a binding, and threads or loop */
        public static void main(String[] arguments) throws InterruptedException {
            Kernel kernel = Kernel.over(Backends.ofThisMachine().open(arguments[0]));
            if (arguments[1].equals("loop")) {
                runLoop(kernel);
            } else {
                runThreads(kernel);
            }
        }

        private static void runLoop(Kernel kernel) {
            EventLoop loop = EventLoop.create(kernel);
            EventFd event = EventFd.create(kernel);
            Runtime.getRuntime().addShutdownHook(new Thread(loop::close));
            loop.register(event, count -> System.exit(POWER_OFF));
            event.signal();
            loop.run();
        }

        private static void runThreads(Kernel kernel) throws InterruptedException {
            Vm vm = Vm.create(kernel);
            vm.x86().createIrqchip();
            AssembledGuest guest = new AssembledGuest(vm, "loop: out 0xe1, al; jmp loop");
            VcpuThreads threads = VcpuThreads.startPaused(guest.vcpus, new VcpuThreads.Owner() {
                @Override
                public boolean exited(Vcpu exited, VcpuExit exit) {
                    System.exit(POWER_OFF);
                    return false;
                }

                @Override
                public void failed(Vcpu failed, Throwable failure) {
                    failure.printStackTrace();
                }
            });
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                threads.close();
                guest.close();
                vm.close();
                kernel.close();
            }));
            threads.resume();
            threads.join();
        }
    }

    @ParameterizedTest
    @CsvSource({
        "fake, threads", "jni, threads", "jna, threads", "jnr, threads", "ffm, threads",
        "fake, loop", "jni, loop", "jna, loop", "jnr, loop", "ffm, loop"
    })
    void handlerMayEndTheProgramWhileAHookCloses(String binding, String handle) throws Exception {
        assumeTrue(!binding.equals("ffm") || Runtime.version().feature() >= 22, "FFM needs Java 22");
        if (handle.equals("threads") && !binding.equals(Backends.FAKE)) {
            Machine.kvmFlaw().or(Machine::irqchipFlaw).ifPresent(flaw -> assumeTrue(false, flaw));
        }
        Process vmm = JavaProcess.start(List.of(), Vmm.class, binding, handle);
        try {
            assertThat(vmm.waitFor(LONGEST_SECONDS, TimeUnit.SECONDS)).isTrue();
            assertThat(vmm.inputReader().lines()).isEmpty();
            assertThat(vmm.exitValue()).isEqualTo(POWER_OFF);
        } finally {
            vmm.destroyForcibly();
        }
    }
}
