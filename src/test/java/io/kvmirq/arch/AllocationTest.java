/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.model.AvicHost;
import io.kvmirq.arch.amd.model.AvicVm;
import io.kvmirq.arch.amd.model.GaUnit;
import io.kvmirq.arch.gic.model.GuestCpuInterface;
import io.kvmirq.arch.gic.model.InterruptState;
import io.kvmirq.arch.gic.model.VgicVcpu;
import io.kvmirq.arch.gic.model.VgicVm;
import io.kvmirq.arch.intx.model.GuestLine;
import io.kvmirq.arch.intx.model.IntxDevice;
import io.kvmirq.arch.intx.model.IntxVcpu;
import io.kvmirq.arch.intx.model.LineController;
import io.kvmirq.arch.intx.model.LineEvent;
import io.kvmirq.arch.intx.model.PhysicalLine;
import io.kvmirq.arch.intx.model.Signal;
import io.kvmirq.arch.intx.model.VfioIntx;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.posting.PiDescriptor;
import io.kvmirq.arch.vtd.posting.PostedVcpu;
import io.kvmirq.arch.vtd.posting.PostedVm;
import io.kvmirq.testing.Allocations;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Work for each interrupt, or for each entry of a table, allocates nothing. */
class AllocationTest {
    private static final int WARM_UP = 20_000;
    private static final int COUNTED = 1_000;
    private static final int IRR = PiDescriptor.WORDS;

    private long answers;
    private final SharedWords words = SharedWords.of(new long[IRR + PiDescriptor.PIR_WORDS]);

    private void assertAllocatesNothing(IntUnaryOperator operation) {
        repeat(operation, WARM_UP);
        assertThat(Allocations.leastOf(() -> repeat(operation, COUNTED)))
                .as("bytes of %d operations", COUNTED)
                .isZero();
        assertThat(answers).isNotZero();
    }

    private void repeat(IntUnaryOperator operation, int times) {
        for (int i = 0; i < times; i++) {
            answers += operation.applyAsInt(i & 0xff);
        }
    }

    @Test
    void delivering() {
        PiDescriptor pid = PiDescriptor.over(words, 0);
        assertAllocatesNothing(vector -> pid.deliver(vector) ? 1 : 0);
    }

    @Test
    void posting() {
        PiDescriptor pid = PiDescriptor.over(words, 0);
        assertAllocatesNothing(vector -> (int) pid.post(vector, false));
    }

    @Test
    void takingRequests() {
        PiDescriptor pid = PiDescriptor.over(words, 0);
        assertAllocatesNothing(vector -> {
            pid.deliver(vector);
            return pid.sync(words, IRR) ? 1 : 0;
        });
    }

    @Test
    void sleepingAndLoading() {
        PiDescriptor pid = PiDescriptor.over(words, 0);
        assertAllocatesNothing(cpu -> {
            pid.put();
            pid.resume();
            pid.block();
            pid.load(cpu);
            return pid.nv();
        });
    }

    /** The last of two vCPUs, in guest mode on the last CPU of four. */
    private final PostedVm vm = new PostedVm(new HostCpus(0x20, 0x14, 0x12, 0x10), 2, true);

    private final PostedVcpu vcpu = vm.vcpu(1);
    private final HostCpu cpu = vm.host().cpu(3);

    @Test
    void postingToAGuest() {
        vcpu.thread().load(3);
        vcpu.thread().enter();
        assertAllocatesNothing(vector -> {
            boolean notified = vcpu.post(vector, false);
            cpu.takeInterrupt();
            return notified && vcpu.isInIrr(vector) ? 1 : 0;
        });
    }

    @Test
    void deliveringToAGuest() {
        vcpu.thread().load(3);
        vcpu.thread().enter();
        assertAllocatesNothing(vector -> {
            boolean notified = vcpu.deliver(vector) == PostedVcpu.Delivery.NOTIFIED;
            cpu.takeInterrupt();
            return notified && vcpu.isInIrr(vector) ? 1 : 0;
        });
    }

    @Test
    void postingThroughAmdToAGuest() {
        AvicHost avic = new AvicHost(new HostCpus(0x20, 0x14), AvicKernel.FROM_6_17, true);
        GaUnit unit = new GaUnit(avic, new GaUnit.Setup(1, 512, 0x55, true, true));
        AvicVm guest = new AvicVm(avic, 2, 1, 0x1000);
        unit.set(0, 1, 0x22, 0x4100, true);
        guest.irqfd(unit, 0).post(guest.vcpu(1), new InterruptVector(0x41));
        guest.vcpu(1).thread().load(1);
        guest.vcpu(1).thread().enter();
        assertAllocatesNothing(round -> {
            boolean rung = unit.request(0) == GaUnit.Outcome.DOORBELL;
            avic.host().cpu(1).takeInterrupt();
            guest.vcpu(1).end(0x41);
            return rung && !guest.vcpu(1).isRequested(0x41) ? 1 : 0;
        });
    }

    @ParameterizedTest
    @EnumSource
    void lineHandlerAndEoi(IntxDevice.Kind kind) {
        PhysicalLine line = new PhysicalLine(LineController.GIC);
        IntxDevice device = new IntxDevice(line, kind);
        VfioIntx vfio = VfioIntx.create(device, false);
        IntxVcpu guest = new IntxVcpu(new HostCpus(0), 0);
        GuestLine pin = GuestLine.of(guest, 5, Optional.of(vfio));
        LineEvent resamplefd = new LineEvent();
        pin.resampler().add(resamplefd);
        vfio.enable(pin::signal);
        vfio.setUnmaskEvent(resamplefd);
        Signal direct = pin::signalMapped;
        guest.thread().load(0);
        assertAllocatesNothing(round -> {
            if (round == 0x80) {
                vfio.chooseDirect(direct);
            } else if (round == 0) {
                vfio.chooseAutoMask();
            }
            device.request();
            boolean taken = line.take();
            pin.inject();
            guest.thread().enter();
            boolean served = guest.isInService(5);
            device.serve();
            guest.end(5);
            guest.thread().exit();
            return taken && served && !vfio.isMasked() && !line.isActive() ? 1 : 0;
        });
    }

    /** A level, an SGI of two sources and an edge on two list registers: an overflow, an end and its maintenance. */
    @Test
    void syncingListRegisters() {
        VgicVm guest = new VgicVm(new HostCpus(0), 2, 32, 2, id -> {});
        VgicVcpu virtual = guest.vcpu(0);
        guest.distributor().set(InterruptState.ENABLED, 0, 32, -1);
        guest.distributor().set(InterruptState.LEVEL, 0, 32, 1);
        virtual.thread().load(0);
        assertAllocatesNothing(round -> {
            guest.distributor().raise(0, 32);
            guest.distributor().raise(0, 33);
            guest.distributor().send(0, 0, 1);
            guest.distributor().send(1, 0, 1);
            int taken = 0;
            while (virtual.hasInterrupt()) {
                virtual.thread().enter();
                for (int answer = virtual.guest().acknowledge();
                        answer != GuestCpuInterface.SPURIOUS;
                        answer = virtual.guest().acknowledge()) {
                    taken++;
                    if (answer == 32) {
                        guest.distributor().lower(0, 32);
                    }
                    virtual.guest().end(answer);
                }
                virtual.thread().exit();
                guest.host().cpu(0).takeInterrupt();
            }
            return taken == 4 ? 1 : 0;
        });
    }

    @Test
    void postingAndSyncing() {
        vcpu.thread().load(3);
        assertAllocatesNothing(vector -> vcpu.post(vector, false) && vcpu.sync() ? 1 : 0);
    }

    @Test
    void deliveringAndSyncing() {
        vcpu.thread().load(3);
        assertAllocatesNothing(vector -> vcpu.deliver(vector) == PostedVcpu.Delivery.WOKEN && vcpu.sync() ? 1 : 0);
    }

    @Test
    void scanningEntries() {
        assertAllocatesNothing(vector -> {
            long low = PostedIrte.lowWord(0xabc0, vector);
            long high = PostedIrte.highWord(0xabc0, vector, 0, 1);
            long read = Irte.VECTOR.of(low)
                    + Irte.SOURCE_ID.of(high)
                    + PostedIrte.ADDRESS.of(low, high)
                    + Irte.descriptorAddress(low, high);
            return Irte.PRESENT.isSet(low) && Irte.POSTED.isSet(Irte.VECTOR.put(low, 0x33)) ? (int) read : 0;
        });
    }
}
