/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.run.VcpuThreads;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** A guest finds a device on its PCI bus, enables MSI, rings the device's doorbell, and takes its interrupt. */
class EmulatedDevice implements EmulatedFunction.Registers, VcpuThreads.Owner {
    private static final int SLOT = 1;
    private static final int PORTS = 0xc000; // where the bus puts the first BAR of ports
    private static final InterruptVector VECTOR = new InterruptVector(0x31);

    private final PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x10000000L);

    public static void main(String[] args) throws InterruptedException {
        EmulatedDevice vmm = new EmulatedDevice();
        try (Kernel kernel = args.length == 0 ? Kernel.open() : Kernel.open(args[0]);
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    EventLoop loop = EventLoop.create(kernel);
                    EventFd bell = EventFd.create(kernel);
                    EmulatedVectors vectors = EmulatedVectors.create(vm, 1);
                    EmulatedFunction device = EmulatedFunction.builder(vmm.bus, SLOT, vm, vmm)
                            .ids(0x1234, 0x11e8)
                            .type(0xff0000)
                            .ports(0, 16)
                            .msi(vectors)
                            .doorbell(0, 8, 1, bell) // a write of one byte to offset 8
                            .build()) {
                loop.registerDoorbell(bell, () -> vectors.signal(0));
                load(memory);
                vcpu.x86().enableLapic();
                vcpu.x86().startAt(0x1000, 0x8000);
                try (VcpuThreads threads = VcpuThreads.start(List.of(vcpu), vmm)) {
                    loop.runOnce();
                    threads.join();
                }
                System.out.println(device + " is at " + vmm.bus);
            }
        }
    }

    /** The registers of BAR 0, behind the doorbell. */
    @Override
    public long read(int bar, long at, int size) {
        return 0x10ec;
    }

    @Override
    public void write(int bar, long at, int size, long value) {}

    @Override
    public boolean exited(Vcpu vcpu, VcpuExit exit) {
        if (bus.handle(exit)) {
            return true;
        }
        System.out.println("the guest says: " + (char) exit.data());
        return false;
    }

    @Override
    public void failed(Vcpu vcpu, Throwable failure) {
        System.out.println(failure);
    }

    /** The guest: real mode, no firmware. */
    private static void load(GuestMemory memory) {
        ByteBuffer code = ByteBuffer.allocate(256).order(ByteOrder.LITTLE_ENDIAN);
        config(code, 0x04, 1); // COMMAND: ports
        config(code, 0x44, 0xfee00000); // MSI: the message to vCPU 0
        config(code, 0x4c, VECTOR.number());
        config(code, 0x40, 1 << 16); // MSI Enable
        code.put((byte) 0xfb); // sti
        code.put((byte) 0xba).putShort((short) (PORTS + 8)).put((byte) 0xee); // out %al, the doorbell
        code.put((byte) 0xf4).putShort((short) 0xfdeb); // hlt; jmp to hlt
        memory.mapping().put(0x1000, code.array());
        // the handler: mov 'k', %al; out %al, $0xe1; iret
        memory.mapping().put(0x2000, new byte[] {(byte) 0xb0, 'k', (byte) 0xe6, (byte) 0xe1, (byte) 0xcf});
        memory.mapping().putInt(VECTOR.number() * Integer.BYTES, 0x2000);
    }

    /** Writes a register of the function's configuration space: two OUTs of 32 bits. */
    private static void config(ByteBuffer code, int register, int value) {
        out(code, 0xcf8, 0x80000000 | SLOT << 11 | register);
        out(code, 0xcfc, value);
    }

    private static void out(ByteBuffer code, int port, int value) {
        code.putShort((short) 0xb866).putInt(value); // mov value, %eax
        code.put((byte) 0xba).putShort((short) port).putShort((short) 0xef66); // out %eax, (port)
    }
}
