/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.Gsi;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A guest with two emulated functions that share a pin of its IOAPIC and have a vector of MSI-X each. */
final class PinGuest {
    static final int PIN = 16;
    static final int LEVEL = 1 << 15;
    static final int MASKED = 1 << 16;
    /** The guest's vector of the pin. */
    static final int LINE = 0x77;

    static final int COMMAND = 4;
    static final int MEMORY = 1 << 1;
    static final int MASTER = 1 << 2;
    static final int INTX_OFF = 1 << 10;
    /** MSI-X's Message Control of the emulated functions. */
    static final int MSIX_CONTROL = 0x42;

    static final int MSIX_ENABLE = 1 << 15;
    private static final int CAPABILITIES = 0x34;
    private static final int MSIX = 0x11;
    private static final int BAR_0 = 0x10;
    private static final int CONTROL = 12; // of an entry of the table

    final PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x1000000);
    final IoapicGuest guest;
    final List<EmulatedFunction> functions = new ArrayList<>();
    final List<EmulatedVectors> vectors = new ArrayList<>();

    private final Kernel kernel;
    private final Undo made;
    private Optional<HostDevice> host = Optional.empty();

    /** A host device in slot 3 on the same pin, whose line the loop relays to our IOAPIC. */
    record HostDevice(FakePciDevice hardware, PassedThroughDevice passed, EventLoop loop) {}

    PinGuest(World world, boolean inKernel, Undo made) {
        this.made = made;
        world.kernel();
        world.assumeX86();
        if (inKernel) {
            world.assumeFullIrqchip();
        }
        kernel = made.add(Kernel.over(world.kernel()));
        guest = new IoapicGuest(world, kernel, made, inKernel);
        for (int slot = 1; slot <= 2; slot++) {
            vectors.add(made.add(EmulatedVectors.create(guest.machine(), 1)));
            functions.add(made.add(guest.function(bus, slot, PIN)
                    .bar(0, 0x1000)
                    .msix(vectors.get(slot - 1), 0, 0, 0x800)
                    .build()));
        }
        guest.redirect(PIN, LINE | LEVEL, 0);
    }

    HostDevice addHostDevice(World world) {
        FakePciDevice hardware = world.fake()
                .orElseThrow()
                .pciDevice("0000:19:00.0", 36)
                .express()
                .resettable()
                .intx()
                .msix(1)
                .bar(0, 0x1000)
                .add();
        Vm vm = guest.machine();
        VfioDevice device = made.add(VfioDevice.open(kernel, hardware.address(), made.add(KvmVfio.create(vm))));
        EventLoop loop = made.add(EventLoop.create(kernel));
        Forwarding forwarding = made.add(Forwarding.builder(vm, device)
                .userspace(Userspace.of(loop, guest.source()))
                .build());
        PassedThroughDevice passed = made.add(PassedThroughDevice.builder(bus, 3, vm, device, forwarding)
                .intx(new Gsi(PIN))
                .build());
        host = Optional.of(new HostDevice(hardware, passed, loop));
        return host.get();
    }

    /** @return whether the loop had a signal of the host device */
    boolean relay() {
        return host.isPresent() && host.get().loop.pollNanos(0) > 0;
    }

    void lowerAll() {
        functions.forEach(EmulatedFunction::lowerLine);
        host.ifPresent(device -> device.hardware.serve());
    }

    void config(int slot, int at, int size, int value) {
        bus.write(true, 0xcf8, 4, 0x80000000L | slot << 11 | at & ~3);
        bus.write(true, 0xcfc + (at & 3), size, value);
    }

    int config(int slot, int at) {
        bus.write(true, 0xcf8, 4, 0x80000000L | slot << 11 | at);
        return (int) bus.read(true, 0xcfc, 4);
    }

    private int msixOf(int slot) {
        int at = config(slot, CAPABILITIES) & 0xff;
        while ((config(slot, at) & 0xff) != MSIX) {
            at = config(slot, at) >>> 8 & 0xff;
        }
        return at;
    }

    void enableMsix(int slot, boolean enables) {
        config(slot, msixOf(slot) + 2, 2, enables ? MSIX_ENABLE : 0);
    }

    /** Writes the function's entry of the table of MSI-X: a message of this vector to vCPU 0. */
    void entry(int slot, int vector, boolean masked) {
        int at = config(slot, msixOf(slot) + 4);
        long table = Integer.toUnsignedLong(config(slot, BAR_0 + 4 * (at & 7)) & -16) + (at & -8);
        bus.write(false, table, 8, World.MSI_ADDRESS);
        bus.write(false, table + 8, 4, vector);
        bus.write(false, table + CONTROL, 4, masked ? 1 : 0);
    }
}
