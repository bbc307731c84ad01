/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Ledger;
import io.kvmirq.fake.file.MessageHostIrq;
import io.kvmirq.fake.file.MessagePlace;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.NavigableMap;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Vectors of MSI or MSI-X and their eventfds; source: {@code vfio_msi_*()} in drivers/vfio/pci/vfio_pci_intrs.c. */
final class MessageVectors {
    private final KernelOfFile host;
    private final Ledger ledger;
    private final VfioPci device;
    private final HostVectors ofHost;
    private final int msiVectors;
    private final int msixVectors;
    private final @Nullable EventFile[] triggers;
    /** The host interrupts of the vectors that have one. */
    private final NavigableMap<Integer, MessageHostIrq> irqs = new TreeMap<>();
    /** The vectors whose pending bit is set, because they sent a message while masked. */
    private final BitSet pending = new BitSet();
    /** The messages of {@link #pending}. */
    private final MessagePlace messages;
    /** The ledger ids of MSI and MSI-X vectors, registered at their first message. */
    private final int[] msi;

    private final int[] msix;

    MessageVectors(KernelOfFile host, VfioPci device, HostVectors ofHost) {
        this.host = host;
        this.ledger = host.ledger();
        this.device = device;
        this.ofHost = ofHost;
        this.msiVectors = device.function().msi();
        this.msixVectors = device.function().msixVectors();
        this.triggers = new EventFile[Math.max(msiVectors, msixVectors)];
        this.messages = new MessagePlace(
                pending::get, this::isOpen, vector -> "pending bit " + vector + " of " + device.address());
        this.msi = new int[triggers.length];
        this.msix = new int[triggers.length];
        Arrays.fill(msi, Ledger.UNKNOWN);
        Arrays.fill(msix, Ledger.UNKNOWN);
    }

    /** The larger one of the numbers of MSI and MSI-X vectors. */
    int count() {
        return triggers.length;
    }

    private boolean isOpen(int vector) {
        return isOn() && triggers[vector] != null && !isMasked(device.mode(), vector);
    }

    /** Puts the message of a vector of the enabled mode into the hand of the ledger. */
    private void sends(InterruptMode mode, int vector) {
        int[] sources = mode == InterruptMode.MSI ? msi : msix;
        if (sources[vector] == Ledger.UNKNOWN) {
            sources[vector] =
                    ledger.register(new VectorSource(device.address().toString(), mode, vector, this::trigger));
        }
        ledger.send(sources[vector]);
    }

    private @Nullable EventFile trigger(InterruptMode mode, int vector) {
        return device.mode() == mode ? triggers[vector] : null;
    }

    private boolean isOn() {
        InterruptMode mode = device.mode();
        return mode == InterruptMode.MSI || mode == InterruptMode.MSIX;
    }

    /** Whether a vector's host irq is allocated with its eventfd. A host's ITS allocates all vectors at once. */
    static boolean isDynamic(KernelOfFile host, InterruptMode mode) {
        return mode == InterruptMode.MSIX
                && host.build().isSince(6, 5)
                && !host.build().arm64();
    }

    /** Sets eventfds and enables the mode. Returns 0, a negative errno, or the vectors available if too few. */
    int set(InterruptMode mode, IrqSet set) {
        if (isOn()) {
            return setBlock(set);
        }
        int result = enable(mode, set.start() + set.count());
        if (result != 0) {
            return result;
        }
        result = setBlock(set);
        if (result != 0) {
            disable();
        }
        return result;
    }

    private int enable(InterruptMode mode, int count) {
        boolean asleep = device.registers().isAsleep();
        if (count == 0 && !(asleep && mode == InterruptMode.MSI)) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_NO_VECTOR);
        }
        if (asleep) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_ASLEEP);
        }
        int free = ofHost.free();
        if (free == 0) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_NO_SPACE);
        }
        if (free < count) {
            host.note(VfioIrqAnswer.VFIO_IRQS_SHORT);
            return mode == InterruptMode.MSIX ? free : 1;
        }
        for (int vector = 0; vector < count; vector++) {
            allocate(vector);
        }
        device.intx().enableMessages(mode);
        if (mode == InterruptMode.MSI) {
            device.registers().setMsi(count);
            device.config().setMsi(count);
            for (int vector = 0; vector < count; vector++) {
                setMasked(vector, true);
            }
        }
        return 0;
    }

    private int setBlock(IrqSet set) {
        int start = set.start();
        boolean inOneCheck = !host.build().isSince(6, 5);
        if (inOneCheck && (start >= irqs.size() || start + set.count() > irqs.size())) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_ALLOCATED);
        }
        for (int i = 0; i < set.count(); i++) {
            int result = set(start + i, set.fd(i));
            if (result < 0) {
                host.note(VfioIrqAnswer.VFIO_IRQS_UNWOUND);
                for (int detached = start; detached <= start + i; detached++) {
                    detach(detached);
                }
                return result;
            }
        }
        return 0;
    }

    /** Sets a vector's eventfd. The old one is removed before the new one is checked. */
    private int set(int vector, int fd) {
        detach(vector);
        if (fd < 0) {
            return 0;
        }
        if (!irqs.containsKey(vector)) {
            if (!isDynamic(host, device.mode())) {
                return host.refuse(VfioIrqAnswer.VFIO_IRQS_ALLOCATED);
            }
            if (ofHost.free() == 0) {
                return host.refuse(VfioIrqAnswer.VFIO_IRQS_NO_SPACE);
            }
            allocate(vector);
        }
        return IrqSet.onEvent(host, fd, event -> {
            triggers[vector] = event;
            setMasked(vector, false);
            if (pending.get(vector)) {
                host.note(VfioIrqAnswer.VFIO_MSIX_PENDING);
                raisePending(vector, event);
            }
            event.bypass().add(irq(vector));
            return 0;
        });
    }

    Optional<IrqHardware.Entry> entry(int vector) {
        return Optional.ofNullable(irqs.get(vector)).map(MessageHostIrq::entry);
    }

    private MessageHostIrq irq(int vector) {
        return Objects.requireNonNull(irqs.get(vector));
    }

    private void allocate(int vector) {
        irqs.put(
                vector,
                ofHost.allocate(
                        host.hardware().allocate(device.function().address().requesterId())));
    }

    /** Removes a vector's eventfd, after its host interrupt is freed. */
    private void detach(int vector) {
        EventFile event = triggers[vector];
        if (event != null) {
            event.bypass().remove(irq(vector));
            triggers[vector] = null;
            setMasked(vector, true);
        }
    }

    /** @return whether the host's handler ran and signalled the eventfd */
    private boolean raise(int vector, EventFile event) {
        boolean ofHost = irq(vector).raise();
        if (ofHost) {
            event.signal(1);
        } else {
            ledger.settle("its interrupt was posted to no vCPU");
        }
        return ofHost;
    }

    private void raisePending(int vector, EventFile event) {
        setPending(vector, false);
        ledger.pick(messages, vector);
        raise(vector, event);
    }

    /** Disables MSI or MSI-X if it is enabled. */
    void disable() {
        if (isOn()) {
            irqs.keySet().forEach(this::detach);
            irqs.values().forEach(ofHost::release);
            if (device.mode() == InterruptMode.MSI) {
                irqs.keySet().forEach(vector -> setMasked(vector, false));
                device.registers().setMsi(0);
            }
            irqs.clear();
            device.intx().disableMessages();
            device.settle();
        }
    }

    /** Signals the eventfds of {@code set} as if the device had sent the messages. */
    int loopback(IrqSet set) {
        if (!host.build().isSince(6, 5) && set.start() + set.count() > irqs.size()) {
            return host.refuse(VfioIrqAnswer.VFIO_IRQS_ALLOCATED);
        }
        InterruptMode mode = device.mode();
        for (int i = 0; i < set.count(); i++) {
            EventFile event = triggers[set.start() + i];
            if (event != null && set.isChosen(i)) {
                sends(mode, set.start() + i);
                event.signal(1);
            }
        }
        return 0;
    }

    /** The device sends a vector's message. A vector without an eventfd is masked if it has a mask bit. */
    boolean send(int vector) {
        InterruptMode mode = device.mode();
        if (mode == InterruptMode.MSI && !device.registers().isMsiEnabled()) {
            return device.lose(vector, "has MSI disabled");
        }
        if (isMasked(mode, vector)) {
            setPending(vector, true);
            sends(mode, vector);
            ledger.put(messages, vector);
            ledger.settle("its vector has no pending bit");
            return false;
        }
        EventFile event = triggers[vector];
        if (event == null) {
            return device.lose(vector, isOn() ? "has no eventfd for it" : "has MSI and MSI-X disabled");
        }
        sends(mode, vector);
        return raise(vector, event);
    }

    /** Whether a vector of the enabled mode has a mask bit that is set. */
    private boolean isMasked(InterruptMode mode, int vector) {
        return switch (mode) {
            case MSI -> vector < msiVectors && device.registers().isMsiMasked(vector);
            case MSIX -> vector < msixVectors && device.bars().isMasked(vector);
            default -> false;
        };
    }

    private void setMasked(int vector, boolean masked) {
        if (device.mode() == InterruptMode.MSIX) {
            device.bars().setMasked(vector, masked);
        } else {
            device.registers().setMsiMasked(vector, masked);
        }
    }

    private void setPending(int vector, boolean isPending) {
        pending.set(vector, isPending);
        if (device.mode() == InterruptMode.MSIX) {
            device.bars().setPending(vector, isPending);
        } else {
            device.registers().setMsiPending(vector, isPending);
        }
    }

    /** Sends pending messages after the user has written MSI's mask bits. */
    void unmasked() {
        for (int vector = pending.nextSetBit(0); vector >= 0; vector = pending.nextSetBit(vector + 1)) {
            EventFile event = triggers[vector];
            if (device.mode() == InterruptMode.MSI && event != null && !isMasked(InterruptMode.MSI, vector)) {
                raisePending(vector, event);
            }
        }
    }

    void show(DeviceFiles files) {
        String mode = device.mode() == InterruptMode.MSIX ? "msix" : "msi";
        irqs.forEach((vector, irq) -> files.addIrq(device.name(), mode, vector, irq, triggers[vector] != null));
    }

    /** Ends the device's messages, except those in eventfds, workers and vCPUs. */
    private void end(String why) {
        ledger.endAll(messages, why);
        for (int[] sources : List.of(msi, msix)) {
            for (int source : sources) {
                if (source != Ledger.UNKNOWN) {
                    ledger.endRead(source, why);
                }
            }
        }
    }

    /** Resets the vectors with the device. The kernel restores its own writes to the table. */
    void reset() {
        pending.clear();
        end("the device was reset");
        device.registers().clearMsiPending();
        if (device.mode() == InterruptMode.MSIX) {
            irqs.keySet().forEach(vector -> setMasked(vector, triggers[vector] == null));
        }
    }

    /** Unregisters the vectors of a removed device. */
    void removed() {
        end("the device was removed");
        for (int[] sources : List.of(msi, msix)) {
            for (int i = 0; i < sources.length; i++) {
                if (sources[i] != Ledger.UNKNOWN) {
                    ledger.forget(sources[i]);
                    sources[i] = Ledger.UNKNOWN;
                }
            }
        }
    }
}
