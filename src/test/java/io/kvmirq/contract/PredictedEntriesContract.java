/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.HostFacts;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * The mirror's predictions, against the remapping entries in the memory of a real kernel: posted entries in flavour
 * avic of the lab, remapped ones in amd and intel.
 */
@Tag("contract")
@Tag(RealKvm.TAG)
class PredictedEntriesContract {
    private static final int VECTORS = 5;

    private final Optional<TestDevice.Place> place = E1000E.onThisMachine();

    private PciAddress address() {
        assumeTrue(place.isPresent(), E1000E.isMissing());
        return PciAddress.parse(place.orElseThrow().address());
    }

    private static KernelIrtes entries() throws IOException {
        assumeTrue(System.getProperty("os.arch").equals("amd64"), "only an IOMMU of x86 has remapping entries");
        Optional<KernelIrtes> found = KernelIrtes.ofThisMachine();
        assumeTrue(found.isPresent(), "needs the memory of a kernel whose structures are known: Debian's 6.1 or 6.12");
        return found.orElseThrow();
    }

    /**
     * The lab switches the virtual APIC mode on without the kernel's files, and gives a processor of AMD a VT-d
     * that cannot post.
     */
    private static MirrorHost host(KernelIrtes kernel) throws IOException {
        HostFacts facts = new HostFacts(HostFiles.of(Path.of("/")));
        if (facts.iommus().stream().anyMatch(name -> name.startsWith("dmar"))) {
            return MirrorHost.x86(PostingHost.of(Vendor.INTEL).without(PostingHost.Feature.POSTING_UNITS));
        }
        Optional<PostingHost> posting = kernel.isVapic() ? Optional.of(PostingHost.of(Vendor.AMD)) : facts.posting();
        assertThat(posting)
                .as("what the host says of posting: %s", facts.unreadableOfPosting())
                .isPresent();
        return facts.avicKernel()
                .map(avic -> MirrorHost.x86(posting.get(), avic))
                .orElseGet(() -> MirrorHost.x86(posting.get()));
    }

    private static PredictedIrte predicted(Mirror mirror, ForwardedIrq irq) {
        return mirror.now().of(irq.event().id()).flatMap(PredictedIrq::irte).orElseThrow();
    }

    private static void assertEntry(KernelIrtes kernel, PciAddress device, PredictedIrte predicted) throws IOException {
        List<KernelIrtes.Entry> all = kernel.of(device.requesterId());
        List<KernelIrtes.Entry> agreeing = all.stream()
                .filter(entry -> predicted.agrees(entry.low(), entry.high()))
                .toList();
        System.out.println("lab-irte: predicted " + predicted + ", found " + agreeing + " among " + all);
        if (kernel.isVapic()) {
            assertThat(agreeing).as("entries of %s", predicted).hasSize(1);
        } else {
            assertThat(agreeing).as("entries of %s", predicted).hasSizeGreaterThanOrEqualTo(VECTORS);
        }
    }

    @Test
    void entriesAreAsPredicted() throws IOException {
        PciAddress address = address();
        KernelIrtes irtes = entries();
        Mirror mirror = Mirror.of(host(irtes));
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            vm.createIrqchip();
            try (Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1));
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice device = VfioDevice.open(kernel, address, kvmVfio);
                    Forwarding forwarding =
                            Forwarding.builder(vm, device).mirror(mirror).build()) {
                first.enableLapic();
                second.enableLapic();
                List<ForwardedIrq> irqs = forwarding.forwardAll(
                        device.msix(0, VECTORS), i -> MsiMessage.to(new VcpuId(i % 2), new InterruptVector(0x41 + i)));
                for (ForwardedIrq irq : irqs) {
                    System.out.println(
                            "lab-irte: " + irq + ", " + irq.predicted().text());
                    assertThat(irq.predicted() instanceof Posting.Posted).isEqualTo(irtes.isVapic());
                    assertEntry(irtes, address, predicted(mirror, irq));
                }
                irqs.get(0).reroute(MsiMessage.to(new VcpuId(1), new InterruptVector(0x61)));
                assertEntry(irtes, address, predicted(mirror, irqs.get(0)));
                irqs.get(0).mask();
                assertThat(irqs.get(0).predicted()).isInstanceOf(Posting.NotPosted.class);
                if (irtes.isVapic()) {
                    long posted = irtes.of(address.requesterId()).stream()
                            .filter(entry -> (entry.low() & 0x80) != 0)
                            .count();
                    assertThat(posted).as("posted entries while one is masked").isEqualTo(VECTORS - 1);
                }
                irqs.get(0).unmask();
                assertEntry(irtes, address, predicted(mirror, irqs.get(0)));
                device.reset(); // QEMU's e1000e counts 128 us from its last message
            }
        }
        assertThat(mirror.now().irqs()).isEmpty();
    }
}
