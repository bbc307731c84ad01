/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static io.kvmirq.selftest.PendingScenarios.RAM;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Spi;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.function.BooleanSupplier;

/** A VGICv3 with an ITS, whose vCPU never runs: an interrupt has arrived when it is pending. */
final class VgicTarget extends ForwardTarget {
    private static final Spi LINE = new Spi(42);

    private final Undo parts = new Undo();
    private final Vm vm;
    private final VgicV3 vgic;
    private final ItsDriver driver;
    private final Patience patience;

    VgicTarget(Kernel kernel, Patience patience) {
        this.patience = patience;
        try (Undo undo = new Undo()) {
            vm = undo.add(parts.add(Vm.create(kernel)));
            undo.add(parts.add(vm.createVcpu(Board.VCPU))).arm64().initialize();
            require(KvmDevice.Type.VGIC_V3, ForwardSelftest.NO_GICV3);
            vgic = undo.add(parts.add(vm.arm64().createVgicV3()));
            vgic.init();
            require(KvmDevice.Type.ITS, ItsDriver.NO_ITS);
            Its service = undo.add(parts.add(vm.arm64().createIts()));
            service.setAddress(ItsDriver.ITS);
            service.init();
            GuestMemory memory = undo.add(parts.add(vm.addMemory(RAM, ItsDriver.MEMORY)));
            driver = new ItsDriver(vgic, service, RAM, 0, memory);
            driver.enable(Board.VCPU);
            driver.mapDevice();
            undo.keep();
        }
    }

    private void require(KvmDevice.Type type, String otherwise) {
        if (!vm.supports(type)) {
            throw new UnsupportedOperationException(otherwise);
        }
    }

    @Override
    Vm vm() {
        return vm;
    }

    @Override
    boolean runsGuest() {
        return false;
    }

    private static int lpi(int vector) {
        return InterruptId.FIRST_LPI + vector;
    }

    @Override
    MsiMessage message(int vector) {
        return ItsDriver.message(vector);
    }

    @Override
    String name(int vector) {
        return "LPI " + lpi(vector);
    }

    @Override
    Gsi line() {
        vgic.makeLevel(LINE);
        return new Gsi(LINE.pin());
    }

    @Override
    String lineName() {
        return "SPI " + LINE.number();
    }

    @Override
    void start() {}

    /**
     * Each vector has an LPI of its own: no guest would take it before the next round. It is mapped only now, after it
     * was forwarded: else hardware with GICv4 would have it, whose pending state KVM does not show.
     */
    @Override
    long arrivals(int vector, Runnable trigger) {
        driver.mapEvent(vector, lpi(vector));
        mirror().apply(ItsDriver.mapped(vector, lpi(vector)));
        return arrivals(() -> driver.isPending(lpi(vector)), trigger);
    }

    @Override
    long lineArrivals(Runnable trigger) {
        return arrivals(() -> vgic.isHigh(LINE), trigger);
    }

    private long arrivals(BooleanSupplier pending, Runnable trigger) {
        Scenarios.require(!pending.getAsBoolean(), "the interrupt was pending before it was triggered");
        trigger.run();
        return patience.eventually(pending) ? 1 : 0;
    }

    @Override
    public void close() {
        parts.close();
    }
}
