/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.testing.GuestIts.message;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.arch.gic.model.EmulatedIts;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.ItsEvents;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.mirror.Posting;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@link ItsEvents}: predictions of vLPIs by the tables of a guest's ITS. */
class ItsEventsTest {
    /** GITS_BASER0.Indirect. */
    private static final long INDIRECT = 1L << 62;

    private final Faults faults = new Faults();
    private final GicV4World world = new GicV4World("gicv4", faults::over);
    private final Forwarding forwarding = Forwarding.create(world.vm, world.device);
    private final ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0));

    private static void tell(GicV4World world, Forwarding forwarding) {
        assertThat(new ItsEvents(world.service.its(), List.of(world.service.memory())).tell(forwarding))
                .isEmpty();
    }

    /** As a VMM does while its vCPUs stand still. */
    private void read() {
        irq.mask();
        tell(world, forwarding);
        irq.unmask();
    }

    private static Posting.Posted to(int lpi, int vcpu) {
        return new Posting.Posted(new Posting.ToLpi(lpi, new VcpuId(vcpu)), Optional.empty());
    }

    private boolean isVlpiOf(int vcpu) {
        return world.vcpus.get(vcpu).hostIrq(GicV4World.LPI).isPresent();
    }

    @Test
    void predictionNamesTheLpiAndTheVcpuOnceTheEventsAreRead() {
        assertThat(irq.predicted()).isInstanceOf(Posting.Unknown.class);
        read();
        assertThat(irq.predicted()).isEqualTo(to(GicV4World.LPI, 0));
        assertThat(isVlpiOf(0)).isTrue();
        world.hardware.sendMessage(0);
        assertThat(world.vcpu().acknowledge()).isEqualTo(GicV4World.LPI);
    }

    @Test
    void moveMakesThePredictionStaleUntilTheEventsAreRead() {
        read();
        world.service.move(0, 1);
        assertThat(isVlpiOf(1)).isTrue();
        assertThat(irq.predicted()).as("stale").isEqualTo(to(GicV4World.LPI, 0));
        read();
        assertThat(irq.predicted()).isEqualTo(to(GicV4World.LPI, 1));
        assertThat(isVlpiOf(1)).isTrue();
    }

    /** KVM makes a vLPI only when the irqfd is assigned. */
    @Test
    void eventThatIsMappedAgainIsNoVlpiUntilTheEventsAreRead() {
        read();
        world.service.discard(0);
        world.service.map(0);
        assertThat(isVlpiOf(0)).isFalse();
        assertThat(irq.predicted()).as("stale").isEqualTo(to(GicV4World.LPI, 0));
        int before = world.counts().get(0);
        world.hardware.sendMessage(0);
        assertThat(world.counts().get(0)).as("the host takes the message").isEqualTo(before + 1);
        read();
        assertThat(isVlpiOf(0)).isTrue();
        assertThat(irq.predicted()).isEqualTo(to(GicV4World.LPI, 0));
    }

    /** Kernels before November 2024 leave it. */
    @Test
    void discardedEventIsNotPredictedAVlpiByTheEntryThatItLeft() {
        read();
        byte[] entry = world.service.eventEntry(0);
        world.service.discard(0);
        world.service.setEventEntry(0, entry);
        read();
        assertThat(irq.predicted())
                .isEqualTo(new Posting.NotPosted(VlpiObstacle.UNMAPPED.text(), VlpiObstacle.UNMAPPED.remedy()));
    }

    /** A mask drops the pending bit of a vLPI, and signals once in case it was set. */
    @Test
    void unmaskAddsNoSignalToThatOfTheMask() {
        read();
        irq.mask();
        long sent = world.fake.messages().counts().sent();
        irq.unmask();
        assertThat(world.fake.messages().counts().sent()).isEqualTo(sent);
    }

    /** An entry behind the table of a device is no event of it. */
    @Test
    void lastEventOfTheDeviceIsReadAndNoneBehindIt() {
        int last = GuestIts.EVENTS - 1;
        world.service.map(last, 1);
        irq.reroute(message(last));
        read();
        assertThat(irq.predicted()).isEqualTo(to(GuestIts.lpi(last), 1));
        byte[] behind = world.service.eventEntry(last);
        world.service.setEventEntry(last + 1, behind);
        irq.reroute(message(last + 1));
        read();
        assertThat(irq.predicted())
                .isEqualTo(new Posting.NotPosted(VlpiObstacle.UNMAPPED.text(), VlpiObstacle.UNMAPPED.remedy()));
        assertThat(world.service.eventEntry(last + 1)).as("not cleared").isEqualTo(behind);
    }

    @Test
    void tableOfTwoLevelsIsRead() {
        long first = 0x5000_0000L;
        GuestMemory more = world.vm.addMemory(first, 0x2_0000);
        more.mapping().put(0, new byte[] {0, 0, 1, 0x50, 0, 0, 0, (byte) 0x80}); // valid, 0x50010000
        world.service.its().writeRegister(EmulatedIts.CTLR, 0);
        world.service.its().writeRegister(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | INDIRECT | first);
        world.service.its().writeRegister(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        irq.mask();
        ItsEvents events = new ItsEvents(world.service.its(), List.of(world.service.memory(), more));
        assertThat(events.tell(forwarding)).isEmpty();
        irq.unmask();
        assertThat(irq.predicted()).isEqualTo(to(GicV4World.LPI, 0));
        GuestMemory below = world.vm.addMemory(first - 0x1_0000, 0x1_0000);
        assertThat(tellMasked(List.of(world.service.memory(), below)))
                .contains("at 0x50000000, which is not in")
                .contains("pass all guest memory that the guest may write");
        irq.unmask();
        assertThat(irq.predicted()).as("as it was").isEqualTo(to(GicV4World.LPI, 0));
    }

    /** Up to the last entry of the last page of 64 KiB. */
    @ParameterizedTest
    @CsvSource({"1, 0x1fff", "2, 0x2010"})
    void allPagesOfTheDeviceTableAreRead(int pages, int device) {
        long first = 0x5000_0000L;
        GuestMemory table = world.vm.addMemory(first, pages * 0x1_0000L);
        GuestMemory events = world.vm.addMemory(first + pages * 0x1_0000L, 0x1_0000);
        world.service.its().writeRegister(EmulatedIts.CTLR, 0);
        world.service.its().writeRegister(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | pages - 1 | first);
        world.service.its().writeRegister(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        world.service.mapDevice(device, events.guestAddress());
        irq.reroute(MsiMessage.toIts(GuestIts.ITS, device, 0));
        irq.mask();
        ItsEvents reader = new ItsEvents(world.service.its(), List.of(world.service.memory(), table, events));
        assertThat(reader.tell(forwarding)).isEmpty();
        irq.unmask();
        assertThat(irq.predicted()).as("by the entry in the last page").isEqualTo(to(GicV4World.LPI, 0));
    }

    /** Device 0x2000 is the first one that a table of one page does not have. */
    @Test
    void memoryBehindTheDeviceTableIsLeftAlone() {
        long first = 0x5000_0000L;
        GuestMemory more = world.vm.addMemory(first, 0x2_0000);
        more.mapping().put(0x1_0000, new byte[] {1, 0, 0, 0, 0, 0, 0, 0});
        world.service.its().writeRegister(EmulatedIts.CTLR, 0);
        world.service.its().writeRegister(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | first);
        world.service.its().writeRegister(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        irq.reroute(MsiMessage.toIts(GuestIts.ITS, 0x2000, 0));
        irq.mask();
        assertThat(new ItsEvents(world.service.its(), List.of(world.service.memory(), more)).tell(forwarding))
                .isEmpty();
        assertThat(more.mapping().getLong(0x1_0000)).isOne();
    }

    /** A guest may point its ITS at a ROM of the VMM. */
    @Test
    void memoryThatTheGuestMayNotWriteIsNotWrittenForIt() {
        long first = 0x5000_0000L;
        Mapping rom = Mapping.anonymous(world.vm.kernel(), 0x1_0000).mapping();
        byte[] content = new byte[0x1_0000];
        Arrays.fill(content, (byte) 0xa5);
        rom.put(0, content);
        GuestMemory readOnly = world.vm.addReadOnlyMemory(first, rom);
        world.service.its().writeRegister(EmulatedIts.CTLR, 0);
        world.service.its().writeRegister(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | first);
        world.service.its().writeRegister(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        assertThat(tellMasked(List.of(world.service.memory(), readOnly))).contains("at 0x50000080, which is not in");
        ByteBuffer after = ByteBuffer.allocate(content.length);
        rom.get(0, after);
        assertThat(after.array()).isEqualTo(content);
    }

    /** A guest may point its ITS at a BAR. */
    @Test
    void memoryThatJavaCannotReachIsASentence() {
        long first = 0x5000_0000L;
        MemoryFile file = MemoryFile.create(world.vm.kernel(), "bar", 0x1_0000);
        GuestMemory bar = world.vm.addMemory(
                first, Mapping.forGuest(file.fd(), 0, 0x1_0000).mapping());
        world.service.its().writeRegister(EmulatedIts.CTLR, 0);
        world.service.its().writeRegister(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | first);
        world.service.its().writeRegister(EmulatedIts.CTLR, EmulatedIts.ENABLED);
        assertThat(tellMasked(List.of(world.service.memory(), bar)))
                .contains("at 0x50000080, in guest memory")
                .contains("which Java cannot reach");
        assertThat(irq.isMasked()).isTrue();
    }

    /** @return the reason for which nothing is told */
    private String tellMasked(List<GuestMemory> memory) {
        irq.mask();
        return new ItsEvents(world.service.its(), memory).tell(forwarding).orElseThrow();
    }

    /** The kernel writes the tables, too. */
    @Test
    void tablesOutsideOfTheMemoryAreAReason() {
        irq.mask();
        faults.fail("KVM_SET_DEVICE_ATTR", 1, Errno.EFAULT);
        assertThat(new ItsEvents(world.service.its(), List.of(world.service.memory())).tell(forwarding))
                .hasValueSatisfying(why -> assertThat(why).contains("EFAULT (the tables lie outside guest memory"));
        irq.unmask();
        assertThat(irq.predicted()).isInstanceOf(Posting.Unknown.class);
    }

    @Test
    void unmaskedInterruptIsRefused() {
        assertThatThrownBy(() -> tell(world, forwarding))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("MSI-X 0 of 0000:00:03.0 is not masked")
                .hasMessageContaining("mask all interrupts before reading the events");
        assertThat(irq.predicted()).isInstanceOf(Posting.Unknown.class);
    }

    @Test
    void runningVcpuIsASentence() {
        irq.mask();
        faults.fail("KVM_SET_DEVICE_ATTR", 1, Errno.EBUSY);
        assertThat(refused(Errno.EBUSY, () -> tell(world, forwarding))).contains("a vCPU is running");
        irq.unmask();
        assertThat(irq.predicted()).isInstanceOf(Posting.Unknown.class);
    }

    @Test
    void vlpiOfAnotherDeviceIsASentence() {
        world.fake.pciDevice("0000:00:05.0", 5).msix(1).add();
        VfioDevice other = VfioDevice.open(world.vm.kernel(), PciAddress.parse("0000:00:05.0"));
        Forwarding.create(world.vm, other).forward(other.msix().get(0), message(1));
        assertThat(world.vcpus.get(1).hostIrq(GicV4World.SECOND)).isPresent();
        irq.mask();
        assertThat(refused(Errno.EACCES, () -> tell(world, forwarding))).contains("an LPI is a vLPI of GICv4.0");
    }

    @Test
    void itsWithoutAnAddressIsRefused() {
        assertThatThrownBy(() -> new ItsEvents(world.vm.arm64().createIts(), List.of()))
                .hasMessageContaining("the ITS has no address");
    }

    @Test
    void hostWithoutGicv4StaysUnposted() {
        GicV4World plain = new GicV4World("gicv3");
        Forwarding there = Forwarding.create(plain.vm, plain.device);
        ForwardedIrq irq =
                there.forwardMasked(plain.device.msix(0, 1), i -> message(0)).get(0);
        tell(plain, there);
        irq.unmask();
        assertThat(irq.predicted()).isInstanceOf(Posting.NotPosted.class);
    }
}
