/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.IoAddress;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.AssembledGuest;
import java.time.Duration;

/**
 * {@code main}: a program that runs a guest and does not end its run, or only on the way out. Its guest has begun when it
 * prints a line.
 */
final class ForgottenVcpuUser {
    private static final int PORT = 0x82;
    private static final String HALTS = "out 0x82, al; idle: hlt; jmp idle";
    private static final String LOOPS = "out 0x82, al; jmp $";

    private ForgottenVcpuUser() {}

    /** @param arguments a binding; then daemon, exit, signal or throws; then halts or loops */
    public static void main(String[] arguments) throws InterruptedException {
        String way = arguments[1];
        Kernel kernel = Kernel.over(Backends.ofThisMachine().open(arguments[0]));
        Vm vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        Vcpu vcpu = new AssembledGuest(vm, arguments[2].equals("halts") ? HALTS : LOOPS).vcpu;
        EventFd told = EventFd.create(kernel);
        vm.assignIoEventFd(IoAddress.port(PORT, 1), told);
        Thread runner = new Thread(() -> {
            vcpu.moveHere();
            System.out.println("ended by " + vcpu.run());
        });
        runner.setDaemon(way.equals("daemon"));
        runner.start();
        if (!told.await(Duration.ofHours(1))) {
            throw new IllegalStateException("the guest does not run");
        }
        switch (way) {
            case "exit" -> {
                System.out.println("runs");
                System.exit(3);
            }
            case "signal" -> {
                Runtime.getRuntime().addShutdownHook(new Thread(() -> endRun(vcpu, runner)));
                System.out.println("runs");
            }
            case "throws" -> {
                try (vcpu) {
                    System.out.println("runs");
                    throw new IllegalStateException("of the VMM");
                }
            }
            default -> System.out.println("runs");
        }
    }

    private static void endRun(Vcpu vcpu, Thread runner) {
        vcpu.close();
        try {
            runner.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
