/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snippets;

import static io.kvmirq.junit.KvmAssertions.assertThat;
import static io.kvmirq.junit.KvmAssertions.once;
import static io.kvmirq.junit.KvmAssertions.vector;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.fake.FakeIrte;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeMessages;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakePlatformDevice;
import io.kvmirq.fake.FakeTracing;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.junit.Actors;
import io.kvmirq.junit.Interleavings;
import io.kvmirq.junit.KvmHost;
import io.kvmirq.junit.KvmTest;
import io.kvmirq.junit.Real;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Examples in the Javadoc of {@code io.kvmirq.fake} and {@code junit}. */
class FakeSnippetsTest {
    private final VcpuId first = new VcpuId(0);

    @Test
    void kernel() {
        // @start region="kernel"
        FakeKernel fake = new FakeKernel(Profile.parse("6.12,vtd-posting"));
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip(); // the errnos and lifetimes of Linux 6.12
        }
        boolean leaves = !fake.openDescriptors().isEmpty();
        // @end
        assertThat(leaves).isFalse();
    }

    @Test
    void device() {
        FakeKernel fake = new FakeKernel(Profile.parse("vtd-posting"));
        // @start region="device"
        FakePciDevice hardware = fake.pciDevice("0000:3b:00.0", 7) // in IOMMU group 7
                .express()
                .bar(0, 0x1000)
                .msix(4)
                .add();
        // @end
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu vcpu = vm.createVcpu(first);
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice nic = VfioDevice.open(kernel, hardware.address(), kvmVfio);
                    Forwarding forwarding = Forwarding.create(vm, nic)) {
                vcpu.x86().enableLapic();
                nic.config().enableBusMaster();
                // @start region="hardware"
                ForwardedIrq irq = forwarding.forward(nic.msix().get(0), MsiMessage.to(first, vector(0x33)));
                boolean signalled = hardware.sendMessage(0); // false: posted, past the eventfd
                FakeIrte entry = hardware.irte(0); // what the IOMMU holds for vector 0
                boolean posted = entry.isPosted();
                FakeMessages.Counts counts = fake.messages().counts();
                // @end
                assertThat(signalled).isFalse();
                assertThat(posted).isTrue();
                assertThat(irq.isMasked()).isFalse();
                assertThat(counts.sent()).isEqualTo(1);
            }
        }
    }

    @Test
    void platform() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));
        // @start region="platform"
        FakePlatformDevice uart =
                fake.platformDevice("fff51000.serial", 3).level().add(); // interrupt 0 is a line
        uart.requestService(0); // the line is high until serve(0)
        uart.serve(0);
        // @end
        assertThat(fake.lost()).isEmpty();
    }

    @KvmTest(profiles = "vtd-posting")
    void vcpu(KvmHost host, FakeKernel fake, Vm vm, Vcpu made, EventFd event) {
        made.x86().enableLapic();
        vm.signal(MsiMessage.to(first, vector(0x31)));
        // @start region="vcpu"
        FakeVcpu vcpu = fake.vcpus().get(0);
        vcpu.load(2); // on CPU 2
        vcpu.enterGuest();
        boolean has = vcpu.takeInterrupt().isPresent();
        vcpu.preempt();
        // @end
        assertThat(has).isTrue();
    }

    @KvmTest(profiles = "vtd-posting")
    void tracing(FakeKernel fake, Vcpu made) {
        Map<Integer, List<ByteBuffer>> pages; // by CPU, as per_cpu/cpuN/trace_pipe_raw has them
        // @start region="tracing"
        try (FakeTracing tracing = fake.tracing()) {
            tracing.choose("kvm/kvm_fpu");
            tracing.start();
            fake.vcpus().get(0).load(2); // on CPU 2
            pages = tracing.read();
        }
        // @end
        assertThat(made.id()).isEqualTo(first);
        assertThat(pages).containsKey(2);
    }

    @Test
    void exits() {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        // @start region="exits"
        fake.vcpu(0).exits(FakeExit.ioIn(0x3fd, 1), FakeExit.ioOut(0x3f8, 1, 'A'), FakeExit.hlt());
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(first)) {
            vcpu.run().answer(0x60); // a serial port that is ready
            vcpu.run(); // writes A
        }
        // @end
        assertThat(fake.vcpu(0).answers()).containsExactly(0x60L);
    }

    @KvmTest
    void faults(Kernel kernel, Vm vm, EventFd event, Faults faults) {
        // @start region="faults"
        faults.fail("KVM_IRQFD", 1, Errno.ENOMEM); // the first call; over(backend) makes a kernel of it
        KernelException refused = assertThrows(KernelException.class, () -> vm.assignIrqfd(event, new Gsi(5)));
        Irqfd irqfd = vm.assignIrqfd(event, new Gsi(5)); // the second one works
        irqfd.close();
        // @end
        assertThat(refused.errno()).isEqualTo(Errno.ENOMEM);
    }

    @Test
    void armVcpu() {
        FakeKernel fake = new FakeKernel(Profile.parse("gicv4"));
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(first)) {
            vcpu.arm64().initialize();
            try (VgicV3 vgic = vm.arm64().createVgicV3()) {
                vgic.setInterrupts(64);
                vgic.setDistributor(0x8000000);
                vgic.addRedistributors(0, 0x80a0000, 1);
                vgic.init();
                vgic.writeDistributor(0, 2);
                vgic.writeRedistributor(first, 0x10080, 1 << 3); // GICR_IGROUPR0
                vgic.writeRedistributor(first, 0x10100, 1 << 3); // GICR_ISENABLER0
                vgic.writeSystemRegister(first, VgicV3.systemRegister(3, 0, 4, 6, 0), 0xf0); // ICC_PMR_EL1
                vgic.writeSystemRegister(first, VgicV3.systemRegister(3, 0, 12, 12, 7), 1); // ICC_IGRPEN1_EL1
                int intid;
                // @start region="armvcpu"
                try (Fd.Lease lease = vm.fd().lease()) {
                    FakeArmVcpu played = fake.armVcpu(lease.number(), first);
                    played.sendSgi(3, first); // to itself
                    intid = played.acknowledge();
                    played.end(intid);
                }
                // @end
                assertThat(intid).isEqualTo(3);
            }
        }
    }

    // @start region="test"
    @KvmTest(profiles = "vtd-posting", real = Real.IF_PRESENT)
    void signalArrivesOnce(KvmHost host) {
        host.interrupt(0, vector(0x31)).signal(); // an eventfd that raises the vector of vCPU 0
        assertThat(host.vcpu(0)).received(vector(0x31), once());
        assertThat(host).lostNothing();
    }
    // @end

    // @start region="orders"
    @Interleavings(preemptions = 1)
    void maskWhileTheDeviceFires(Actors actors, KvmHost host, FakePciDevice nic, VfioDevice device) {
        Forwarding forwarding = actors.closing(Forwarding.create(host.vm(), device));
        ForwardedIrq irq = forwarding.forward(device.msix().get(3), MsiMessage.to(first, vector(0x33)));
        actors.add("device", () -> nic.sendMessage(3));
        actors.add("control plane", irq::mask, irq::unmask);
        actors.after(() -> assertThat(host.vcpu(0)).received(vector(0x33), once()));
    }
    // @end
}
