/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;
import java.util.Optional;

/**
 * A level-triggered pin of a guest's interrupt controller, with its irqfd and its resampling irqfds. While an interrupt
 * of the pin is not ended, the pin requests no other (Remote IRR).
 *
 * <p>An irqfd does not raise the pin itself: a worker of the kernel calls {@link #inject}. Add resamplefds before other
 * threads use the pin. After that it is safe for use by any number of threads. Source: {@code irqfd_inject} and {@code
 * kvm_ioapic_update_eoi_one} of Linux 7.1; vgic_v2_populate_lr for mapped interrupts. Not modelled: after 10 000 EOIs
 * that each find the pin high, Linux delays the next interrupt by a hundredth of a second. The fake's IOAPIC does so.
 */
public class GuestLine {
    /** Guards SOURCES, REMOTE_IRR, MAPPED and GONE. */
    static final int LOCK = 0;
    /** The irqfds that wait for the worker, a bit each. */
    static final int RAISED = 1;

    static final int SOURCES = 2;
    /** Whether an interrupt is delivered and not ended. */
    static final int REMOTE_IRR = 3;
    /** Whether that interrupt is mapped to the physical one. */
    static final int MAPPED = 4;

    /** Whether the VM is gone. */
    static final int GONE = 5;

    static final int WORDS = 6;

    /** The source of interrupts whose EOI deactivates the physical interrupt. */
    static final int PHYSICAL = 2;

    private final IntxVcpu vcpu;
    private final int number;
    private final Optional<VfioIntx> device;
    private final SharedWords words;
    private final int base;
    private final PinSources sources;
    private final Resampler resampler;

    /**
     * A pin that is low.
     *
     * @param number the number of the line at the vCPU, 0–63
     * @param device the device whose physical interrupts the guest's EOI deactivates; empty without direct EOI
     * @throws IllegalArgumentException if the vCPU has a line of this number, or the number is out of range
     */
    public static GuestLine of(IntxVcpu vcpu, int number, Optional<VfioIntx> device) {
        return new GuestLine(vcpu, number, device, SharedWords.of(new long[WORDS]), 0);
    }

    GuestLine(IntxVcpu vcpu, int number, Optional<VfioIntx> device, SharedWords words, int base) {
        this.vcpu = vcpu;
        this.number = number;
        this.device = device;
        this.words = words;
        this.base = base;
        this.sources = new PinSources(words, at(SOURCES), 1);
        this.resampler = new Resampler(high -> set(PinSources.RESAMPLE, high));
        vcpu.connect(number, this);
    }

    int at(int word) {
        return base + word;
    }

    public Resampler resampler() {
        return resampler;
    }

    /** The eventfd of the resampling irqfd: at the next {@link #inject} the resampling source goes high. */
    public void signal() {
        words.or(at(RAISED), 1L << PinSources.RESAMPLE);
    }

    /**
     * The eventfd of the irqfd for direct EOI: the next {@link #inject} delivers an interrupt whose EOI deactivates the
     * physical one.
     *
     * @throws IllegalStateException if the pin has no device
     */
    public void signalMapped() {
        if (device.isEmpty()) {
            throw new IllegalStateException("line " + number + " has no device: give it one for direct EOI");
        }
        words.or(at(RAISED), 1L << PHYSICAL);
    }

    public boolean isRaised() {
        return words.get(at(RAISED)) != 0;
    }

    /** The worker: raises the sources of the irqfds that were signalled. Does not allocate. */
    public void inject() {
        long raised = words.swap(at(RAISED), 0);
        if ((raised >>> PinSources.RESAMPLE & 1) != 0) {
            resampler.raise();
        }
        if ((raised >>> PHYSICAL & 1) != 0) {
            setPhysical();
        }
    }

    /**
     * A source drives the pin. Does not allocate.
     *
     * @param source {@link PinSources#USERSPACE}, {@link PinSources#RESAMPLE}, or another from 3 to 63
     * @throws IllegalArgumentException if it is another
     */
    public void set(int source, boolean high) {
        if (source < 0 || source >= Long.SIZE || source == PHYSICAL) {
            throw new IllegalArgumentException("source " + source + " is not for callers: expected 0, 1 or 3-63");
        }
        drive(source, high);
    }

    /** An interrupt that comes after the VM is gone is deactivated: no EOI of it comes. */
    private void setPhysical() {
        words.lock(at(LOCK));
        boolean gone = words.get(at(GONE)) != 0;
        boolean delivers = !gone && sources.set(0, PHYSICAL, true) && open();
        words.unlock(at(LOCK));
        if (gone) {
            device.ifPresent(VfioIntx::endDirect);
        } else if (delivers) {
            vcpu.request(number);
        }
    }

    void drive(int source, boolean high) {
        words.lock(at(LOCK));
        boolean delivers = sources.set(0, source, high) && open();
        words.unlock(at(LOCK));
        if (delivers) {
            vcpu.request(number);
        }
    }

    /** The pin is high. @return whether it requests an interrupt now */
    private boolean open() {
        boolean opens = words.get(at(REMOTE_IRR)) == 0;
        if (opens) {
            words.set(at(REMOTE_IRR), 1);
            boolean mapped = isHigh(PHYSICAL);
            words.set(at(MAPPED), mapped ? 1 : 0);
            if (mapped) {
                sources.set(0, PHYSICAL, false);
            }
        }
        return opens;
    }

    private boolean isHigh(int source) {
        return (words.get(at(SOURCES)) >>> source & 1) != 0;
    }

    /** Whether a source drives the pin high. */
    public boolean isHigh() {
        return sources.isHigh(0);
    }

    void ended() {
        acknowledge();
        words.lock(at(LOCK));
        words.set(at(REMOTE_IRR), 0);
        boolean delivers = sources.isHigh(0) && open();
        words.unlock(at(LOCK));
        if (delivers) {
            vcpu.request(number);
        }
    }

    /** Tells the host of the EOI, before the pin opens. */
    void acknowledge() {
        if (device.isPresent() && takeMapped()) {
            device.get().deactivate();
        }
        resampler.acknowledge();
    }

    private boolean takeMapped() {
        words.lock(at(LOCK));
        boolean mapped = words.get(at(MAPPED)) != 0;
        words.set(at(MAPPED), 0);
        words.unlock(at(LOCK));
        return mapped;
    }

    /**
     * The VM is gone. A physical interrupt that the guest has not ended is deactivated, since no EOI of it comes any
     * more ({@code kvm_vgic_unmap_phys_irq} and the release of the host interrupt). It stays active if another device
     * on the line left it to the EOI too.
     */
    public void destroy() {
        words.lock(at(LOCK));
        words.set(at(GONE), 1);
        boolean waits = words.get(at(MAPPED)) != 0 || isHigh(PHYSICAL);
        words.set(at(MAPPED), 0);
        sources.set(0, PHYSICAL, false);
        words.unlock(at(LOCK));
        boolean raised = (words.swap(at(RAISED), 0) >>> PHYSICAL & 1) != 0;
        if (device.isPresent() && (waits || raised)) {
            device.get().endDirect();
        }
    }
}
