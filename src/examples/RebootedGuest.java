import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.snapshot.VmParts;
import java.util.HexFormat;
import java.util.List;

/** A guest reports its boot at port 0xe0, and resets the machine by port 0x64. */
class RebootedGuest implements VcpuThreads.Owner {
    private static final int START = 0x1000;

    private final GuestMemory memory;
    private final Vcpu vcpu;
    private final VmParts parts;
    private final VcpuThreads threads;
    private int boots;

    RebootedGuest(Vm vm, GuestMemory memory, Vcpu vcpu) {
        this.memory = memory;
        this.vcpu = vcpu;
        parts = new VmParts(vm).vcpu(new VcpuId(0), vcpu); // and .bus(bus), .ioapic(ioapic)
        loadFirmware();
        threads = VcpuThreads.startPaused(List.of(vcpu), this);
        threads.resume();
    }

    private void loadFirmware() {
        memory.mapping().put(START, HexFormat.of().parseHex("e6e0e664")); // out %al, $0xe0; out %al, $0x64
        vcpu.x86().startAt(START, 0x8000);
    }

    @Override
    public boolean exited(Vcpu vcpu, VcpuExit exit) {
        if (exit.reason() == VcpuExit.Reason.IO && exit.port() == 0xe0) {
            System.out.println("boot " + ++boots);
            return boots < 3;
        }
        System.out.println("reset by " + exit);
        threads.reboot(() -> {
            parts.reset();
            loadFirmware();
        });
        return true;
    }

    @Override
    public void failed(Vcpu vcpu, Throwable failure) {
        System.out.println("failed: " + failure);
    }

    public static void main(String[] args) throws InterruptedException {
        try (Kernel kernel = new FakeKernel(Profile.parse("6.18")).open(); // on this machine: Kernel.open()
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                new RebootedGuest(vm, memory, vcpu).threads.join();
            }
        }
    }
}
