/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.fake.kvm.FakeIoEventFd;
import io.kvmirq.fake.kvm.RunPage;
import io.kvmirq.fake.x86.cpu.GuestBus;
import io.kvmirq.uapi.Uapi;
import java.util.OptionalLong;

/**
 * Guest accesses to ports and MMIO. A write signals a matching ioeventfd. All other accesses exit to the VMM. Source: {@code kernel_pio()} and {@code vcpu_mmio_write()} in arch/x86/kvm/x86.c.
 */
final class CpuBus implements GuestBus {
    private final X86Vm vm;
    private final RunPage page;
    private final ApicBase lapic;

    CpuBus(X86Vm vm, RunPage page, ApicBase lapic) {
        this.vm = vm;
        this.page = page;
        this.lapic = lapic;
    }

    @Override
    public boolean writePort(int port, int size, long value) {
        if (isOfPic(port, size)) {
            vm.pics().write(port, size, (int) value);
            return false;
        }
        requireNoTimer(port, size);
        if (vm.signals(FakeIoEventFd.Bus.PORT, port, size, value)) {
            return false;
        }
        page.exitForPort(Uapi.KVM_EXIT_IO_OUT, port, size, 1);
        page.put(0, size, value);
        return true;
    }

    private boolean isOfPic(int port, int size) {
        return vm.irqchip() == X86Vm.Irqchip.FULL && FakePics.has(port, size);
    }

    private void requireNoTimer(int port, int size) {
        if (vm.pit().filter(pit -> pit.has(port, size)).isPresent()) {
            throw new NotModelledException("a guest that programs its timer (PIT)");
        }
    }

    /** Whether the port belongs to the in-kernel PICs. */
    @Override
    public boolean isServed(int port, int size) {
        requireNoTimer(port, size);
        return isOfPic(port, size);
    }

    @Override
    public int readServed(int port, int size) {
        return vm.pics().read(port, size);
    }

    @Override
    public void readPort(int port, int size, int count) {
        page.exitForPort(0, port, size, count);
    }

    @Override
    public long answer(int size) {
        return page.answer(0, size);
    }

    @Override
    public boolean takes(long address, int size, long value) {
        if (lapic.covers(address)) {
            lapic.write(address, size);
            return true;
        }
        if (isOfIoapic(address)) {
            vm.ioapic().write(address, value);
            return true;
        }
        return vm.signals(FakeIoEventFd.Bus.MEMORY, address, size, value);
    }

    @Override
    public void writeMemory(long address, int size, long value) {
        page.exitForMemory(true, address, size);
        page.put(0, size, value);
    }

    /** Whether the address is a register of the in-kernel IOAPIC. */
    boolean isOfIoapic(long address) {
        return vm.irqchip() == X86Vm.Irqchip.FULL && vm.ioapic().covers(address);
    }

    @Override
    public OptionalLong readServed(long address) {
        if (lapic.covers(address)) {
            throw new NotModelledException("a guest that reads the page of its LAPIC");
        }
        return isOfIoapic(address) ? OptionalLong.of(vm.ioapic().read(address)) : OptionalLong.empty();
    }

    @Override
    public void readMemory(long address, int size) {
        page.exitForMemory(false, address, size);
    }
}
