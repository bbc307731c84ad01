/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.InterruptVector;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.vfio.PciConfig;
import io.kvmirq.vfio.VfioDevice;

/** A guest finds an nvme on its bus, enables MSI-X and has its interrupt. */
class PassedNvme {
    private static final PciAddress NVME = PciAddress.parse("0000:3b:00.0");
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final long HOLE = 0xc0000000L;

    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12")); // Kernel.open() for a device that is bound to vfio-pci
        FakePciDevice hardware = fake.pciDevice(NVME.toString(), 7)
                .ids(0x1b36, 0x10)
                .express()
                .resettable()
                .bar(0, 0x4000)
                .msix(8)
                .msixTable(0, 0x2000)
                .msixPending(0, 0x3000)
                .add();
        PciHostBridge bus = new PciHostBridge(HOLE, 0x3ec00000L);
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (GuestMemory ram = vm.addMemory(0, 16 << 20);
                    Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice nvme = VfioDevice.open(kernel, NVME, kvmVfio);
                    Forwarding forwarding = Forwarding.create(vm, nvme);
                    PassedThroughDevice device = PassedThroughDevice.builder(bus, 1, vm, nvme, forwarding)
                            .memory(ram)
                            .build()) {
                vcpu.x86().enableLapic(); // a guest's kernel does this
                play(fake, msix(nvme.config()));
                for (VcpuExit exit = vcpu.run(); exit.reason() != VcpuExit.Reason.SHUTDOWN; exit = vcpu.run()) {
                    if (!bus.handle(exit)) {
                        System.out.println("not for the bus: " + exit);
                    }
                }
                fake.vcpu(0)
                        .answers()
                        .forEach(answer -> System.out.println("the guest reads 0x" + Long.toHexString(answer)));
                hardware.sendMessage(0); // real hardware does this on its own
                System.out.println(device + " sent " + VECTOR + ": " + vcpu.x86().isRequested(VECTOR));
            }
        }
    }

    /** Where the capability of MSI-X is, id 0x11; the guest's list has it at the same place. */
    private static int msix(PciConfig config) {
        int at = config.getByte(0x34);
        while (config.getByte(at) != 0x11) {
            at = config.getByte(at + 1);
        }
        return at;
    }

    /** The exits of a guest's kernel, as far as the fake has no code for it. */
    private static void play(FakeKernel fake, int msix) {
        long slot = 0x80000000L | 1 << 11;
        fake.vcpu(0)
                .exits(
                        FakeExit.ioOut(0xcf8, 4, slot), // identity
                        FakeExit.ioIn(0xcfc, 4),
                        FakeExit.ioOut(0xcf8, 4, slot | 0x10), // BAR 0
                        FakeExit.ioIn(0xcfc, 4),
                        FakeExit.ioOut(0xcf8, 4, slot | 4), // COMMAND: memory and bus master
                        FakeExit.ioOut(0xcfc, 2, 6),
                        FakeExit.ioOut(0xcf8, 4, slot | msix), // Message Control: enabled
                        FakeExit.ioOut(0xcfe, 2, 0x8000),
                        FakeExit.mmioWrite(HOLE + 0x2000, 8, 0xfee00000L), // entry 0 of the table: address,
                        FakeExit.mmioWrite(HOLE + 0x2008, 8, VECTOR.number()), // data and mask
                        FakeExit.shutdown());
    }
}
