/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTagKernel;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The words of an entry in guest mode, by the version of the kernel: those of decide beside those of the fake. */
class EntryOfKernelTest {
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final String NIC = "0000:3b:00.0";

    @AutoClose
    private final Undo undo = new Undo();

    /** Bits 63:0 of the entry of a message to the last vCPU, which was never loaded. */
    private long entry(String profile, int... ids) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        FakePciDevice hardware =
                fake.pciDevice(NIC, 7).msix(1).express().resettable().add();
        Kernel kernel = undo.add(fake.open());
        Vm vm = undo.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        for (int id : ids) {
            undo.add(vm.createVcpu(new VcpuId(id))).x86().enableLapic();
        }
        KvmVfio files = undo.add(KvmVfio.create(vm));
        VfioDevice device = undo.add(VfioDevice.open(kernel, PciAddress.parse(NIC), files));
        device.config().enableBusMaster();
        undo.add(Forwarding.create(vm, device))
                .forward(device.msix().get(0), MsiMessage.to(new VcpuId(ids[ids.length - 1]), VECTOR));
        return low(hardware.irte(0).words());
    }

    private static long low(String words) {
        return Long.parseUnsignedLong(words.split(" ")[1].substring(2), 16);
    }

    @ParameterizedTest
    @CsvSource({"6.1, 0x20500000085", "6.12, 0x20500000085", "6.18, 0x100500000081", "7.1, 0x100500000081"})
    void decideShowsTheWordsThatTheFakeWrites(String version, String words) {
        PostingHost host = PostingHost.of(Vendor.AMD)
                .withKernel(LinuxVersion.parse(version).orElseThrow());
        List<Integer> ids = IntStream.range(0, 6).boxed().toList();
        PostingIrq irq = new PostingIrq(
                true, true, true, List.of(new Route.Msi(new Gsi(24), MsiMessage.to(new VcpuId(5), VECTOR))), true);
        PostingDecision.Posted posted = (PostingDecision.Posted) PostingDecision.decide(
                host, PostingVm.of(ids.stream().map(id -> LapicIds.flat(id, 0)).toList(), false), irq);
        assertThat(DecideText.entry(host, posted).low()).isEqualTo(Long.decode(words));
        assertThat(entry(version + ",amd-avic", 0, 1, 2, 3, 4, 5) & ~GaIrte.DESTINATION_LOW.mask())
                .isEqualTo(Long.decode(words));
    }

    @ParameterizedTest
    @CsvSource({"6.1, 0x205", "6.12, 0x205", "6.18, 0x1001", "7.1, 0x1001"})
    void tagNamesTheIdOfAVcpuAndSince617ItsIndex(String version, String tag) {
        assertThat(GaIrte.GA_TAG.of(entry(version + ",amd-avic", 0, 5))).isEqualTo(Long.decode(tag));
    }

    @Test
    void layoutFollowsTheVersion() {
        assertThat(List.of("5.10", "6.0", "6.1", "6.2", "6.16", "6.17", "6.18", "7.1"))
                .extracting(
                        version -> GaTagKernel.of(LinuxVersion.parse(version).orElseThrow())
                                .tag(1, 0x305, 2))
                .containsExactly(0x105L, 0x105L, 0x305L, 0x305L, 0x305L, 0x202L, 0x1002L, 0x1002L);
    }
}
