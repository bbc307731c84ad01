/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;

/** On arm64: an eventfd sends event 1 of device 0x10 to the ITS, which makes LPI 8200 pending. */
class PendingLpi {
    static final long RAM = 0x4000_0000; // commands, then the tables of the guest, 64 KiB each
    static final long ITS = 0x809_0000;
    static final int LPI = 8200;
    static final VcpuId FIRST = new VcpuId(0);

    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));
        try (Kernel kernel = fake.open(); // Kernel.open() on an arm64 host
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(RAM, 0x6_0000);
                Vcpu vcpu = vm.createVcpu(FIRST);
                VgicV3 vgic = vm.arm64().createVgicV3();
                Its translator = vm.arm64().createIts();
                EventFd event = EventFd.create(kernel)) {
            vcpu.arm64().initialize();
            vgic.setInterrupts(128); // SPIs 32–127
            vgic.setDistributor(0x800_0000);
            vgic.addRedistributors(0, 0x80a_0000, 1); // a region for one vCPU
            vgic.init();
            translator.setAddress(ITS);
            translator.init();
            configureAsGuest(vgic, translator, memory.mapping());

            Gsi gsi = vm.routes().add(MsiMessage.toIts(ITS, 0x10, 1));
            try (Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
                event.signal();
                translator.saveTables(); // what a VMM saves: the tables, then the pending bits
                vgic.savePendingTables();
                int pending = memory.mapping().getByte(0x2_0000 + LPI / 8) >> LPI % 8 & 1;
                System.out.println(irqfd.gsi() + " made LPI " + LPI + " pending: " + (pending == 1));
            }
        }
    }

    /** The part of the guest's driver. A VMM that restores a VM writes other registers in another order. */
    static void configureAsGuest(VgicV3 vgic, Its translator, Mapping memory) {
        memory.putByte(0x1_0000 + LPI - 8192, (byte) 0xa1); // enabled
        vgic.writeRedistributor(FIRST, 0x70, (int) RAM + 0x1_0000 | 15); // GICR_PROPBASER, 16 bits of INTID
        vgic.writeRedistributor(FIRST, 0x78, (int) RAM + 0x2_0000); // GICR_PENDBASER
        vgic.writeRedistributor(FIRST, 0, 1); // GICR_CTLR: LPIs are on
        translator.writeRegister(0x80, 1L << 63 | RAM); // GITS_CBASER
        // GITS_BASER0 has the devices, GITS_BASER1 the collections.
        translator.writeRegister(0x100, translator.readRegister(0x100) | 1L << 63 | RAM + 0x3_0000);
        translator.writeRegister(0x108, translator.readRegister(0x108) | 1L << 63 | RAM + 0x4_0000);
        translator.writeRegister(0, 1); // GITS_CTLR: on
        long[][] commands = {
            ItsCommand.mapDevice(0x10, 5, RAM + 0x5_0000),
            ItsCommand.mapCollection(0, FIRST.number()),
            ItsCommand.mapEvent(0x10, 1, LPI, 0)
        };
        int end = 0;
        for (long[] command : commands) {
            memory.put(end, ItsCommand.bytes(command));
            end += ItsCommand.SIZE;
        }
        translator.writeRegister(0x88, end); // GITS_CWRITER
    }
}
