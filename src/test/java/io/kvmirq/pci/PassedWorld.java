/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/** A guest with a bus, and a device on it, on a fake kernel. The bus's hole is in reach of code of 16 bits. */
final class PassedWorld implements AutoCloseable {
    static final int HOLE = 0x8000;
    static final int SLOT = 3;
    static final Gsi PIN = new Gsi(16);
    static final int COMMAND = 4;
    static final int MEMORY_AND_MASTER = 6;
    static final int BAR_0 = 0x10;
    /** Address of BAR 0 as firmware places it. */
    static final int REGISTERS = 0x8000;

    static final int SIZE = 0x4000;
    static final int PENDING = 0x2000;
    private static final String NIC = "0000:3b:00.0";
    private static final int START = 0x1000;

    final Faults faults = new Faults();
    final FakeKernel fake = new FakeKernel(Profile.parse("6.12,vtd-posting"));
    final FakePciDevice hardware;
    final Kernel kernel;
    final Vm vm;
    final GuestMemory memory;
    final VfioDevice device;
    final Forwarding forwarding;
    final EventLoop loop;
    final PciHostBridge bus = new PciHostBridge(HOLE, 0x8000);
    final PassedThroughDevice passed;
    final List<String> notices = new ArrayList<>();
    final Vcpu vcpu;
    private final Undo parts = new Undo();

    PassedWorld() {
        this(builder -> builder.express().resettable());
    }

    /** @param more says what the device has beside INTx, MSI-X, power management, BAR 0 and BAR 2 */
    PassedWorld(Consumer<FakePciDevice.Builder> more) {
        FakePciDevice.Builder builder = fake.pciDevice(NIC, 7)
                .ids(0x8086, 0x10d3)
                .intx()
                .msix(8)
                .powerManagement()
                .bar(0, SIZE)
                .msixTable(0, 0)
                .msixPending(0, PENDING)
                .bar(2, 0x1000);
        more.accept(builder);
        hardware = builder.add();
        kernel = parts.add(Kernel.over(faults.over(fake.backend())));
        vm = parts.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        memory = parts.add(vm.addMemory(0, HOLE));
        vcpu = parts.add(vm.createVcpu(new VcpuId(0)));
        vcpu.x86().enableLapic();
        device = parts.add(VfioDevice.open(kernel, PciAddress.parse(NIC)));
        forwarding = parts.add(Forwarding.create(vm, device));
        loop = parts.add(EventLoop.create(kernel));
        passed = parts.add(builder().build());
    }

    PassedThroughDevice.Builder builder() {
        return PassedThroughDevice.builder(bus, SLOT, vm, device, forwarding)
                .intx(PIN)
                .memory(memory)
                .notices(loop, new PassedThroughDevice.Notices() {
                    @Override
                    public void warned(String sentence) {
                        notices.add(sentence);
                    }

                    @Override
                    public void failed() {
                        notices.add("failed");
                    }

                    @Override
                    public void askedBack() {
                        notices.add("asked back");
                    }
                });
    }

    // Configuration space, by mechanism 1

    private void choose(int slot, int at) {
        bus.write(true, 0xcf8, 4, 1L << 31 | slot << 11 | at & 0xfc);
    }

    long config(int slot, int at, int size) {
        choose(slot, at);
        return bus.read(true, 0xcfc + (at & 3), size);
    }

    long config(int at, int size) {
        return config(SLOT, at, size) & (1L << Byte.SIZE * size) - 1;
    }

    void setConfig(int at, int size, long value) {
        choose(SLOT, at);
        bus.write(true, 0xcfc + (at & 3), size, value);
    }

    /** The kinds of interrupts that are forwarded. */
    Set<IrqKind> kinds() {
        return forwarding.irqs().stream().map(irq -> irq.irq().info().kind()).collect(Collectors.toSet());
    }

    /** Where a capability is; 0 if the guest does not have it. */
    int capability(int id) {
        int at = (int) config(0x34, 1);
        while (at != 0 && config(at, 1) != id) {
            at = (int) config(at + 1, 1);
        }
        return at;
    }

    void command(int value) {
        setConfig(COMMAND, 2, value);
    }

    long msixEnabled(boolean enabled) {
        int control = capability(0x11) + 2;
        setConfig(control, 2, enabled ? 1 << 15 : 0);
        return config(control, 2);
    }

    /** Writes an entry of the table and unmasks it. */
    void entry(int vector, int guestVector) {
        bus.write(false, REGISTERS + 16 * vector, 8, 0xfee00000L);
        bus.write(false, REGISTERS + 16 * vector + 8, 4, guestVector);
        bus.write(false, REGISTERS + 16 * vector + 12, 4, 0);
    }

    /** What the vCPU takes now. */
    List<Integer> taken() {
        List<Integer> taken = new ArrayList<>();
        fake.vcpus().get(0).enterGuest();
        for (var next = fake.vcpus().get(0).takeInterrupt();
                next.isPresent();
                next = fake.vcpus().get(0).takeInterrupt()) {
            taken.add(next.map(InterruptVector::number).orElseThrow());
        }
        return taken;
    }

    /** Has the guest write a byte. Returns whether that left the guest. */
    boolean store(int address, int value) {
        memory.mapping()
                .put(START, bytes("mov eax, %d; mov [%d], al; out 0x82, al".formatted(value, address & 0xffff)));
        vcpu.x86().startAt(START, START);
        VcpuExit exit = vcpu.run();
        boolean left = exit.reason() == VcpuExit.Reason.MMIO;
        if (left) {
            assertThat(exit.address()).isEqualTo(address);
            bus.handle(exit);
            exit = vcpu.run();
        }
        assertThat(exit.reason()).isEqualTo(VcpuExit.Reason.IO);
        assertThat(bus.handle(exit)).isFalse();
        return left;
    }

    @Override
    public void close() {
        parts.close();
        assertThat(kernel.openHandles()).isEmpty();
    }
}
