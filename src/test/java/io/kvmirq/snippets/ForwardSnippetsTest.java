/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snippets;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Abi2014;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.forward.Userspace;
import io.kvmirq.junit.KvmTest;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.Snapshot;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.vfio.ArmedIrq;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.DmaMapping;
import io.kvmirq.vfio.Ioas;
import io.kvmirq.vfio.IrqInfo;
import io.kvmirq.vfio.Region;
import io.kvmirq.vfio.VfioCdev;
import io.kvmirq.vfio.VfioContainer;
import io.kvmirq.vfio.VfioDevice;
import io.kvmirq.vfio.VfioGroup;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Examples in the Javadoc of {@code io.kvmirq.vfio}, {@code forward} and {@code mirror}. */
class ForwardSnippetsTest {
    private final VcpuId first = new VcpuId(0);

    @KvmTest(profiles = "vtd-posting")
    void forwarding(Vm vm, Vcpu vcpu, VfioDevice nic) {
        vcpu.x86().enableLapic();
        Posting posting;
        // @start region="forwarding"
        try (Forwarding forwarding = Forwarding.create(vm, nic)) {
            List<ForwardedIrq> irqs = forwarding.forwardAll( // one routing commit, one VFIO_DEVICE_SET_IRQS
                    nic.msix(0, 4), i -> MsiMessage.to(first, new InterruptVector(0x30 + i)));
            irqs.get(0).trigger(); // as if the device had sent it
            posting = irqs.get(0).predicted(); // Posted, NotPosted or Unknown
        }
        // @end
        assertThat(posting).isInstanceOf(Posting.Posted.class);
        assertThat(vcpu.x86().isRequested(new InterruptVector(0x30))).isTrue();
    }

    @KvmTest(profiles = "vtd-posting")
    void forwarded(Vm vm, Vcpu vcpu, VfioDevice nic) {
        vcpu.x86().enableLapic();
        try (Forwarding forwarding = Forwarding.create(vm, nic)) {
            // @start region="forwarded"
            ForwardedIrq irq = forwarding.forward(nic.msix().get(3), MsiMessage.to(first, new InterruptVector(0x33)));
            irq.mask(); // what the device sends waits
            irq.reroute(MsiMessage.to(first, new InterruptVector(0x43)));
            irq.unmask();
            irq.path().links().forEach(link -> System.getLogger("my.vmm").log(System.Logger.Level.DEBUG, link));
            // @end
            assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
            // @start region="hop"
            InterruptPath path = irq.path();
            Known<Gsi> gsi = path.known(Hop.GSI); // such as gsi 24 (set up)
            Known<VcpuId> target = path.known(Hop.VCPU); // such as vcpu 0 (predicted)
            Known<HostIrq> irqOfHost = path.known(Hop.HOST_IRQ); // such as unknown: … (none was given)
            // @end
            assertThat(gsi).isInstanceOf(Known.SetUp.class);
            assertThat(target).isEqualTo(new Known.Predicted<>(first));
            assertThat(irqOfHost).isInstanceOf(Known.Unknown.class);
        }
    }

    @KvmTest(profiles = "vtd-posting")
    void userspace(Kernel kernel, Vm vm, Vcpu vcpu, VfioDevice nic) {
        vcpu.x86().enableLapic();
        // @start region="userspace"
        try (EventLoop loop = EventLoop.create(kernel); // a thread of the VMM runs it
                Forwarding relayed = Forwarding.builder(vm, nic)
                        .userspace(Userspace.into(vm, loop))
                        .build()) {
            ForwardedIrq irq = relayed.forward(nic.msix().get(0), MsiMessage.to(first, new InterruptVector(0x33)));
            irq.trigger();
            loop.poll(Duration.ZERO);
        }
        // @end
        assertThat(vcpu.x86().isRequested(new InterruptVector(0x33))).isTrue();
    }

    @Test
    void kvmVfio() {
        FakeKernel fake = new FakeKernel(Profile.parse("vtd-posting"));
        fake.pciDevice("0000:3b:00.0", 7).express().msix(4).add();
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            int vectors;
            // @start region="kvmvfio"
            try (KvmVfio kvmVfio = KvmVfio.create(vm); // one for each VM, before its devices open
                    VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio)) {
                nic.config().enableBusMaster();
                vectors = nic.msix().size();
            }
            // @end
            assertThat(vectors).isEqualTo(4);
        }
    }

    @Test
    void steps() {
        FakeKernel fake = new FakeKernel(Profile.parse("vtd"));
        fake.pciDevice("0000:3b:00.0", 7).express().msix(4).add();
        try (Kernel kernel = fake.open()) {
            boolean reached;
            // @start region="steps"
            try (VfioGroup group = VfioGroup.open(kernel, PciAddress.parse("0000:3b:00.0"));
                    VfioContainer container = group.createSpace();
                    VfioDevice nic = group.openDevice(PciAddress.parse("0000:3b:00.0"), container);
                    Mapping.Owner ram = Mapping.anonymous(kernel, 0x10000);
                    DmaMapping dma = container.map(0x100000, ram.mapping())) {
                reached = dma.iova() == 0x100000 && nic.info().irqs().stream().anyMatch(IrqInfo::eventfd);
            }
            // @end
            assertThat(reached).isTrue();
        }
    }

    @Test
    void cdev() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12,cdev,vtd"));
        fake.pciDevice("0000:3b:00.0", 7).express().msix(4).add();
        try (Kernel kernel = fake.open()) {
            VfioDevice.Access access;
            // @start region="cdev"
            try (VfioCdev file = VfioCdev.open(kernel, PciAddress.parse("0000:3b:00.0"));
                    Ioas space = file.createSpace();
                    VfioDevice nic = file.openDevice(space)) {
                access = nic.access();
            }
            // @end
            assertThat(access).hasToString("CDEV");
        }
    }

    @KvmTest
    void armed(EventFd event, EventFd other, VfioDevice nic) {
        // @start region="armed"
        try (ArmedVectors armed = nic.msix(0, 2).arm(List.of(event, other))) {
            armed.trigger(1); // VFIO_IRQ_SET_ACTION_TRIGGER, as a self-test
            armed.unwire(0);
        }
        // @end
        assertThat(other.drain()).isEqualTo(1);
    }

    @Test
    void line() {
        FakeKernel fake = new FakeKernel(Profile.V6_12);
        fake.pciDevice("0000:3b:00.0", 7).intx().add();
        try (Kernel kernel = fake.open();
                EventFd event = EventFd.create(kernel);
                EventFd unmask = EventFd.create(kernel);
                VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"))) {
            // @start region="line"
            try (ArmedLine line = nic.intx().arm(event)) {
                line.unmaskBy(unmask); // the resample eventfd of a level irqfd
                line.trigger(); // masks itself
                line.unmask(); // as unmask.signal() does
            }
            // @end
            assertThat(event.drain()).isEqualTo(1);
        }
    }

    @Test
    void region() {
        FakeKernel fake = new FakeKernel(Profile.V6_12);
        fake.pciDevice("0000:3b:00.0", 7).intx().bar(0, 0x1000).add();
        try (Kernel kernel = fake.open();
                VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"))) {
            // @start region="region"
            nic.config().enableMemory();
            Region bar = nic.region(0);
            bar.putInt(0x10, 1);
            long status = bar.read(0x10, 4);
            // @end
            assertThat(status).isEqualTo(1);
        }
    }

    @Test
    void notices() {
        FakeKernel fake = new FakeKernel(Profile.V6_12);
        FakePciDevice hardware =
                fake.pciDevice("0000:3b:00.0", 7).express().msix(1).add();
        try (Kernel kernel = fake.open();
                EventFd event = EventFd.create(kernel);
                VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"))) {
            boolean asked;
            // @start region="notices"
            try (ArmedIrq request = nic.req().arm(event)) { // the host wants the device back; err() reports errors
                request.trigger(); // the host does this when it unbinds the device
                asked = event.drain() > 0;
            }
            // @end
            assertThat(asked).isTrue();
            assertThat(hardware.address()).isEqualTo(nic.name());
        }
    }

    @Test
    void abi2014() {
        FakeKernel fake = new FakeKernel(Profile.V6_12);
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            Abi2014.Probe probe;
            // @start region="abi2014"
            try (KvmVfio kvmVfio = KvmVfio.create(vm)) {
                probe = Abi2014.probe(kvmVfio); // sets nothing
            }
            // @end
            assertThat(probe.toString()).isNotEmpty();
        }
    }

    @KvmTest(profiles = "vtd-posting")
    void mirror(Vm vm, Vcpu vcpu, VfioDevice nic) {
        vcpu.x86().enableLapic();
        try (Forwarding forwarding = Forwarding.create(vm, nic)) {
            ForwardedIrq irq = forwarding.forward(nic.msix().get(0), MsiMessage.to(first, new InterruptVector(0x33)));
            // @start region="mirror"
            Mirror mirror = forwarding.mirror();
            mirror.apply(new Event.VcpuRemoved(new VcpuId(7))); // a fact that no file shows
            Snapshot now = mirror.now();
            Optional<PredictedIrq> predicted = now.of(irq.event().id());
            predicted.flatMap(known -> known.irte().known()).ifPresent(entry -> System.out.println(entry.fields()));
            // @end
            assertThat(predicted.flatMap(known -> known.vcpu().known())).contains(first);
            assertThat(predicted.flatMap(PredictedIrq::gsi))
                    .isEqualTo(Optional.<Gsi>of(irq.gsi().orElseThrow()));
        }
    }
}
