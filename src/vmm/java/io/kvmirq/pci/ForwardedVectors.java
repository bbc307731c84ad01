/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.MsiMessage;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HeldMessage;
import io.kvmirq.mirror.Producer;
import io.kvmirq.vfio.MessageIrqs;
import io.kvmirq.vfio.VfioDevice;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/** The vectors of a passed-through device, each connected by its forwarding. Not thread-safe. */
final class ForwardedVectors implements VectorSource {
    private final Forwarding forwarding;
    private final VfioDevice device;
    private final IrqKind kind;
    private final @Nullable ForwardedIrq[] irqs;

    ForwardedVectors(Forwarding forwarding, VfioDevice device, IrqKind kind, int count) {
        this.forwarding = Objects.requireNonNull(forwarding, "forwarding is null");
        if (forwarding.device() != device) {
            throw new IllegalArgumentException(forwarding + " is not that of " + device.name()
                    + ": create the Forwarding of this device with this handle");
        }
        this.device = device;
        this.kind = kind;
        this.irqs = new ForwardedIrq[count];
    }

    @Override
    public int count() {
        return irqs.length;
    }

    @Override
    public boolean isBusy() {
        return forwarding.irqs().stream().anyMatch(irq -> irq.irq().info().kind() != kind);
    }

    /** False, because the device keeps messages pending only while a vector is connected. */
    @Override
    public boolean keepsPending() {
        return false;
    }

    @Override
    public void connect(int from, int count, IntFunction<MsiMessage> messages) {
        MessageIrqs which = kind == IrqKind.MSI ? device.msi(from, count) : device.msix(from, count);
        List<ForwardedIrq> made = forwarding.forwardMasked(which, i -> messages.apply(from + i));
        for (int i = 0; i < made.size(); i++) {
            irqs[from + i] = made.get(i);
        }
    }

    private ForwardedIrq irq(int vector) {
        return Objects.requireNonNull(irqs[vector], "a vector that is not forwarded");
    }

    private List<ForwardedIrq> irqs(BitSet which) {
        return which.stream().mapToObj(this::irq).toList();
    }

    @Override
    public void mask(BitSet which) {
        forwarding.mask(irqs(which));
    }

    @Override
    public void unmask(BitSet which) {
        forwarding.unmask(irqs(which));
    }

    @Override
    public void reroute(BitSet which, List<MsiMessage> messages) {
        forwarding.reroute(irqs(which), messages::get);
    }

    @Override
    public BitSet disconnect(BitSet which) {
        forwarding.close(irqs(which));
        BitSet pending = new BitSet();
        which.stream().forEach(vector -> {
            pending.set(vector, irq(vector).isPending());
            irqs[vector] = null;
        });
        return pending;
    }

    @Override
    public Optional<MsiMessage> message(int vector) {
        return irq(vector).message();
    }

    @Override
    public Optional<Gsi> gsi(int vector) {
        return irq(vector).gsi();
    }

    @Override
    public boolean isPending(int vector) {
        ForwardedIrq irq = irqs[vector];
        return irq != null && irq.isPending();
    }

    @Override
    public void signal(int vector) {
        irq(vector).event().signal();
    }

    /** Does nothing, because the device's own reset drops its pending messages. */
    @Override
    public void forget() {}

    @Override
    public Vm vm() {
        return forwarding.vm();
    }

    private Producer producer(int vector) {
        return new Producer(device.name(), kind == IrqKind.MSI ? Producer.Kind.MSI : Producer.Kind.MSI_X, vector);
    }

    @Override
    public void held(int vector, HeldMessage message) {
        forwarding.mirror().apply(new Event.Held(producer(vector), message));
    }

    @Override
    public void released(int vector) {
        forwarding.mirror().apply(new Event.Released(producer(vector)));
    }
}
