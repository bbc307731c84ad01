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
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import java.nio.ByteBuffer;
import java.util.HexFormat;

/** A guest reads a port in one VM, and writes what it read to another port in another VM. */
class MovedGuest {
    private static final int START = 0x1000;
    private static final int MEMORY = 0x10000;

    /** A VM with the parts that a VMM makes for a guest, whether it boots or continues. */
    private static final class Vmm implements AutoCloseable {
        private final Kernel kernel = new FakeKernel(Profile.parse("6.18")).open(); // on this machine: Kernel.open()
        private final Vm vm = Vm.create(kernel);
        private final GuestMemory memory = vm.addMemory(0, MEMORY);
        private final EventFd received = EventFd.create(kernel);
        private final Vcpu vcpu;
        private final Irqfd irqfd;

        Vmm() {
            vm.x86().createIrqchip();
            vcpu = vm.createVcpu(new VcpuId(0));
            irqfd = vm.assignIrqfd(received, vm.routes().add(MsiMessage.to(new VcpuId(0), new InterruptVector(0x31))));
        }

        /** Both VMMs use the same names. */
        VmParts parts() {
            return new VmParts(vm).vcpu(new VcpuId(0), vcpu).irqfd("packet received", irqfd);
        }

        @Override
        public void close() {
            irqfd.close();
            vcpu.close();
            received.close();
            memory.close();
            vm.close();
            kernel.close();
        }
    }

    public static void main(String[] args) {
        try (Vmm old = new Vmm();
                Vmm next = new Vmm()) {
            // in $0xe0, %al; out %al, $0xe1
            old.memory.mapping().put(START, HexFormat.of().parseHex("e4e0e6e1"));
            old.vcpu.x86().startAt(START, 0x8000);
            old.vcpu.x86().enableLapic();
            old.vcpu.run().answer('k');
            old.vcpu.kick();
            System.out.println(old.vcpu.run() + ": the guest has what it read, and is paused");
            try (VmMove move = VmMove.from(old.parts())) {
                ByteBuffer memory = ByteBuffer.allocate(MEMORY);
                old.memory.mapping().get(0, memory);
                next.memory.mapping().put(0, memory.array());
                old.received.signal(); // a device does not wait for the move
                move.into(next.parts());
            }
            next.irqfd.mask(); // waits until KVM has delivered the signal
            System.out.println("vector 0x31 waits: " + next.vcpu.x86().isRequested(new InterruptVector(0x31)));
            System.out.println("port 0xe1 = " + (char) next.vcpu.run().data());
        }
    }
}
