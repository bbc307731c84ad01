/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;

/** Many objects of a kind at once. Closing ends all. */
final class Scale implements AutoCloseable {
    private static final VcpuId VCPU = new VcpuId(0);
    private static final int VECTORS = 200;

    private final Undo undo = new Undo();

    /** A VM with so many routes and irqfds, attached in one batch. */
    static Scale vectors(Kernel kernel, int count) {
        Scale scale = new Scale();
        scale.vm(kernel, count);
        return scale;
    }

    static Scale vms(Kernel kernel, int count, int vectorsEach) {
        Scale scale = new Scale();
        for (int i = 0; i < count; i++) {
            scale.vm(kernel, vectorsEach);
        }
        return scale;
    }

    /** A VM with so many vCPUs, each with its LAPIC. */
    static Scale vcpus(Kernel kernel, int count) {
        Scale scale = new Scale();
        Vm vm = scale.undo.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        for (int i = 0; i < count; i++) {
            scale.undo.add(vm.createVcpu(new VcpuId(i)));
        }
        return scale;
    }

    private void vm(Kernel kernel, int vectors) {
        Vm vm = undo.add(Vm.create(kernel));
        vm.x86().createSplitIrqchip(0);
        List<EventFd> events = EventFd.createAll(kernel, vectors);
        List<Gsi> gsis = vm.routes().change(edit -> {
            List<Gsi> added = new ArrayList<>(vectors);
            for (int i = 0; i < vectors; i++) {
                added.add(edit.add(MsiMessage.to(VCPU, new InterruptVector(0x20 + i % VECTORS))));
            }
            return added;
        });
        List<Irqfd> irqfds = vm.assignIrqfds(events, gsis);
        undo.add(() -> {
            events.forEach(EventFd::close);
            Irqfd.closeAll(irqfds);
        });
    }

    @Override
    public void close() {
        undo.close();
    }
}
