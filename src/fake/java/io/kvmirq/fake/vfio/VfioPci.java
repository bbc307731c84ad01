/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.PciAddress;
import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.arch.intx.model.IntxDevice;
import io.kvmirq.arch.intx.model.VfioIntx;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A PCI device bound to vfio-pci. The caller of each method holds the kernel's lock. Source:
 * drivers/vfio/pci/vfio_pci_core.c.
 */
public final class VfioPci extends FakeVfioDevice {
    private final PciFunction function;
    private final PciLine line;
    private final IntxDevice device;
    private final VfioIntx intx;
    private final ForwardableLine forwardable;
    private final UnmaskEvent unmask;
    private final MessageVectors vectors;
    private final PciRegisters registers;
    private final ConfigSpace config;
    private final Bars bars;
    private final PciRequests requests;
    /** The eventfds of the error interrupt and the request interrupt. */
    private final @Nullable EventFile[] single = new EventFile[UapiVfio.VFIO_PCI_NUM_IRQS];

    VfioPci(KernelOfFile host, PciFunction function, VfioGroup group, PciHost vfio, PciLine line) {
        super(host, function.address().toString(), group, vfio.freeIndex());
        this.function = function;
        this.line = line;
        this.device =
                new IntxDevice(line.physical(), function.disIntx() ? IntxDevice.Kind.PCI_2_3 : IntxDevice.Kind.PCI);
        this.intx = VfioIntx.create(device, vfio.isNointxmask());
        this.forwardable = new ForwardableLine(host, line.physicalId(), intx, this::settle);
        this.unmask = new UnmaskEvent(intx, line);
        this.vectors = new MessageVectors(host, this, vfio.vectors());
        this.registers = new PciRegisters(function, device, intx);
        this.config = new ConfigSpace(this, registers);
        this.bars = new Bars(function);
        this.requests = new PciRequests(host, this, vfio);
        if (function.has(PciFunction.Trait.SHARES_LINE)) {
            line.addDriver();
        }
    }

    PciFunction function() {
        return function;
    }

    public PciAddress address() {
        return function.address();
    }

    VfioIntx intx() {
        return intx;
    }

    PciLine line() {
        return line;
    }

    void setTrigger(@Nullable EventFile event) {
        forwardable.setTrigger(event);
    }

    UnmaskEvent unmask() {
        return unmask;
    }

    MessageVectors vectors() {
        return vectors;
    }

    public Bars bars() {
        return bars;
    }

    @Override
    Optional<ByteBuffer> memory(long offset, int length) {
        return requests.memory(offset, length);
    }

    PciRegisters registers() {
        return registers;
    }

    ConfigSpace config() {
        return config;
    }

    /** Whether VFIO allows an access to a BAR. It refuses memory that is disabled. */
    boolean isEnabled(int bar) {
        return bars.isPorts(bar) || config.isMemoryOn();
    }

    /** Whether the device decodes accesses to a BAR. It ignores I/O ports while its I/O space is disabled. */
    boolean answers(int bar) {
        return registers.answers(bars.isPorts(bar) ? PciImage.PORTS : PciImage.MEMORY);
    }

    int interrupts(int index) {
        return switch (index) {
            case UapiVfio.VFIO_PCI_INTX_IRQ_INDEX -> function.intx() ? 1 : 0;
            case UapiVfio.VFIO_PCI_MSI_IRQ_INDEX -> function.msi();
            case UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX -> function.msixVectors();
            case UapiVfio.VFIO_PCI_ERR_IRQ_INDEX -> function.express() ? 1 : 0;
            default -> 1;
        };
    }

    @Nullable
    EventFile single(int index) {
        return single[index];
    }

    void setSingle(int index, @Nullable EventFile event) {
        single[index] = event;
    }

    // The life of the device

    /** Enables the device: resets it, clears DisINTx, and enables its BARs. Bus mastering stays off. */
    @Override
    void enable() {
        registers.open();
        if (resets()) {
            reset();
        }
        intx.open();
        config.open();
    }

    /**
     * Disables interrupts and restores the configuration, with DisINTx clear. PCI Express devices then sleep in D3hot.
     */
    @Override
    void disable() {
        host.note(VfioAnswer.VFIO_LAST_CLOSE);
        registers.setPower(0);
        unmask.clear();
        vectors.disable();
        intx.close();
        setTrigger(null);
        if (resets() && !isLocked()) {
            reset();
        }
        if (function.disIntx() && !function.express()) {
            host.note(VfioIrqAnswer.VFIO_CLOSE_DISINTX);
            device.disable(false);
        }
        registers.close();
        settle();
        single[UapiVfio.VFIO_PCI_ERR_IRQ_INDEX] = null;
        single[UapiVfio.VFIO_PCI_REQ_IRQ_INDEX] = null;
    }

    @Override
    void removed() {
        intx.remove();
        vectors.removed();
    }

    /** A function reset: the device deasserts its pin, and the kernel restores the configuration. */
    void reset() {
        device.serve();
        registers.reset();
        bars.reset();
        vectors.reset();
    }

    void settle() {
        line.settle();
    }

    @Override
    String bus() {
        return "pci";
    }

    @Override
    boolean movesPosition() {
        return true;
    }

    @Override
    boolean resets() {
        return function.resets();
    }

    // Requests of the user

    @Override
    int ioctl(DeviceFile file, long request, long argument) {
        return requests.answer(file, request, argument);
    }

    @Override
    long read(long to, long length, long offset) {
        return requests.read(to, length, offset);
    }

    @Override
    long write(long from, long length, long offset) {
        return requests.write(from, length, offset);
    }

    // Steps of the device

    public boolean send(int vector) {
        checkVector(vector);
        if (!registers.isMaster()) {
            host.note(VfioAnswer.VFIO_BUS_MASTER);
            return lose(vector, "has bus mastering off");
        }
        return registers.isAsleep() ? lose(vector, "sleeps") : vectors.send(vector);
    }

    /** @return false */
    boolean lose(int vector, String why) {
        host.ledger().lost("vector", vector, "of " + address() + " was not sent: the device " + why);
        return false;
    }

    /** Returns the remapping entry of a vector; empty if no host interrupt is allocated for the vector. */
    public Optional<IrqHardware.Entry> entry(int vector) {
        checkVector(vector);
        return vectors.entry(vector);
    }

    private void checkVector(int vector) {
        if (vector < 0 || vector >= vectors.count()) {
            throw new IllegalArgumentException("vector " + vector + ": " + function.address() + " has " + function.msi()
                    + " of MSI and " + function.msixVectors() + " of MSI-X, numbered from 0");
        }
    }

    public void request() {
        if (!hasPin()) {
            throw new IllegalStateException(function.address() + " has no interrupt pin: add the device with INTx");
        }
        device.request();
        settle();
    }

    public boolean hasPin() {
        return function.intx();
    }

    public void serve() {
        device.serve();
    }

    public boolean fail() {
        return signal(UapiVfio.VFIO_PCI_ERR_IRQ_INDEX);
    }

    @Override
    public boolean askBack() {
        return signal(UapiVfio.VFIO_PCI_REQ_IRQ_INDEX);
    }

    private boolean signal(int index) {
        EventFile event = single[index];
        if (event != null) {
            event.signal(1);
        }
        return event != null;
    }

    @Override
    public Optional<HostLine> line(int irq, int subindex) {
        return irq == UapiVfio.VFIO_PCI_INTX_IRQ_INDEX && subindex == 0 && function.intx()
                ? Optional.of(forwardable)
                : Optional.empty();
    }

    InterruptMode mode() {
        return intx.mode();
    }
}
