import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;

/** An emulated device raises its vector while the guest masks it and moves it to another vCPU. */
class MaskedVector {
    public static void main(String[] args) {
        VcpuId first = new VcpuId(0);
        VcpuId second = new VcpuId(1);
        InterruptVector number = new InterruptVector(0x31);
        FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
        try (Kernel kernel = fake.open(); // on this machine: Kernel.open()
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu before = vm.createVcpu(first);
                    Vcpu after = vm.createVcpu(second);
                    MaskableVector vector = MaskableVector.create(vm, MsiMessage.to(first, number))) {
                before.x86().enableLapic();
                after.x86().enableLapic();
                vector.mask();
                vector.signal(); // waits in vector.event()
                vector.reroute(MsiMessage.to(second, number));
                System.out.println("masked:   " + before.x86().isRequested(number) + " " + after.x86().isRequested(number));
                vector.unmask();
                System.out.println("unmasked: " + before.x86().isRequested(number) + " " + after.x86().isRequested(number));
            }
        }
    }
}
