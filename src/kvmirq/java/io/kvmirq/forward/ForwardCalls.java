/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmArchForwardedIrq;
import io.kvmirq.uapi.Uapi.KvmDeviceAttr;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.vfio.LineIrq;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/** The calls on KVM-VFIO devices. Leased files stay open, so they can be removed after their owner is closed. */
final class ForwardCalls extends Calls {
    ForwardCalls(Kernel kernel) {
        super(kernel);
    }

    /** The kernel's host files, or a fake's. */
    HostFiles hostFiles() {
        return libc().hostFiles();
    }

    KvmVfio adopt(int number, Ownership ownership, Function<Fd, KvmVfio> owner) {
        return adopted(
                "kvm-vfio",
                number,
                ownership,
                owner,
                "a KVM-VFIO device, made by KVM_CREATE_DEVICE",
                FileKind.KVM_VFIO.label());
    }

    void warnOf(List<String> defects) {
        defects.forEach(this::warn);
    }

    /** Runs the injector of a line that is being closed. Its exceptions do not stop the close. */
    void tellInjector(Runnable listener) {
        tell("the injector of a line that ends", listener);
    }

    void add(Fd.Lease kvmVfio, Fd.Lease file, String name) {
        check(
                backend().deviceVfioAdd(number(kvmVfio), number(file)),
                KernelCall.KVM_VFIO_ADD,
                Set.of(),
                () -> "kvm-vfio=" + kvmVfio.number() + " " + name);
    }

    void remove(Fd.Lease kvmVfio, Fd.Lease file) {
        backend().deviceVfioRemove(number(kvmVfio), number(file));
    }

    void closeDevice(Fd kvmVfio) {
        close(kvmVfio);
    }

    // KVM_DEV_VFIO_DEVICE, which no merged kernel has

    /** Whether KVM_HAS_DEVICE_ATTR finds FORWARD_IRQ and UNFORWARD_IRQ. Changes nothing. */
    boolean hasForwarding(Fd kvmVfio) {
        return has(kvmVfio, Uapi.KVM_DEV_VFIO_DEVICE_FORWARD_IRQ)
                && has(kvmVfio, Uapi.KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ);
    }

    private boolean has(Fd kvmVfio, long attribute) {
        int result = call(kvmVfio, raw -> backend().deviceAttrHas(raw, Uapi.KVM_DEV_VFIO_DEVICE, attribute));
        if (result == -Errno.ENXIO.number()) {
            return false;
        }
        check(
                result,
                KernelCall.ATTRIBUTE_PROBE,
                Set.of(),
                () -> kvmVfio + " group=" + Uapi.KVM_DEV_VFIO_DEVICE + " attr=" + attribute);
        return true;
    }

    /**
     * The argument of both attributes. Only here does KVM get a VFIO index, which identifies the line because each line
     * has its own index.
     */
    ByteBuffer forwarded(Fd.Lease device, LineIrq irq, Gsi gsi) {
        int index = irq.info().kind() == IrqKind.PLATFORM ? irq.number() : UapiVfio.VFIO_PCI_INTX_IRQ_INDEX;
        return Buffers.allocate(KvmArchForwardedIrq.SIZE)
                .putInt(KvmArchForwardedIrq.FD, number(device))
                .putInt(KvmArchForwardedIrq.INDEX, index)
                .putInt(KvmArchForwardedIrq.SUBINDEX, 0)
                .putInt(KvmArchForwardedIrq.GSI, gsi.number());
    }

    /** Creates an attribute that points to {@code forwarded}, which the caller keeps reachable. */
    ByteBuffer attribute(long number, ByteBuffer forwarded) {
        return Buffers.allocate(KvmDeviceAttr.SIZE)
                .putInt(KvmDeviceAttr.GROUP, Uapi.KVM_DEV_VFIO_DEVICE)
                .putLong(KvmDeviceAttr.ATTR, number)
                .putLong(KvmDeviceAttr.ADDR, libc().addressOf(forwarded));
    }

    void forward(Fd.Lease kvmVfio, ByteBuffer forwarded, LineIrq irq, Gsi gsi) {
        ByteBuffer attribute = attribute(Uapi.KVM_DEV_VFIO_DEVICE_FORWARD_IRQ, forwarded);
        try {
            check(
                    set(kvmVfio, attribute),
                    KernelCall.KVM_VFIO_FORWARD,
                    Set.of(),
                    () -> "kvm-vfio=" + kvmVfio.number() + " " + irq + " gsi=" + gsi.number());
        } finally {
            Reference.reachabilityFence(forwarded);
        }
    }

    /** Sets an attribute. Does not allocate. */
    int set(Fd.Lease kvmVfio, ByteBuffer attribute) {
        return libc().ioctl(number(kvmVfio), Uapi.KVM_SET_DEVICE_ATTR, attribute);
    }
}
