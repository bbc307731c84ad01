/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.PciHostBridge;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * x86. KVM has all interrupt controllers, and a timer; or it has the LAPICs alone, and IOAPIC and PICs are here: a split
 * irqchip. That has no timer but the LAPICs', which is enough for Linux.
 */
final class X86Platform extends Platform {
    private static final int KEYBOARD = 0x64, CLOCK = 0x71, RESET = 0xfe, FIRST_PIN = 16;
    private static final long HOLE = 0xc0000000L, HOLE_END = 0xfec00000L;
    // There is no ACPI. To turn itself off, Linux asks the keyboard controller for a reset
    private static final String COMMAND_LINE = "reboot=k acpi=off no_timer_check pci=%s ";

    private final boolean isLinux;
    private final Consumer<String> end;
    private final Optional<GuestIoapic> ioapic;
    private final GuestPic pic = new GuestPic();

    /** @param end ends the machine, with the reason */
    X86Platform(Vm vm, int count, boolean split, boolean isLinux, Consumer<String> end) {
        super(
                vm,
                0,
                IoAddress.port(isLinux ? 0x3f8 : SmallGuest.CONSOLE, 1),
                IoAddress.port(isLinux ? 0x2f8 : SmallGuest.DEVICE, 1, EchoDevice.BYTE),
                new PciHostBridge(HOLE, HOLE_END - HOLE));
        this.isLinux = isLinux;
        this.end = end;
        vm.x86().setTssAddress(0xfffbd000L);
        vm.x86().setIdentityMapAddress(0xfffbc000L);
        if (split) {
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            ioapic = Optional.of(new GuestIoapic(vm, GuestIoapic.PINS));
        } else {
            vm.x86().createIrqchip();
            vm.x86().createPitWithSpeaker();
            ioapic = Optional.empty();
        }
        Cpuid cpuid = Cpuid.ofHost(vm.kernel()).forGuestOfKvm();
        for (int id = 0; id < count; id++) {
            add(id).x86().setCpuid(cpuid.forVcpu(id, count));
        }
    }

    @Override
    Runnable consoleInterrupt() {
        return edge(new Gsi(4));
    }

    @Override
    Runnable deviceInterrupt() {
        return isLinux ? edge(new Gsi(3)) : message(SmallGuest.MESSAGE);
    }

    /** KVM takes messages, and edges of its IOAPIC, by an irqfd. */
    private Runnable edge(Gsi gsi) {
        if (ioapic.isPresent() && gsi.number() < GuestIoapic.PINS) {
            Userspace.Injector pin = ioapic.get().source();
            return () -> {
                pin.line(gsi, true);
                pin.line(gsi, false);
            };
        }
        return irqfd(gsi);
    }

    private Runnable message(MsiMessage message) {
        MaskableVector vector = MaskableVector.create(vm, message);
        parts.push(vector::close);
        return vector::signal;
    }

    @Override
    Gsi pin(int number) {
        return new Gsi(FIRST_PIN + number);
    }

    @Override
    Optional<Userspace> relay(EventLoop loop) {
        return ioapic.map(chip -> Userspace.of(loop, chip.source()));
    }

    @Override
    boolean handle(VcpuExit exit) {
        return super.handle(exit)
                || exit.reason() == VcpuExit.Reason.IO && isOld(exit.port(), exit)
                || ioapic.isPresent()
                        && switch (exit.reason()) {
                            case IOAPIC_EOI -> {
                                ioapic.get().endOfInterrupt(exit.vector());
                                yield true;
                            }
                            case MMIO -> handle(ioapic.get(), exit.address() - GuestIoapic.ADDRESS, exit);
                            case IO -> GuestPic.isPort(exit.port()) && handle(exit.port(), exit);
                            default -> false;
                        };
    }

    private static boolean handle(GuestIoapic ioapic, long at, VcpuExit exit) {
        boolean isOurs = at >= 0 && at < GuestIoapic.BYTES;
        if (isOurs && exit.isWrite()) {
            ioapic.write(at, exit.size(), (int) exit.data(0));
        } else if (isOurs) {
            exit.answer(0, ioapic.read(at, exit.size()));
        }
        return isOurs;
    }

    private synchronized boolean handle(int port, VcpuExit exit) {
        for (int i = 0; i < exit.count(); i++) {
            if (exit.isWrite()) {
                pic.write(port, (int) exit.data(i));
            } else {
                exit.answer(i, pic.read(port));
            }
        }
        return true;
    }

    /** Linux finds no keyboard, and a clock that stands still. */
    private boolean isOld(int port, VcpuExit exit) {
        boolean isOurs = exit.count() == 1 && (port == KEYBOARD || port == CLOCK);
        if (isOurs && !exit.isWrite()) {
            exit.answer(port == KEYBOARD ? 1 : 0);
        } else if (port == KEYBOARD && isOurs && exit.data() == RESET) {
            end.accept("the guest turned itself off");
        }
        return isOurs;
    }

    @Override
    void loadLinux(Mapping memory, Path kernel, byte[] initramfs, String line, boolean hasDevices) throws IOException {
        X86Linux linux = new X86Linux(kernel);
        String all = String.format(COMMAND_LINE, hasDevices ? "conf1" : "off") + line;
        linux.load(memory, all, initramfs, MpTable.build(vcpus.size(), bus.lines()));
        linux.start(vcpus.get(0).x86());
    }

    @Override
    void loadSmallGuest(Mapping memory) {
        SmallGuest.start(memory, vcpus.get(0));
    }
}
