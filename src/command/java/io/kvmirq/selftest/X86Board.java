/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.undo.Undo;
import java.util.List;

/** An x86 machine with in-kernel LAPICs, whose guest runs in real mode. */
final class X86Board implements Board {
    private static final int FIRST_VECTOR = 0x30;
    private static final int LINE = 0;
    private static final Route.Pin PIN = new Route.Pin(new Gsi(5), Route.Chip.IOAPIC, 5);

    private final Irqchip irqchip;
    private final Vm vm;
    private final GuestMemory memory;

    X86Board(Kernel kernel, Irqchip irqchip) {
        this.irqchip = irqchip;
        try (Undo undo = new Undo()) {
            vm = undo.add(Vm.create(kernel));
            irqchip.create(vm);
            memory = vm.addMemory(0, GuestCode.MEMORY);
            undo.keep();
        }
        GuestCode.load(memory.mapping());
    }

    private static InterruptVector vector(int interrupt) {
        return new InterruptVector(FIRST_VECTOR + interrupt);
    }

    @Override
    public Words words() {
        String linePlace = "IOAPIC pin " + PIN.pin() + ", level, " + name(LINE);
        return new Words("port 0x80", "vector", linePlace, "line high, Remote IRR set", "line low, Remote IRR clear");
    }

    @Override
    public Vm vm() {
        return vm;
    }

    @Override
    public Vcpu vcpu() {
        try (Undo undo = new Undo()) {
            Vcpu vcpu = undo.add(vm.createVcpu(Board.VCPU));
            vcpu.x86().useHostCpuid();
            vcpu.x86().startAt(GuestCode.START, GuestCode.STACK);
            undo.keep();
            return vcpu;
        }
    }

    private static boolean isWriteTo(VcpuExit exit, int port) {
        return exit.reason() == VcpuExit.Reason.IO && exit.isWrite() && exit.port() == port;
    }

    @Override
    public boolean isReady(VcpuExit exit) {
        return isWriteTo(exit, GuestCode.PORT_READY);
    }

    @Override
    public String ready() {
        return "LAPIC enabled (x2APIC)";
    }

    /** By an NMI. */
    @Override
    public void stop(Vcpu vcpu) {
        vm.signal(MsiMessage.nmiTo(Board.VCPU));
    }

    @Override
    public boolean isStopped(VcpuExit exit) {
        return isWriteTo(exit, GuestCode.PORT_STOPPED);
    }

    @Override
    public boolean isReadableWhileRunning() {
        return true;
    }

    @Override
    public boolean isAnswer(VcpuExit exit) {
        return isWriteTo(exit, GuestCode.PORT_ANSWER);
    }

    @Override
    public String strangeExit(VcpuExit exit) {
        return "the guest exited with " + exit + ", expected a write to port 0x82 or 0x81";
    }

    @Override
    public IoAddress answer() {
        return IoAddress.port(GuestCode.PORT_ANSWER, 1);
    }

    @Override
    public IoAddress answer(int interrupt) {
        return IoAddress.port(GuestCode.PORT_ANSWER, 1, vector(interrupt).number());
    }

    @Override
    public void handle(int interrupt) {
        GuestCode.handle(memory.mapping(), vector(interrupt));
    }

    @Override
    public int handled(int interrupt) {
        return GuestCode.handled(memory.mapping(), vector(interrupt));
    }

    @Override
    public String name(int interrupt) {
        return vector(interrupt).toString();
    }

    @Override
    public String number(int interrupt) {
        return "0x" + Integer.toHexString(vector(interrupt).number());
    }

    @Override
    public String destination(int interrupt) {
        return message(interrupt).toString();
    }

    @Override
    public Gsi add(RouteTable.Edit edit, int interrupt) {
        return edit.add(message(interrupt));
    }

    @Override
    public void replace(RouteTable.Edit edit, Gsi gsi, int interrupt) {
        edit.replace(gsi, message(interrupt));
    }

    @Override
    public MsiMessage message(int interrupt) {
        return MsiMessage.to(Board.VCPU, vector(interrupt));
    }

    @Override
    public List<Event> events(int interrupt) {
        return List.of();
    }

    @Override
    public int line() {
        return LINE;
    }

    /** The default route also drives the PIC, which this guest does not use. */
    @Override
    public Gsi openLine() {
        if (irqchip == Irqchip.SPLIT) {
            throw new UnsupportedOperationException("INTx needs an in-kernel IOAPIC pin, and this kernel was"
                    + " built without it (CONFIG_KVM_IOAPIC): test MSI or MSI-X");
        }
        handle(LINE);
        vm.routes().edit(edit -> edit.remove(PIN.gsi()).add(PIN));
        vm.x86().setIoapic(vm.x86().ioapic().levelPin(PIN, vector(LINE)));
        return PIN.gsi();
    }

    @Override
    public boolean isLineSeen() {
        return isLineInService();
    }

    @Override
    public boolean isLineHigh() {
        return vm.x86().ioapic().isHigh(PIN);
    }

    @Override
    public boolean isLineInService() {
        return vm.x86().ioapic().isRemoteIrrSet(PIN);
    }

    @Override
    public void close() {
        memory.close();
        vm.close();
    }
}
