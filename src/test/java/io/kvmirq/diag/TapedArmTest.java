/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.cli.host.FakeDevices;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.recording.Recorder;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tapes of arm64, and of devices that were opened by their own files. */
class TapedArmTest {
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    private static final long ITS = 0x808_0000;
    private static final int DEVICE_ID = 0x3b00;

    @TempDir
    private Path temporary;

    /** The tape of a program that is killed, with two vectors that signal eventfds. */
    private Path tape(BiConsumer<Vm, List<EventFd>> program) throws IOException {
        Path tape = temporary.resolve("tape");
        try (Recorder recorder = Recorder.of(FakeDevices.kernel("gicv4").backend(), Files.newOutputStream(tape))) {
            Kernel kernel = Kernel.over(recorder.backend());
            Vm vm = Vm.create(kernel);
            Vcpu vcpu = vm.createVcpu(new VcpuId(0));
            VgicV3 vgic = vm.createVgicV3();
            vcpu.initialize();
            vgic.setDistributor(0x800_0000);
            vgic.setRedistributors(0x80a_0000);
            vgic.init();
            Its its = vm.createIts();
            its.setAddress(ITS);
            its.init();
            program.accept(vm, arm(kernel));
        }
        return tape;
    }

    private static List<EventFd> arm(Kernel kernel) {
        List<EventFd> events = new ArrayList<>(List.of(EventFd.create(kernel), EventFd.create(kernel)));
        VfioDevice.open(kernel, NIC).msix(0, 2).arm(events);
        return events;
    }

    private static List<Chain> chains(Path tape, RecordedHost host) throws IOException {
        return TapedChains.of(tape, new HostFacts(host.tree()), Optional.empty())
                .chains(Optional.empty(), OptionalInt.empty());
    }

    private static void wire(Vm vm, EventFd event, MsiMessage message) {
        vm.assignIrqfd(event, vm.routes().add(message));
    }

    private static MsiMessage event(int number) {
        return MsiMessage.toIts(ITS, DEVICE_ID, number);
    }

    private static Claim eligible(Chain chain) {
        return chain.claim(Claim.Question.ELIGIBLE).orElseThrow();
    }

    @Test
    void eventIsTapedAndItsLpiIsNot() throws IOException {
        Path tape = tape((vm, events) -> {
            wire(vm, events.get(0), event(0));
            wire(vm, events.get(1), event(1));
        });
        Chain second = chains(tape, GuestHosts.of("gicv4")).get(1);
        assertThat(second.firstBroken()).isEmpty();
        assertThat(second.link(Hop.GUEST_VECTOR).orElseThrow().text())
                .isEqualTo("the guest's ITS turns event 1 of device 0x3b00 into an LPI");
        assertThat(eligible(second).holds()).isEmpty();
        assertThat(eligible(second).text()).startsWith("host and VMM may, as far as the tape shows");
        Claim gicv3 = eligible(chains(tape, GuestHosts.of("gicv3")).get(1));
        assertThat(gicv3.holds()).contains(false);
        assertThat(gicv3.text()).isEqualTo(VlpiObstacle.NO_GICV4.text());
        assertThat(eligible(chains(tape, GuestHosts.of("amd-avic")).get(1)).text())
                .isEqualTo("the tape is of arm64, and the host is not");
    }

    @Test
    void messageWithoutDeviceIdIsTheFirstBrokenLink() throws IOException {
        Path tape = tape((vm, events) -> wire(vm, events.get(0), new MsiMessage(ITS + 0x1_0040, 1)));
        assertBroken(chains(tape, GuestHosts.of("gicv4")).get(0), VlpiObstacle.NO_DEVICE_ID);
    }

    @Test
    void messageToAnAddressThatIsOfNoItsIsTheFirstBrokenLink() throws IOException {
        Path tape = tape((vm, events) -> wire(vm, events.get(0), MsiMessage.toIts(ITS + 0x2_0000, DEVICE_ID, 1)));
        assertBroken(chains(tape, GuestHosts.of("gicv4")).get(0), VlpiObstacle.NO_ITS);
    }

    private static void assertBroken(Chain chain, VlpiObstacle obstacle) {
        Link broken = chain.firstBroken().orElseThrow();
        assertThat(broken.hop()).isEqualTo(Hop.GUEST_VECTOR);
        assertThat(broken.text()).isEqualTo(obstacle.text() + ": each signal is lost");
        assertThat(broken.evidence().orElseThrow().kind()).isEqualTo(Evidence.Kind.TAPED);
    }

    /** Since 6.16; before, the later one takes the LPI over. */
    @Test
    void lpiOfAnotherVectorIsTaken() throws IOException {
        Path tape = tape((vm, events) -> {
            wire(vm, events.get(0), event(0));
            wire(vm, events.get(1), event(0));
        });
        RecordedHost host = GuestHosts.of("gicv4").put("proc/sys/kernel/osrelease", "6.16.1\n");
        assertThat(eligible(chains(tape, host).get(0)).holds()).isEmpty();
        Claim second = eligible(chains(tape, host).get(1));
        assertThat(second.holds()).contains(false);
        assertThat(second.text()).isEqualTo(VlpiObstacle.TAKEN.text());
        host.put("proc/sys/kernel/osrelease", "6.12.1\n");
        assertThat(eligible(chains(tape, host).get(1)).holds()).isEmpty();
    }

    /** KVM routes each GSI to the SPI of its number when the VGIC is initialized. */
    @Test
    void pinIsAnSpi() throws IOException {
        Path tape = tape((vm, events) -> vm.assignIrqfd(events.get(0), new Gsi(7)));
        Chain chain = chains(tape, GuestHosts.of("gicv4")).get(0);
        assertThat(chain.firstBroken()).isEmpty();
        assertThat(chain.link(Hop.GUEST_VECTOR).flatMap(Link::value)).contains("INTID 39");
        assertThat(eligible(chain).holds()).contains(false);
    }

    /** The host shows which device the file is of. */
    @Test
    void deviceThatWasOpenedByItsFileHasItsAddress() throws IOException {
        Path tape = temporary.resolve("cdev");
        try (Recorder recorder = Recorder.of(FakeDevices.kernel("7.1,cdev").backend(), Files.newOutputStream(tape))) {
            Kernel kernel = Kernel.over(recorder.backend());
            Vm vm = Vm.create(kernel);
            vm.createIrqchip();
            vm.createVcpu(new VcpuId(0));
            wire(vm, arm(kernel).get(0), MsiMessage.to(new VcpuId(0), new InterruptVector(0x30)));
        }
        HostFacts host = new HostFacts(FakeDevices.tree("7.1,cdev"));
        TapedChains chains = TapedChains.of(tape, host, Optional.empty());
        assertThat(chains.devices()).containsExactly(NIC.toString());
        Chain first =
                chains.chains(Optional.of(NIC.toString()), OptionalInt.of(0)).get(0);
        assertThat(first.device()).isEqualTo(NIC.toString());
        assertThat(first.firstBroken()).isEmpty();
        assertThat(first.remarks())
                .contains("the VMM opened /dev/vfio/devices/vfio0, which is 0000:3b:00.0 on the host now");
        assertThat(TapedChains.of(tape, new HostFacts(GuestHosts.of("amd-avic").tree()), Optional.empty())
                        .devices())
                .containsExactly("/dev/vfio/devices/vfio0");
    }
}
