/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.UapiVfio;

/** VFIO_DEVICE_SET_IRQS; source: {@code vfio_pci_set_irqs_ioctl()} in drivers/vfio/pci/vfio_pci_intrs.c. */
record IrqActions(KernelOfFile host, VfioPci device) {
    int apply(IrqSet set) {
        boolean mask = set.action() == UapiVfio.VFIO_IRQ_SET_ACTION_MASK;
        boolean unmask = set.action() == UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK;
        if (!mask && !unmask && set.action() != UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_ACTION);
        }
        return switch (set.index()) {
            case UapiVfio.VFIO_PCI_INTX_IRQ_INDEX -> mask || unmask ? maskIntx(set, mask) : triggerIntx(set);
            case UapiVfio.VFIO_PCI_MSI_IRQ_INDEX, UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX ->
                mask || unmask ? host.refuse(VfioIrqAnswer.VFIO_IRQS_MSI_MASK) : triggerMessages(set);
            default -> mask || unmask ? host.refuse(VfioIrqAnswer.VFIO_IRQS_ERR_REQ) : triggerSingle(set);
        };
    }

    // INTx

    private int maskIntx(IrqSet set, boolean mask) {
        if (device.mode() != InterruptMode.INTX) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_INACTIVE);
        }
        if (set.count() != 1) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_COUNT);
        }
        if (set.isEventfd()) {
            return mask ? host.refuse(VfioIrqAnswer.VFIO_IRQS_INTX_MASK_EVENTFD) : setUnmask(set.fd(0));
        }
        if (set.isChosen(0) && mask) {
            device.intx().mask();
        } else if (set.isChosen(0)) {
            device.intx().unmask();
            device.settle();
        }
        return 0;
    }

    private int setUnmask(int fd) {
        if (fd < 0) {
            device.unmask().clear();
            return 0;
        }
        return IrqSet.onEvent(
                host,
                fd,
                event -> device.unmask().set(event) ? 0 : host.refuse(VfioIrqAnswer.VFIO_IRQS_UNMASK_EVENTFD));
    }

    private int triggerIntx(IrqSet set) {
        boolean on = device.mode() == InterruptMode.INTX;
        if (on && set.count() == 0 && set.isNone()) {
            device.unmask().clear();
            device.intx().disable();
            device.setTrigger(null);
            device.settle();
            return 0;
        }
        if (!on && device.mode() != InterruptMode.NONE) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_OTHER_MODE);
        }
        if (!on && !set.isEventfd()) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_INACTIVE);
        }
        if (set.count() != 1) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_COUNT);
        }
        if (set.isEventfd()) {
            return set.fd(0) < 0 ? triggerNothing(on) : IrqSet.onEvent(host, set.fd(0), event -> trigger(on, event));
        }
        if (set.isChosen(0)) {
            device.intx().loopback();
        }
        return 0;
    }

    private int trigger(boolean on, EventFile event) {
        if (on) {
            device.intx().trigger(() -> event.signal(1));
            device.setTrigger(event);
            return 0;
        }
        if (!device.intx().enable(() -> event.signal(1))) {
            return refuseLine();
        }
        device.setTrigger(event);
        device.settle();
        return 0;
    }

    /** Refuses a busy line. DisINTx is already clear, so the device may assert the line for its other handler now. */
    private int refuseLine() {
        device.settle();
        return host.refuse(VfioIrqAnswer.VFIO_IRQS_SHARED);
    }

    /** Enables INTx without an eventfd, or keeps it so. Its interrupts are not delivered. */
    private int triggerNothing(boolean on) {
        host.note(VfioIrqAnswer.VFIO_INTX_WITHOUT_TRIGGER);
        if (!on && !device.intx().enable(() -> {})) {
            return refuseLine();
        }
        device.intx().unwire();
        device.setTrigger(null);
        device.settle();
        return 0;
    }

    // MSI and MSI-X

    private int triggerMessages(IrqSet set) {
        InterruptMode mode = set.index() == UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX ? InterruptMode.MSIX : InterruptMode.MSI;
        InterruptMode now = device.mode();
        boolean on = now == mode;
        if (on && set.count() == 0 && set.isNone()) {
            device.vectors().disable();
            return 0;
        }
        if (!on && now != InterruptMode.NONE) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_OTHER_MODE);
        }
        if (set.isEventfd()) {
            return device.vectors().set(mode, set);
        }
        return on ? device.vectors().loopback(set) : host.refuse(VfioIrqAnswer.VFIO_IRQS_INACTIVE);
    }

    // The error and the request interrupt

    private int triggerSingle(IrqSet set) {
        EventFile event = device.single(set.index());
        if (set.isNone()) {
            if (event == null) {
                return host.refuse(VfioIrqAnswer.VFIO_IRQS_INACTIVE);
            }
            if (set.count() == 0) {
                device.setSingle(set.index(), null);
            } else {
                event.signal(1);
            }
            return 0;
        }
        if (set.count() == 0) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_COUNT);
        }
        if (set.isEventfd()) {
            return setSingle(set.index(), set.fd(0));
        }
        if (set.isChosen(0) && event != null) {
            event.signal(1);
        }
        return 0;
    }

    private int setSingle(int index, int fd) {
        if (fd == -1) {
            device.setSingle(index, null);
            return 0;
        }
        if (fd < 0) {
            if (host.build().isSince(6, 12)) {
                return host.refuse(VfioIrqAnswer.VFIO_IRQS_SINGLE_FD);
            }
            host.note(VfioIrqAnswer.VFIO_IRQS_SINGLE_FD_BEFORE);
            return 0;
        }
        return IrqSet.onEvent(host, fd, event -> {
            device.setSingle(index, event);
            return 0;
        });
    }
}
