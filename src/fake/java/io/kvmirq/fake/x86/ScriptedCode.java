/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.MsiMessage;
import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.file.ScriptedExit;
import io.kvmirq.fake.kvm.RunPage;
import io.kvmirq.fake.kvm.ScriptPlayer;
import io.kvmirq.fake.x86.cpu.GuestExecution;
import io.kvmirq.fake.x86.cpu.VcpuEvents;
import io.kvmirq.uapi.Uapi;
import java.util.Optional;

/** A guest without code: it plays the exits of a test, and then halts with interrupts disabled. */
final class ScriptedCode implements GuestExecution {
    private static final int NMI = 2;
    private static final int LAPIC_ON = 0x1ff;
    private static final long PAGE = 0x1000;

    private final VcpuEvents events;
    private final X86Vm vm;
    private final Script script;
    private final ScriptPlayer player;
    private final Optional<FakeLapic> lapic;
    private final CpuBus bus;
    private final RunPage page;
    /** Whether the guest is in a scripted HLT, which an interrupt ends. */
    private boolean waits;
    /** Whether every exit was played. */
    private boolean ended;

    ScriptedCode(
            X86Vm vm,
            Script script,
            ScriptPlayer player,
            VcpuEvents events,
            Optional<FakeLapic> lapic,
            CpuBus bus,
            RunPage page) {
        this.events = events;
        this.vm = vm;
        this.script = script;
        this.player = player;
        this.lapic = lapic;
        this.bus = bus;
        this.page = page;
    }

    @Override
    public Outcome step() {
        waits = false;
        events.setShadow(VcpuEvents.NO_SHADOW);
        ScriptedExit exit = script.next();
        ended = exit == null;
        if (exit == null) {
            return Outcome.HALTS;
        }
        return switch (exit.kind()) {
            case IO_OUT -> left(writePort(exit));
            case IO_IN -> {
                if (bus.isServed((int) exit.place(), exit.size())) {
                    for (int i = 0; i < exit.count(); i++) {
                        script.answered(bus.readServed((int) exit.place(), exit.size()));
                    }
                    yield Outcome.GOES_ON;
                }
                bus.readPort((int) exit.place(), exit.size(), exit.count());
                player.awaitAnswer(exit);
                yield Outcome.EXITS;
            }
            case MMIO_WRITE, MMIO_READ -> {
                boolean exits = !isServed(exit);
                yield left(exits && player.plays(exit));
            }
            case HLT -> halt();
            case IOAPIC_EOI -> {
                if (vm.irqchip() != X86Vm.Irqchip.SPLIT) {
                    throw ScriptPlayer.misuse(
                            exit, "KVM reports an EOI to the VMM only in a VM with the split irqchip");
                }
                page.exitForEoi((int) exit.data(0));
                yield Outcome.EXITS;
            }
            case OTHER -> left(player.plays(exit));
        };
    }

    private static Outcome left(boolean exits) {
        return exits ? Outcome.EXITS : Outcome.GOES_ON;
    }

    /** @return whether the guest exits to the VMM */
    private boolean writePort(ScriptedExit exit) {
        int port = (int) exit.place();
        if (bus.isServed(port, exit.size())) {
            for (int i = 0; i < exit.count(); i++) {
                bus.writePort(port, exit.size(), exit.data(i));
            }
            return false;
        }
        if (exit.count() == 1) {
            return bus.writePort(port, exit.size(), exit.data(0));
        }
        page.exitForPort(Uapi.KVM_EXIT_IO_OUT, port, exit.size(), exit.count());
        for (int i = 0; i < exit.count(); i++) {
            page.put(i, exit.size(), exit.data(i));
        }
        return true;
    }

    /** Whether the in-kernel IOAPIC handles an access, so that there is no exit. */
    private boolean isServed(ScriptedExit exit) {
        if (lapic.isPresent() && (exit.place() & -PAGE) == MsiMessage.X86_WINDOW) {
            throw ScriptPlayer.misuse(exit, "the kernel has its device, and there is no exit");
        }
        boolean served = bus.isOfIoapic(exit.place());
        if (served && exit.kind() == ScriptedExit.Kind.MMIO_WRITE) {
            bus.takes(exit.place(), exit.size(), exit.data(0));
        } else if (served) {
            script.answered(bus.readServed(exit.place()).orElseThrow() & -1L >>> Long.SIZE - Byte.SIZE * exit.size());
        }
        return served;
    }

    private Outcome halt() {
        waits = true;
        lapic.filter(apic -> !apic.enabled()).ifPresent(apic -> apic.setSpurious(LAPIC_ON));
        return Outcome.HALTS;
    }

    /** Takes an interrupt and ends it at once. */
    @Override
    public void enter(int vector, boolean ofLapic) {
        waits = false;
        script.interrupted(vector);
        if (ofLapic) {
            lapic.ifPresent(FakeLapic::endOfInterrupt);
        } else if (vector == NMI) {
            events.endOfNmi();
        } else if (takesInterruptOfPic()) {
            vm.pics().endAll();
        }
    }

    @Override
    public boolean interruptFlag() {
        return waits;
    }

    /** Whether the guest takes interrupts of the PICs: not before the script has written their vectors. */
    @Override
    public boolean takesInterruptOfPic() {
        return vm.pics().isProgrammed();
    }

    @Override
    public boolean goesOn() {
        return ended && script.left() > 0;
    }

    @Override
    public boolean isReading() {
        return player.isReading();
    }

    @Override
    public boolean completeRead() {
        player.completeRead();
        return false;
    }
}
