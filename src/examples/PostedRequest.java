/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.InterruptVector;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.UnitCapabilities;
import io.kvmirq.arch.vtd.posting.PostedVcpu;
import io.kvmirq.arch.vtd.posting.PostedVm;
import io.kvmirq.arch.vtd.posting.RemappingTable;
import io.kvmirq.arch.vtd.posting.RemappingUnit;

/** A device's message wakes a vCPU that sleeps: device, unit, descriptor, processor, vCPU. */
class PostedRequest implements RemappingTable.Observer {
    public static void main(String[] args) {
        HostCpus host = new HostCpus(4, 5); // two processors with these APIC ids
        PostedVm vm = new PostedVm(host, 1, true);
        PostedVcpu vcpu = vm.vcpu(0);
        UnitCapabilities capabilities = new UnitCapabilities(1L << 59, 0x1a); // PI, EIM, QI, IR
        RemappingTable table = new RemappingTable(new long[2 * 16], capabilities, true, new PostedRequest());
        RemappingUnit unit = new RemappingUnit(table, host, vm::descriptorAt);

        table.set(3, new RemappedIrte(0x0000000400220009L, 0x43b00L)); // vector 0x22 of the host, for 3b:00.0
        vm.startBypass();
        table.post(3, vcpu.descriptorAddress(), new InterruptVector(0x41));

        HostCpu processor = host.cpu(1);
        vcpu.thread().load(processor.number());
        vcpu.thread().block(true); // the guest halts
        unit.request(RemappableMsi.to(3, 0), 0x3b00);
        processor.takeInterrupt(); // the wake-up vector
        System.out.println(vcpu.thread().isAsleep() ? "sleeps" : "woken");
        vcpu.thread().load(processor.number());
        vcpu.thread().unblock();
        vcpu.thread().enter();
        System.out.println(vcpu.isInIrr(0x41) ? "0x41 is in the IRR" : "lost");
    }

    @Override
    public void written(int index, long low, long high, boolean atOnce) {
        System.out.printf("entry %d is 0x%016x%016x%n", index, high, low);
    }

    @Override
    public void invalidated(int index) {}
}
