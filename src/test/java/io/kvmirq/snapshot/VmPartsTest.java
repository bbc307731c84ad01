/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.GuestMsix;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.OptionalInt;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Mistakes in the list of a VM's parts, of which a split VM has the most. Each is one sentence and adds nothing. */
class VmPartsTest {
    private static final String NIC = "0000:3b:00.0";
    private static final VcpuId FIRST = new VcpuId(0);

    private final Undo made = new Undo();
    private final FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
    private Kernel kernel;
    private Split ours;
    private Split other;

    /** A VM whose IOAPIC is in this process, and a function on its bus. */
    private final class Split {
        final Vm vm = made.add(Vm.create(kernel));
        final PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x1000000);
        final GuestIoapic ioapic;
        final Vcpu vcpu;
        final EmulatedFunction function;

        Split() {
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            vcpu = made.add(vm.createVcpu(FIRST));
            function =
                    made.add(builder(bus, 1).intx(new Gsi(16), ioapic.source()).build());
        }

        EmulatedFunction.Builder builder(PciHostBridge bus, int slot) {
            return EmulatedFunction.builder(bus, slot, vm, new EmulatedFunction.Registers() {
                        @Override
                        public long read(int bar, long at, int size) {
                            return 0;
                        }

                        @Override
                        public void write(int bar, long at, int size, long value) {}
                    })
                    .ids(1, 2);
        }

        VmParts parts() {
            return new VmParts(vm).vcpu(FIRST, vcpu).ioapic(ioapic).bus(bus).device("nic", function);
        }
    }

    @BeforeEach
    void open() {
        fake.pciDevice(NIC, 7).intx().msix(2).add();
        kernel = made.add(fake.open());
        ours = new Split();
        other = new Split();
    }

    @AfterEach
    void close() {
        made.close();
    }

    private static void refused(ThrowingCallable call, String sentence) {
        assertThatIllegalArgumentException().isThrownBy(call).withMessage(sentence);
    }

    private String notOurs(Object part) {
        return part + " is not a part of " + ours.vm + ": it belongs to another VM, whose state this would be";
    }

    private String foreignLine() {
        return "a line of the GuestIoapic of " + other.vm + " cannot interrupt " + ours.vm
                + ": pass this VM's IOAPIC, or a source of it";
    }

    @Test
    void partsOfAnotherVmAreRefused() {
        VmParts parts = new VmParts(ours.vm).vcpu(FIRST, ours.vcpu);
        refused(() -> parts.device("nic", other.function), notOurs(other.function));
        refused(() -> parts.bus(other.bus), notOurs(other.function));
        refused(() -> parts.ioapic(other.ioapic), foreignLine());
        refused(() -> parts.lines("serial", other.ioapic.source()), foreignLine());
        VfioDevice device = made.add(VfioDevice.open(kernel, PciAddress.parse(NIC)));
        GuestMsix msix = new GuestMsix(made.add(Forwarding.create(other.vm, device)), device, OptionalInt.empty());
        refused(() -> parts.messages("msix", device, msix), notOurs(msix));
        parts.ioapic(ours.ioapic).bus(ours.bus).device("nic", ours.function).lines("serial", ours.ioapic.source());
        assertThat(VmSnapshot.take(parts)).hasToString("snapshot of 1 vCPUs, 0 irqfds and 1 devices");
    }

    @Test
    void chipsOfAnotherArmVmAreRefused() {
        Kernel arm = made.add(new FakeKernel(Profile.parse("gicv3")).open());
        Vm vm = made.add(Vm.create(arm));
        Vm next = made.add(Vm.create(arm));
        VgicV3 vgic = made.add(next.arm64().createVgicV3());
        Its its = made.add(next.arm64().createIts());
        VmParts parts = new VmParts(vm);
        String rest = " is not a part of " + vm + ": it belongs to another VM, whose state this would be";
        refused(() -> parts.vgic(vgic), vgic + rest);
        refused(() -> parts.its(its), its + rest);
        VmParts right = new VmParts(next).vgic(vgic).its(its);
        refused(() -> right.its(its), its + " is among the parts already: add each ITS once");
        refused(
                () -> right.vgic(vgic),
                "a second VgicV3 of " + next + " would replace the first among its parts: a VM has one, add it once");
    }

    /** The VMM attached it to this bus after the bus was added. */
    @Test
    void resetRefusesABusWithAnotherVmsDevice() {
        VmParts parts = ours.parts();
        ours.function.raiseLine();
        EmulatedFunction foreign = made.add(other.builder(ours.bus, 2).build());
        refused(parts::reset, notOurs(foreign));
        assertThat(ours.ioapic.isHigh(16)).as("nothing is reset").isTrue();
    }

    @Test
    void forgottenIoapicIsNamed() {
        VmParts parts = new VmParts(ours.vm).vcpu(FIRST, ours.vcpu).device("nic", ours.function);
        String sentence =
                "the GuestIoapic of " + ours.vm + " is not among the parts, and a snapshot or reset without it"
                        + " would lose its state: name it with VmParts.ioapic";
        ours.function.raiseLine();
        refused(() -> VmSnapshot.take(parts), sentence);
        refused(() -> VmMove.from(parts), sentence);
        refused(parts::reset, sentence);
        assertThat(ours.ioapic.isHigh(16)).as("nothing is held or reset").isTrue();
        refused(() -> VmSnapshot.take(other.parts()).restore(parts), sentence);
        assertThat(VmSnapshot.take(parts.ioapic(ours.ioapic)).vcpus()).containsExactly(FIRST);
    }

    @Test
    void secondChipOrBusIsRefused() {
        VmParts parts = ours.parts().pic(new GuestPic());
        String rest = " of " + ours.vm + " would replace the first among its parts: a VM has one, add it once";
        refused(() -> parts.ioapic(ours.ioapic), "a second GuestIoapic" + rest);
        refused(() -> parts.bus(new PciHostBridge(0x80000000L, 0x1000)), "a second PciHostBridge" + rest);
        refused(() -> parts.pic(new GuestPic()), "a second GuestPic" + rest);
        ours.function.raiseLine();
        parts.reset();
        assertThat(ours.ioapic.isHigh(16)).as("its bus is reset").isFalse();
    }

    @Test
    void namesOfAllKindsDiffer() {
        EventFd event = made.add(EventFd.create(kernel));
        VmParts parts = ours.parts().event("rx", event);
        EventFd next = made.add(EventFd.create(kernel));
        String rest = ": each needs a name of its own";
        refused(() -> parts.lines("rx", ours.ioapic.source()), "two parts are named rx" + rest);
        refused(() -> parts.event("nic", next), "two parts are named nic" + rest);
        EmulatedFunction second = made.add(ours.builder(ours.bus, 2).build());
        refused(() -> parts.device("rx", second), "two parts are named rx" + rest);
        parts.lines("serial", ours.ioapic.source());
        refused(() -> parts.event("serial", next), "two parts are named serial" + rest);
        parts.event("tx", next);
        assertThat(VmSnapshot.take(parts).events()).containsExactly("rx", "tx");
    }

    /** An irqfd brings the eventfd of its end, whose name another part has. */
    @Test
    void refusedIrqfdAddsNoEventfd() {
        Vm vm = made.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        EventFd event = made.add(EventFd.create(kernel));
        Irqfd irqfd = made.add(vm.assignLevelIrqfd(event, made.add(EventFd.create(kernel)), new Gsi(5)));
        VmParts parts = new VmParts(vm).event("line resample", made.add(EventFd.create(kernel)));
        refused(() -> parts.irqfd("line", irqfd), "two parts are named line resample: each needs a name of its own");
        parts.irqfd("uart", irqfd);
        assertThat(VmSnapshot.take(parts).events()).containsExactly("line resample", "uart", "uart resample");
    }

    @Test
    void pinThatTheIoapicLacksIsRefused() {
        String sentence = new Gsi(24) + " is not a pin of this IOAPIC, which has 0 to 23";
        EmulatedFunction.Builder builder = ours.builder(ours.bus, 2);
        refused(() -> builder.intx(new Gsi(24), ours.ioapic.source()), sentence);
        refused(() -> builder.intx(new Gsi(24), ours.ioapic), sentence);
        EmulatedFunction function =
                made.add(builder.intx(new Gsi(23), ours.ioapic.source()).build());
        function.raiseLine();
        assertThat(ours.ioapic.isHigh(23)).isTrue();
        VfioDevice device = made.add(VfioDevice.open(kernel, PciAddress.parse(NIC)));
        EventLoop loop = made.add(EventLoop.create(kernel));
        Forwarding forwarding = made.add(Forwarding.builder(ours.vm, device)
                .userspace(Userspace.of(loop, ours.ioapic.source()))
                .build());
        refused(() -> forwarding.forward(device.intx(), new Gsi(24)), sentence);
        assertThat(forwarding.irqs()).isEmpty();
        assertThat(forwarding.forward(device.intx(), new Gsi(17)).isMasked()).isFalse();
    }

    @Test
    void linesOfAnotherVmsIoapicAreRefused() {
        EmulatedFunction.Builder builder = ours.builder(ours.bus, 2);
        refused(() -> builder.intx(new Gsi(16), other.ioapic.source()), foreignLine());
        refused(() -> builder.intx(new Gsi(16), other.ioapic), foreignLine());
        VfioDevice device = made.add(VfioDevice.open(kernel, PciAddress.parse(NIC)));
        EventLoop loop = made.add(EventLoop.create(kernel));
        Forwarding.Builder forwarding = Forwarding.builder(ours.vm, device);
        refused(() -> forwarding.userspace(Userspace.of(loop, other.ioapic.source())), foreignLine());
        refused(
                () -> forwarding.userspace(Userspace.into(other.vm, loop)),
                "an injector into " + other.vm + " cannot interrupt " + ours.vm
                        + ": create one with Userspace.into for this VM");
        assertThat(made.add(forwarding.userspace(Userspace.into(ours.vm, loop)).build())
                        .warnings())
                .hasSize(1);
    }
}
