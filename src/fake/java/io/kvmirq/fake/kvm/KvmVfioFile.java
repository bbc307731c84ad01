/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.file.VfioLines;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmArchForwardedIrq;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The KVM-VFIO device of a VM. It references added files, and with the patches of 2014 devices of forwarded interrupts.
 * Source: virt/kvm/vfio.c; "[PATCH v3 7/8] KVM: kvm-vfio: generic forwarding control", with the remarks of its review.
 */
final class KvmVfioFile extends KvmDeviceFile {
    /** A forwarded interrupt, identified by VFIO's index and subindex, not by its GSI. */
    private record Irq(VfioLines device, int index, int subindex) {}

    private final VmInterrupts vm;
    private final Runnable gone;
    private final List<FakeFile> files = new ArrayList<>();
    /** The GSI of each forwarded interrupt. */
    private final Map<Irq, Integer> forwarded = new LinkedHashMap<>();

    /** @param gone called when the last descriptor is closed */
    KvmVfioFile(VmInterrupts vm, Runnable gone) {
        super(vm.host(), false);
        this.vm = vm;
        this.gone = gone;
    }

    @Override
    protected int has(Attribute attribute) {
        boolean known = attribute.group() == Uapi.KVM_DEV_VFIO_FILE
                && (attribute.number() == Uapi.KVM_DEV_VFIO_FILE_ADD
                        || attribute.number() == Uapi.KVM_DEV_VFIO_FILE_DEL);
        return known || isForwarding(attribute) ? 0 : host.refuse(InterruptAnswer.VFIO_ATTRIBUTE);
    }

    private boolean isForwarding(Attribute attribute) {
        return host.build().historic()
                && attribute.group() == Uapi.KVM_DEV_VFIO_DEVICE
                && (attribute.number() == Uapi.KVM_DEV_VFIO_DEVICE_FORWARD_IRQ
                        || attribute.number() == Uapi.KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ);
    }

    @Override
    protected int set(Attribute attribute) {
        int refused = has(attribute);
        if (refused == 0 && isForwarding(attribute)) {
            return host.copied(
                    attribute.address(),
                    KvmArchForwardedIrq.SIZE,
                    irq -> setForwarding(attribute.number() == Uapi.KVM_DEV_VFIO_DEVICE_FORWARD_IRQ, irq));
        }
        return refused < 0
                ? refused
                : host.copied(
                        attribute.address(),
                        Integer.BYTES,
                        file -> setFile(attribute.number() == Uapi.KVM_DEV_VFIO_FILE_ADD, file.getInt(0)));
    }

    private int setFile(boolean add, int fd) {
        FakeFile file = host.file(fd);
        if (file == null) {
            return host.refuse(InterruptAnswer.VFIO_FILE_FD);
        }
        return add ? add(file) : delete(file);
    }

    private int add(FakeFile file) {
        if (!file.isVfio()) {
            return host.refuse(InterruptAnswer.VFIO_NOT_A_VFIO_FILE);
        }
        if (files.contains(file)) {
            return host.refuse(InterruptAnswer.VFIO_FILE_TWICE);
        }
        files.add(file);
        file.addReference();
        vm.assigned();
        return 0;
    }

    private int delete(FakeFile file) {
        if (!files.remove(file)) {
            return host.refuse(InterruptAnswer.VFIO_FILE_UNKNOWN);
        }
        drop(file);
        return 0;
    }

    private void drop(FakeFile file) {
        file.closed();
        vm.unassigned();
    }

    // Forwarding

    private int setForwarding(boolean forward, ByteBuffer given) {
        FakeFile file = host.file(given.getInt(KvmArchForwardedIrq.FD));
        Optional<VfioLines> device = file == null ? Optional.empty() : file.device();
        if (device.isEmpty()) {
            return host.refuse(InterruptAnswer.FORWARD_NOT_A_DEVICE);
        }
        Irq irq = new Irq(
                device.get(), given.getInt(KvmArchForwardedIrq.INDEX), given.getInt(KvmArchForwardedIrq.SUBINDEX));
        return forward ? forward(irq, given.getInt(KvmArchForwardedIrq.GSI)) : unforward(irq);
    }

    private int forward(Irq irq, int gsi) {
        if (forwarded.containsKey(irq)) {
            return host.refuse(InterruptAnswer.FORWARD_TWICE);
        }
        if (!vm.forwards()) {
            host.note(InterruptAnswer.FORWARD_STUB);
        } else {
            Optional<Answer> refused = forwardLine(irq, gsi);
            if (refused.isPresent()) {
                return host.refuse(refused);
            }
        }
        forwarded.put(irq, gsi);
        irq.device().hold();
        return 0;
    }

    /** Forwards an interrupt. The architecture gets the VM, the host interrupt and the GSI, but not VFIO's index. */
    private Optional<Answer> forwardLine(Irq irq, int gsi) {
        Optional<HostLine> line = irq.device().line(irq.index(), irq.subindex());
        if (line.isEmpty()) {
            return Optional.of(InterruptAnswer.FORWARD_NO_LINE);
        }
        return line.get().isSignalled() ? Optional.of(InterruptAnswer.FORWARD_SIGNALLED) : vm.forward(line.get(), gsi);
    }

    private int unforward(Irq irq) {
        if (!forwarded.containsKey(irq)) {
            return host.refuse(InterruptAnswer.FORWARD_UNKNOWN);
        }
        end(irq);
        return 0;
    }

    /** Ends a forwarding. Cannot fail in any state of the interrupt. */
    private void end(Irq irq) {
        host.note(InterruptAnswer.UNFORWARD_LIVE);
        Integer gsi = forwarded.remove(irq);
        if (gsi != null && vm.forwards()) {
            irq.device().line(irq.index(), irq.subindex()).ifPresent(line -> vm.unforward(line, gsi));
        }
        irq.device().unhold();
    }

    @Override
    protected void released() {
        List.copyOf(forwarded.keySet()).forEach(this::end);
        files.forEach(this::drop);
        gone.run();
    }
}
