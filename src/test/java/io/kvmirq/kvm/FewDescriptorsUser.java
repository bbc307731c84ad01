/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * {@code main}: a process that lowers its RLIMIT_NOFILE and asks for more eventfds than that. It prints the refusal, what
 * is left of it, and whether the limit that the refusal asks for is enough.
 */
final class FewDescriptorsUser {
    static final int LIMIT = 2048;
    static final int VECTORS = 4000;
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final Pattern NEEDED = Pattern.compile("ulimit -n (\\d+) or more");

    private FewDescriptorsUser() {}

    /** @param arguments a binding */
    public static void main(String[] arguments) throws Exception {
        try (Kernel kernel = Kernel.open(arguments[0]);
                Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(0);
            attach(vm, 8);
            limit(LIMIT);
            refusal(vm); // opens what is opened once
            long before = Machine.openFds();
            long commits = vm.routes().commits();
            String refusal = refusal(vm);
            System.out.println(refusal);
            System.out.println(Machine.openFds() - before + " descriptors and "
                    + (vm.routes().commits() - commits) + " commits of routes more");
            Matcher needed = NEEDED.matcher(refusal);
            limit(needed.find() ? Integer.parseInt(needed.group(1)) : LIMIT);
            attach(vm, VECTORS);
            System.out.println("attached");
        }
    }

    private static String refusal(Vm vm) {
        try {
            attach(vm, VECTORS);
            return "none";
        } catch (KernelException e) {
            return e.getMessage();
        }
    }

    private static void attach(Vm vm, int count) {
        List<EventFd> events = EventFd.createAll(vm.kernel(), count);
        List<Gsi> gsis = vm.routes().change(edit -> {
            List<Gsi> added = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                added.add(edit.add(MESSAGE));
            }
            return added;
        });
        vm.assignIrqfds(events, gsis);
        events.get(count - 1).signal();
    }

    /** The soft limit: the JVM raised it to the hard one. */
    private static void limit(int descriptors) throws IOException, InterruptedException {
        Process prlimit = new ProcessBuilder(
                        "prlimit",
                        "--pid",
                        Long.toString(ProcessHandle.current().pid()),
                        "--nofile=" + descriptors + ":")
                .inheritIO()
                .start();
        if (prlimit.waitFor() != 0) {
            throw new IOException("prlimit fails");
        }
    }
}
