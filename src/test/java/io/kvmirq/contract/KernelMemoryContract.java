/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.vfio.VfioDevice;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The ways of a device's vectors in the memory of a real kernel, and what the command says of them, against the set-up. */
@Tag("contract")
@Tag(RealKvm.TAG)
class KernelMemoryContract {
    private static final int MOST = 16;
    private static final HostFiles FILES = HostFiles.of(Path.of("/"));

    @ParameterizedTest
    @EnumSource(names = {"E1000E", "EDU", "NVME"})
    void wayInMemoryIsTheOneThatWasSetUp(TestDevice of) {
        assumeTrue(of.onThisMachine().isPresent(), of.isMissing());
        PciAddress address = PciAddress.parse(of.onThisMachine().orElseThrow().address());
        try (KernelPaths memory = KernelPaths.of(FILES, KernelStructures.CORE);
                Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            assumeTrue(
                    memory.irqfds().known().isPresent(), () -> memory.irqfds().toString());
            vm.x86().createIrqchip();
            try (Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1));
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice device = VfioDevice.open(kernel, address, kvmVfio);
                    Forwarding forwarding = Forwarding.of(vm, device)) {
                first.x86().enableLapic();
                second.x86().enableLapic();
                device.config().enableBusMaster();
                Map<Integer, MsiMessage> messages = new HashMap<>();
                List<ForwardedIrq> irqs = forwarding.forwardAll(
                        of == TestDevice.EDU
                                ? device.msi(0, 1)
                                : device.msix(0, Math.min(MOST, device.msix().size())),
                        i -> MsiMessage.to(new VcpuId(i % 2), new InterruptVector(0x41 + i)));
                irqs.forEach(
                        irq -> messages.put(irq.irq().number(), irq.message().orElseThrow()));
                int compared = 0;
                List<ArmedVector> armed = new HostFacts(FILES).armed(address);
                assertThat(armed).hasSameSizeAs(irqs);
                for (ArmedVector one : armed) {
                    KernelPaths.KernelPath path = memory.of(one.irq()).known().orElseThrow();
                    assertThat(path.entry().known().orElseThrow().orElseThrow().source())
                            .isEqualTo(address.requesterId());
                    List<KernelIrqfd> irqfds = path.irqfds().known().orElseThrow();
                    assertThat(irqfds).hasSize(1);
                    assertThat(irqfds.get(0).message()).contains(messages.get(one.vector()));
                    assertThat(irqfds.get(0).route()).contains(messages.get(one.vector()));
                    assertThat(Drift.of(path)).noneMatch(field -> field.verdict() == Drift.Verdict.DIFFER);
                    compared += (int) Drift.of(path).stream()
                            .filter(field -> field.verdict() == Drift.Verdict.AGREE)
                            .count();
                }
                System.out.println("lab-memory: " + of + ": " + armed.size() + " vectors, " + compared
                        + " fields compared, 0 differ");
                commandSaysSo(
                        of,
                        address,
                        armed.get(0).irq(),
                        messages.get(armed.get(0).vector()));
                if (of == TestDevice.E1000E) {
                    device.reset(); // it counts 128 us from its last message
                }
            }
        }
    }

    private static void commandSaysSo(TestDevice of, PciAddress address, HostIrq irq, MsiMessage message) {
        String number = String.valueOf(irq.number());
        Cli.run("explain", number, "--no-kernel-memory"); // classes are loaded once
        long begin = System.nanoTime();
        Cli.Ended without = Cli.run("explain", number, "--no-kernel-memory");
        long between = System.nanoTime();
        Cli.Ended with = Cli.run("explain", number, "--evidence");
        long end = System.nanoTime();
        System.out.println("lab-memory: explain took " + (between - begin) / 1_000_000 + " ms, with kernel memory "
                + (end - between) / 1_000_000 + " ms");
        if (of == TestDevice.E1000E) {
            with.out().lines().forEach(line -> System.out.println("lab-memory: | " + line));
        }
        assertThat(without.out()).doesNotContain("kernel memory");
        assertThat(with.exitCode()).isEqualTo(without.exitCode());
        assertThat(with.out())
                .contains("the message: " + message + " [observed: kernel memory, kvm_kernel_irqfd.irq_entry.msi]")
                .contains("GSI            ok ")
                .contains("[observed: kernel memory, ir")
                .doesNotContain("DIFFER");
        assertThat(Cli.run("list", "--device", address.toString()).out()).contains("  no  ");
        assertThat(Cli.run("doctor", "--check", "kernel-memory").exited(0).out())
                .contains("PASS")
                .contains(" 0 differ");
    }
}
