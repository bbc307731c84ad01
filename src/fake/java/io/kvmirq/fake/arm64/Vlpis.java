/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.arch.gic.model.Lpis;
import io.kvmirq.arch.gic.model.VlpiMapping;
import io.kvmirq.arch.gic.model.VlpiMapping.Outcome;
import io.kvmirq.arch.gic.model.VlpiMapping.Route;
import io.kvmirq.arch.gic.model.Vpe;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.explain.VgicAnswer;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.MessageHostIrq;
import io.kvmirq.fake.kvm.FakeIrqfd;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * The vLPIs of a VM and the vPEs of its vCPUs, which are the consumers of irqbypass on arm64. Each vCPU has its own
 * host CPU. Source: {@code kvm_arch_irq_bypass_add_producer()} in arch/arm64/kvm/arm.c, arch/arm64/kvm/vgic/vgic-v4.c.
 */
final class Vlpis {
    private static final int VLPIS = (1 << 16) - InterruptId.FIRST_LPI;
    private static final int MOST_VPES = 256;

    private final FakeArmVm vm;
    private final Lpis lpis;
    private final boolean gicv4;
    private final VlpiKernel kernel;
    private final Map<FakeIrqfd, VlpiMapping> mappings = new HashMap<>();
    /** Created at the first use, when the VM has all its vCPUs. */
    private List<Vpe> vpes = List.of();

    private Optional<HostCpus> cpus = Optional.empty();
    private int[] doorbells = {};

    Vlpis(FakeArmVm vm, Lpis lpis) {
        Build build = vm.host().build();
        this.vm = vm;
        this.lpis = lpis;
        this.gicv4 = build.hardware() == Hardware.GICV4;
        this.kernel = build.isSince(6, 16) ? VlpiKernel.BY_HOST_IRQ : VlpiKernel.BY_ROUTE;
    }

    private List<Vpe> vpes() {
        if (gicv4 && vpes.isEmpty()) {
            int count = vm.vcpus().size();
            if (count > MOST_VPES) {
                throw new NotModelledException("GICv4 with more than " + MOST_VPES + " vCPUs");
            }
            HostCpus host = new HostCpus(LongStream.range(0, Math.max(1, count)).toArray());
            cpus = Optional.of(host);
            vpes = IntStream.range(0, count)
                    .mapToObj(vcpu -> new Vpe(host, vcpu, Vpe.Version.V4_0, VLPIS, vcpu))
                    .toList();
            doorbells = new int[count];
            IntStream.range(0, count).forEach(vcpu -> host.handle(vcpu, cpu -> doorbells[vcpu]++));
        }
        return vpes;
    }

    /** The vPE of a vCPU, after CPUs have taken pending doorbells; empty without GICv4. */
    Optional<Vpe> vpe(int vcpu) {
        List<Vpe> all = vpes();
        settle();
        return gicv4 ? Optional.of(all.get(vcpu)) : Optional.empty();
    }

    /** Whether an LPI is a pending, enabled vLPI of a sleeping vCPU. */
    boolean isSleptOn(int lpi) {
        OptionalInt vcpu = lpis.vcpu(lpi);
        return lpis.hostIrq(lpi).isPresent()
                && lpis.isEnabledByGuest(lpi)
                && lpis.isPending(lpi)
                && vcpu.isPresent()
                && vpe(vcpu.getAsInt()).filter(vpe -> vpe.thread().isAsleep()).isPresent();
    }

    /** The number of rings of each vPE's doorbell; empty without GICv4. */
    int[] doorbells() {
        vpes();
        settle();
        return doorbells.clone();
    }

    private void settle() {
        cpus.ifPresent(host -> host.cpus().forEach(Vlpis::takeDoorbells));
    }

    private static void takeDoorbells(HostCpu cpu) {
        while (cpu.isInterrupted()) {
            cpu.takeInterrupt();
        }
    }

    // Connections

    /** @return whether the irqfd and the device's interrupt are connected, with or without a vLPI */
    boolean connect(FakeIrqfd irqfd, MessageHostIrq producer, Route route) {
        VlpiMapping mapping = new VlpiMapping(kernel, gicv4, lpis, vpes(), producer.number());
        Optional<VlpiObstacle> refused = mapping.register(route);
        vm.note(refused.isEmpty() ? VgicAnswer.VLPI_MADE : VgicAnswer.VLPI_NOT_MADE);
        if (refused.filter(VlpiObstacle.UNMAPPED::equals).isPresent() && kernel == VlpiKernel.BY_ROUTE) {
            vm.note(VgicAnswer.VLPI_NOT_CONNECTED_BEFORE);
            return false;
        }
        if (producer.entry() instanceof GicHardware.Event event) {
            event.mapTo(vm, producer.number());
        }
        mappings.put(irqfd, mapping);
        return true;
    }

    void reroute(FakeIrqfd irqfd, Route route) {
        note(Objects.requireNonNull(mappings.get(irqfd)).changeRoute(route));
        vm.messages().vlpiEnded(irqfd.event());
        vm.note(kernel == VlpiKernel.BY_HOST_IRQ ? VgicAnswer.VLPI_ENDS_WITH_ROUTE : VgicAnswer.VLPI_STAYS_BEFORE);
    }

    void disconnect(FakeIrqfd irqfd) {
        note(Objects.requireNonNull(mappings.remove(irqfd)).unregister());
        vm.messages().vlpiEnded(irqfd.event());
    }

    private void note(Outcome outcome) {
        if (outcome != Outcome.CLEAN) {
            vm.note(VgicAnswer.VLPI_WARNS);
        }
    }
}
