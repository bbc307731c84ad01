import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kvm.DirtyLog;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import java.util.HexFormat;

/** A guest has memory that a device in another process maps, and firmware that it cannot change. */
class GuestRam {
    private static final int START = 0x1000;

    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
        try (Kernel kernel = fake.open(); // on this machine: Kernel.open()
                Vm vm = Vm.create(kernel);
                MemoryFile file = MemoryFile.create(kernel, "guest ram", 0xf000);
                Mapping.Owner firmware = Mapping.anonymous(kernel, 0x1000);
                Mapping.Owner device = file.map(); // another process does this with the number of file.fd().lease()
                GuestMemory memory = addMemory(vm, file);
                GuestMemory rom = vm.addReadOnlyMemory(0xf000, firmware.mapping());
                Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            // mov $42, %eax; mov %al, (0x8000); mov %al, (0xf800)
            device.mapping().put(START, HexFormat.of().parseHex("66b82a000000a20080a200f8"));
            vcpu.x86().startAt(START, 0x7000);
            try (DirtyLog log = memory.logDirtyPages()) {
                System.out.println(vcpu.run() + ", rom has " + rom.mapping().getByte(0x800));
                log.take();
                for (long page = log.next(0); page >= 0; page = log.next(page + DirtyLog.PAGE)) {
                    System.out.println("written: page 0x" + Long.toHexString(page) + ", which begins with "
                            + device.mapping().getByte(page));
                }
            }
        }
    }

    private static GuestMemory addMemory(Vm vm, MemoryFile file) {
        try (Mapping.Owner ram = file.map()) {
            return vm.addMemory(0, ram.mapping()); // the guest keeps it mapped
        }
    }
}
