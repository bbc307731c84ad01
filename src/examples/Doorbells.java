import io.kvmirq.IoAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import java.time.Duration;
import java.util.HexFormat;

/** A guest rings doorbells of its device without an exit, and the VMM hears them in one thread. */
class Doorbells {
    private static final int START = 0x1000;
    private static final int FIRST = 0x90;

    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
        try (Kernel kernel = fake.open(); // on this machine: Kernel.open()
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                EventLoop loop = EventLoop.create(kernel);
                EventFd receive = EventFd.create(kernel);
                EventFd send = EventFd.create(kernel);
                IoEventFd first = vm.assignIoEventFd(IoAddress.port(FIRST, 1), receive);
                IoEventFd second = vm.assignIoEventFd(IoAddress.port(FIRST + 1, 1), send)) {
            loop.registerDoorbell(receive, () -> System.out.println("rung: " + first));
            loop.registerDoorbell(send, () -> System.out.println("rung: " + second));
            // out %al, $0x91, three times; out %al, $0x82, which is nobody's
            memory.mapping().put(START, HexFormat.of().parseHex("e691e691e691e682"));
            vcpu.x86().startAt(START, 0x8000);
            System.out.println(vcpu.run());
            System.out.println(loop.poll(Duration.ZERO) + " handler was called"); // loop.run() in a thread of its own
        }
    }
}
