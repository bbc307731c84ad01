/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.VcpuId;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.undo.Undo;
import io.kvmirq.vmm.StepRunner;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The state of a paused VM whose interrupts are held, so that signals stay in the eventfds. Closing releases all
 * interrupts and restores the counts, unless the VM continues elsewhere.
 */
final class HeldVm implements AutoCloseable {
    private final Map<String, EventFd> events;
    private final Map<String, VmParts.Device> parts;
    /** The steps that let the VM continue, last added first. */
    private final Deque<Runnable> back = new ArrayDeque<>();

    final MachineData vm;
    final List<IrqfdData> irqfds = new ArrayList<>();
    final Map<String, Long> counts = new LinkedHashMap<>();
    final Map<String, DeviceData> devices = new LinkedHashMap<>();

    HeldVm(VmParts of) {
        of.requireEveryChip();
        of.vcpus.forEach((id, vcpu) -> take(new VcpuId(id), vcpu));
        of.requireEveryIrqfd();
        events = new LinkedHashMap<>(of.events);
        parts = new LinkedHashMap<>(of.devices);
        boolean done = false;
        try {
            of.irqfds.forEach((name, irqfd) -> {
                irqfds.add(new IrqfdData(name, irqfd.resample().map(of::name), irqfd.gsi(), irqfd.isMasked()));
                mask(irqfd.isMasked(), irqfd::mask, irqfd::unmask);
            });
            of.vectors.forEach((name, vector) -> {
                irqfds.add(new IrqfdData(name, Optional.empty(), vector.gsi(), vector.isMasked()));
                mask(vector.isMasked(), vector::mask, vector::unmask);
            });
            for (VmParts.Device device : parts.values()) {
                if (!device.state().isHeld()) {
                    back.push(device.state()::release);
                    device.state().hold();
                }
            }
            vm = MachineData.read(of);
            parts.forEach((name, device) -> devices.put(name, DeviceData.read(device)));
            events.forEach((name, event) -> counts.put(name, take(event)));
            done = true;
        } finally {
            if (!done) {
                close();
            }
        }
    }

    private void mask(boolean isMasked, Runnable mask, Runnable unmask) {
        if (!isMasked) {
            mask.run();
            back.push(unmask);
        }
    }

    static void take(VcpuId id, Vcpu vcpu) {
        vcpu.moveHere();
        if (vcpu.isWithinInstruction()) {
            throw new IllegalStateException(id + " is within a guest access, which the next run completes: run it"
                    + " until it returns INTR, then take the snapshot");
        }
    }

    private long take(EventFd event) {
        long count = drain(event);
        if (count != 0) {
            back.push(() -> event.signal(count));
        }
        return count;
    }

    /** Reads an eventfd's whole count, 0 once it is closed. A semaphore returns 1 for each read. */
    static long drain(EventFd event) {
        long sum = 0;
        try {
            long count;
            do {
                count = event.drain();
                sum += count;
            } while (count == 1);
        } catch (ClosedHandleException e) {
            // The signals went with it.
        }
        return sum;
    }

    /**
     * Adds the signals that came after the state was read. A host device's state is not read again, because the device
     * is closed before the new VM opens it.
     */
    void refresh() {
        events.forEach((name, event) -> counts.merge(name, take(event), Long::sum));
        parts.forEach((name, device) -> {
            if (device.state() instanceof EmulatedFunction
                    || !device.state().events().isEmpty()) {
                try {
                    devices.put(name, DeviceData.read(device));
                } catch (ClosedHandleException e) {
                    // The VMM closed it after the first look.
                }
            }
        });
    }

    /** Takes the signals of each emulated device's vectors, including those that are pending in its state. */
    Map<String, List<Long>> takeSignals(Undo undo) {
        Map<String, List<Long>> signals = new LinkedHashMap<>();
        parts.forEach((name, device) -> signals.put(
                name,
                device.state().events().stream()
                        .map(event -> {
                            long count = drain(event);
                            undo.add(() -> signal(event, count));
                            return count;
                        })
                        .toList()));
        return signals;
    }

    static void signal(EventFd event, long count) {
        if (count != 0) {
            event.signal(count);
        }
    }

    /** Moves signals that arrived at this VM's eventfds after the move into another VM. */
    void forward(VmParts to) {
        List<Runnable> steps = new ArrayList<>();
        events.forEach((name, event) -> to.event(name).ifPresent(next -> steps.add(() -> forward(event, next))));
        parts.forEach((name, device) -> {
            List<EventFd> next = Fit.device(to, name).state().events();
            for (int i = 0; i < next.size(); i++) {
                EventFd from = device.state().events().get(i);
                EventFd into = next.get(i);
                steps.add(() -> forward(from, into));
            }
        });
        StepRunner.runAll(steps);
    }

    private static void forward(EventFd from, EventFd to) {
        long count = from == to || to.fd().isClosed() ? 0 : drain(from);
        try {
            signal(to, count);
        } catch (RuntimeException e) {
            StepRunner.runAll(List.of(() -> signal(from, count), () -> {
                throw e;
            }));
        }
    }

    /** Makes {@link #close} do nothing, because the VM continues elsewhere. */
    void keep() {
        back.clear();
    }

    /** Runs every step, even if the kernel refuses one. Skips parts that the VMM closed. */
    @Override
    public void close() {
        List<Runnable> steps = new ArrayList<>();
        back.forEach(step -> steps.add(() -> {
            try {
                step.run();
            } catch (ClosedHandleException e) {
                // closed by the VMM, for the new VM
            }
        }));
        back.clear();
        StepRunner.runAll(steps);
    }
}
