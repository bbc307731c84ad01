import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.snapshot.VmParts;
import java.nio.ByteBuffer;
import java.util.HexFormat;

/** A guest reads a port in one VM, and writes what it read to another port in another VM. */
class MovedGuest {
    private static final int START = 0x1000;
    private static final int MEMORY = 0x10000;

    /** A VM in a process of its own: nothing but the document and the guest's memory goes from one to the other. */
    private static final class Vmm implements AutoCloseable {
        private final Kernel kernel = new FakeKernel(Profile.of("6.18")).open(); // on this machine: Kernel.open()
        private final Vm vm = Vm.create(kernel);
        private final GuestMemory memory = vm.addMemory(0, MEMORY);
        private final EventFd received = EventFd.create(kernel);
        private final Vcpu vcpu;

        Vmm() {
            vm.x86().createIrqchip();
            vcpu = vm.createVcpu(new VcpuId(0));
        }

        /** Both VMMs use the same names. */
        VmParts parts() {
            return new VmParts(vm).vcpu(new VcpuId(0), vcpu).event("packet received", received);
        }

        @Override
        public void close() {
            vcpu.close();
            received.close();
            memory.close();
            vm.close();
            kernel.close();
        }
    }

    public static void main(String[] args) {
        String document;
        ByteBuffer memory = ByteBuffer.allocate(MEMORY);
        try (Vmm vmm = new Vmm()) {
            // in $0xe0, %al; out %al, $0xe1
            vmm.memory.mapping().put(START, HexFormat.of().parseHex("e4e0e6e1"));
            vmm.vcpu.x86().startAt(START, 0x8000);
            vmm.vcpu.x86().enableLapic();
            Gsi gsi = vmm.vm.routes().add(MsiMessage.to(new VcpuId(0), new InterruptVector(0x31)));
            try (Irqfd irqfd = vmm.vm.assignIrqfd(vmm.received, gsi)) {
                irqfd.mask();
                vmm.received.signal();
                vmm.vcpu.run().answer('k');
                vmm.vcpu.kick();
                System.out.println(vmm.vcpu.run() + ": the guest has what it read, and is paused");
                document = VmSnapshot.moving(vmm.parts().irqfd(irqfd)).text();
                vmm.memory.mapping().get(0, memory);
            }
        }
        try (Vmm vmm = new Vmm()) {
            vmm.memory.mapping().put(0, memory.array());
            Irqfd irqfd = VmSnapshot.parse(document).restore(vmm.parts()).get(0);
            irqfd.unmask();
            System.out.println("vector 0x31 waits: " + vmm.vcpu.x86().isRequested(new InterruptVector(0x31)));
            System.out.println("port 0xe1 = " + (char) vmm.vcpu.run().data());
            irqfd.close();
        }
    }
}
