/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.PostingSetup.VECTOR;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Interrupts of devices on hosts that post. */
class PostingTest {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);

    @AutoClose
    private final Undo undo = new Undo();

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.12,amd-avic", "7.1,split,amd-avic"})
    void messageToOneVcpuIsPostedInAnyOrderOfIrqfdAndVector(String profile) {
        for (boolean irqfdFirst : List.of(true, false)) {
            PostingSetup setup = undo.add(new PostingSetup(profile));
            EventFd event = setup.event();
            Gsi gsi = setup.routeTo(1);
            assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.NONE);
            if (irqfdFirst) {
                setup.irqfd(event, gsi);
                setup.arm(event);
            } else {
                setup.arm(event);
                assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.REMAPPED);
                setup.irqfd(event, gsi);
            }
            FakeIrte irte = setup.hardware.irte(0);
            assertThat(irte.isPosted()).isTrue();
            assertThat(irte.vcpu()).hasValue(SECOND);
            assertThat(irte.guestVector()).hasValue(VECTOR);
            assertThat(irte.words()).startsWith("irte.");
            assertThat(setup.hardware.sendMessage(0)).isFalse();
            assertThat(setup.vcpu(1).isRequested(VECTOR)).isTrue();
            assertThat(setup.vcpu(0).isRequested(VECTOR)).isFalse();
            assertThat(setup.vcpus.get(1).x86().isRequested(VECTOR)).isTrue();
            assertThat(setup.interrupts(0)).isZero();
            assertThat(event.drain()).isZero();
            assertThat(setup.brokenRules()).isEmpty();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.18", "vtd", "avic-inhibited", "6.12,avic-inhibited"})
    void hostThatDoesNotPostIsInterruptedAndTheIrqfdDelivers(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(1));
        setup.arm(event);
        assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.REMAPPED);
        assertThat(setup.hardware.sendMessage(0)).isTrue();
        assertThat(setup.vcpus.get(1).x86().isRequested(VECTOR)).isTrue();
        assertThat(setup.interrupts(0)).isEqualTo(1);
    }

    /** Up to 6.16 the file counts as an assigned device; later only an irqfd with a producer does. */
    @ParameterizedTest
    @CsvSource({"'6.1,vtd-posting', true", "'6.12,vtd-posting', true", "vtd-posting, false", "'6.12,vtd', false"})
    void fileOfKvmVfioAloneMakesKvmUpdateDescriptorsUpTo616(String profile, boolean counts) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        fake.pciDevice("0000:3b:00.0", 7).msix(1).express().resettable().add();
        Kernel kernel = undo.add(fake.open());
        Vm vm = undo.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        undo.add(vm.createVcpu(FIRST)).x86().enableLapic();
        FakeVcpu vcpu = fake.vcpus().get(0);
        assertThat(vcpu.block()).isTrue();
        assertThat(vcpu.wakeupList()).isEmpty();

        try (KvmVfio files = KvmVfio.create(vm);
                VfioDevice device = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), files)) {
            assertThat(device.msix().size()).isOne();
            assertThat(vcpu.state()).isEqualTo(counts ? FakeVcpu.State.PREEMPTED : FakeVcpu.State.BLOCKED);
            vcpu.load(1);
            vcpu.preempt();
            assertThat(control(vcpu, PostedInterruptDescriptor.SN)).isEqualTo(counts ? 1 : 0);
            vcpu.load(1);
            assertThat(vcpu.block()).isTrue();
            assertThat(control(vcpu, PostedInterruptDescriptor.NV)).isEqualTo(counts ? Apic.WAKEUP : Apic.NOTIFICATION);
            assertThat(vcpu.wakeupList().isPresent()).isEqualTo(counts);
            assertThat(vcpu.brokenRules()).isEmpty();
        }
        vcpu.load(1);
        vcpu.preempt();
        assertThat(control(vcpu, PostedInterruptDescriptor.SN)).isZero();
    }

    /** {@code vmx_deliver_posted_interrupt()}; KVM syncs at the entry, at a blocked check and in KVM_GET_LAPIC. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "vtd"})
    void requestOfSoftwareGoesThroughPirAndOn(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        FakeVcpu vcpu = setup.vcpu(1);
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(1));
        InterruptVector other = new InterruptVector(0x35);
        List<Runnable> sends = List.of(
                event::signal,
                () -> setup.vm.signal(MsiMessage.to(SECOND, VECTOR)),
                () -> setup.vm.signal(MsiMessage.to(SECOND, other)));
        for (Runnable send : sends) {
            InterruptVector sent = send == sends.get(2) ? other : VECTOR;
            send.run();
            assertThat(vcpu.descriptor().orElseThrow().isRequested(sent)).isTrue();
            assertThat(control(vcpu, PostedInterruptDescriptor.ON)).isOne();
            assertThat(setup.vcpus.get(1).x86().isRequested(sent))
                    .as("KVM_GET_LAPIC")
                    .isTrue();
            assertThat(vcpu.descriptor().orElseThrow().isRequested(sent)).isFalse();
            assertThat(control(vcpu, PostedInterruptDescriptor.ON)).isZero();
            vcpu.enterGuest();
            assertThat(vcpu.takeInterrupt()).hasValue(sent);
            vcpu.preempt();
        }
        setup.vm.signal(MsiMessage.to(SECOND, VECTOR));
        assertThat(vcpu.block()).isFalse();
        assertThat(control(vcpu, PostedInterruptDescriptor.ON)).isZero();
        vcpu.enterGuest();
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        setup.vm.signal(MsiMessage.to(SECOND, VECTOR));
        assertThat(vcpu.descriptor().orElseThrow().isRequested(VECTOR))
                .as("taken by the processor")
                .isFalse();
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        assertThat(vcpu.block()).isTrue();
        assertThat(setup.vcpus.get(1).x86().isRequested(VECTOR)).isFalse();
        assertThat(vcpu.state()).as("a look at its LAPIC wakes no vCPU").isEqualTo(FakeVcpu.State.BLOCKED);
        setup.vm.signal(MsiMessage.to(SECOND, VECTOR));
        assertThat(vcpu.state()).isEqualTo(FakeVcpu.State.PREEMPTED);
        assertThat(vcpu.descriptor().orElseThrow().isRequested(VECTOR)).isTrue();
        assertThat(setup.brokenRules()).isEmpty();
    }

    /** Software also sets ON while SN is set. A request that a device posted then hides one of software. */
    @Test
    void requestOfSoftwareForAPreemptedVcpuSetsOn() {
        PostingSetup setup = undo.add(new PostingSetup("vtd-posting"));
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(1));
        setup.arm(event);
        FakeVcpu vcpu = setup.vcpu(1);
        vcpu.preempt();
        assertThat(setup.hardware.sendMessage(0)).isFalse();
        setup.vm.signal(MsiMessage.to(SECOND, VECTOR));
        assertThat(control(vcpu, PostedInterruptDescriptor.ON)).isZero();
        setup.vm.signal(MsiMessage.to(SECOND, new InterruptVector(0x35)));
        assertThat(control(vcpu, PostedInterruptDescriptor.ON)).isOne();
        assertThat(control(vcpu, PostedInterruptDescriptor.SN)).isOne();
        vcpu.enterGuest();
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        assertThat(vcpu.takeInterrupt()).hasValue(new InterruptVector(0x35));
    }

    /** While APICv is inhibited software sets the IRR. A vCPU adopts an inhibit when it next enters the guest. */
    @Test
    void requestOfSoftwareGoesToTheIrrOfAVcpuWithoutApicv() {
        PostingSetup setup = undo.add(new PostingSetup("vtd-posting"));
        FakeVcpu vcpu = setup.vcpu(1);
        X86SystemRegisters registers = setup.vcpus.get(0).x86().systemRegisters();
        setup.vcpus
                .get(0)
                .x86()
                .setSystemRegisters(registers.set(
                        X86SystemRegisters.Name.APIC_BASE, registers.get(X86SystemRegisters.Name.APIC_BASE) ^ 0x1000));
        setup.vm.signal(MsiMessage.to(SECOND, VECTOR));
        assertThat(control(vcpu, PostedInterruptDescriptor.ON)).isOne();
        vcpu.enterGuest();
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        vcpu.preempt();
        setup.vm.signal(MsiMessage.to(SECOND, VECTOR));
        assertThat(control(vcpu, PostedInterruptDescriptor.ON)).isZero();
        assertThat(vcpu.descriptor().orElseThrow().isRequested(VECTOR)).isFalse();
        assertThat(vcpu.isRequested(VECTOR)).isTrue();
    }

    private static long control(FakeVcpu vcpu, BitField field) {
        return field.of(vcpu.descriptor().orElseThrow().control());
    }

    /** On AMD the move of an entry kicks the vCPU: its guest runs on until it has exited. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.12,amd-avic"})
    void vcpuWhoseMessageMovesAwayTakesWhatItHas(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        EventFd event = setup.event();
        Gsi gsi = setup.routeTo(0);
        setup.irqfd(event, gsi);
        setup.arm(event);
        FakeVcpu vcpu = setup.vcpu(0);
        vcpu.enterGuest();
        assertThat(setup.hardware.sendMessage(0)).isFalse();
        setup.vm.routes().replace(gsi, MsiMessage.to(SECOND, VECTOR));
        assertThat(vcpu.state()).isEqualTo(FakeVcpu.State.IN_GUEST);
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        assertThat(vcpu.takeInterrupt()).isEmpty();
        vcpu.enterGuest();
        assertThat(setup.brokenRules()).isEmpty();
    }

    /** A broadcast, an NMI, a vCPU that is not there and a fixed message to two vCPUs. */
    @ParameterizedTest
    @CsvSource({
        "vtd-posting, 0xfeeff000, 0x41", "vtd-posting, 0xfee01000, 0x441", "vtd-posting, 0xfee07000, 0x41",
        "amd-avic, 0xfeeff000, 0x41", "amd-avic, 0xfee01000, 0x441", "amd-avic, 0xfee07000, 0x41"
    })
    void messageThatKvmDoesNotPostIsRemapped(String profile, String address, String data) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        EventFd event = setup.event();
        MsiMessage message = new MsiMessage(Long.decode(address), Integer.decode(data));
        Gsi gsi = setup.vm.routes().add(message);
        setup.irqfd(event, gsi);
        setup.arm(event);
        assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.REMAPPED);
        assertThat(setup.hardware.sendMessage(0)).isTrue();

        setup.vm.routes().replace(gsi, MsiMessage.to(FIRST, VECTOR));
        assertThat(setup.hardware.irte(0).vcpu()).hasValue(FIRST);
        setup.vm.routes().replace(gsi, message);
        assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.REMAPPED);
        setup.vm.routes().replace(gsi, MsiMessage.to(FIRST, VECTOR));
        setup.vm.routes().remove(gsi);
        assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.REMAPPED);
        assertThat(setup.brokenRules()).isEmpty();
    }

    /** Before 6.3 the last LAPIC with a logical id is the only one in the map; later the map has no such id. */
    @ParameterizedTest
    @CsvSource({"'6.1,vtd-posting', true", "'6.1,amd-avic', true", "'6.12,vtd-posting', false", "vtd-posting, false"})
    void logicalIdOfTwoVcpusIsThatOfTheLastBefore63(String profile, boolean posted) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        setup.vcpus.forEach(vcpu -> vcpu.x86()
                .setLapic(vcpu.x86().lapic().set(X86Lapic.Name.LDR, 1 << 24).set(X86Lapic.Name.DFR, -1)));
        EventFd event = setup.event();
        setup.irqfd(event, setup.vm.routes().add(new MsiMessage(0xfee01004L, VECTOR.number())));
        setup.arm(event);
        assertThat(setup.hardware.irte(0).vcpu()).isEqualTo(posted ? Optional.of(SECOND) : Optional.empty());
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void pinLineAndVectorWithoutIrqfdAreNotPosted(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        EventFd event = setup.event();
        EventFd alone = setup.event();
        Irqfd irqfd = setup.irqfd(event, new Gsi(4));
        ArmedVectors armed = undone(setup, event, alone);
        assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.REMAPPED);
        assertThat(setup.hardware.irte(1).form()).isEqualTo(FakeIrte.Form.REMAPPED);
        assertThat(setup.hardware.sendMessage(1)).isTrue();
        assertThat(alone.drain()).isEqualTo(1);
        irqfd.close();
        armed.close();
        setup.irqfd(event, setup.routeTo(0));
        setup.undo.add(setup.device.intx().arm(event));
        setup.hardware.requestService();
        assertThat(setup.vcpus.get(0).x86().isRequested(VECTOR)).isTrue();
        assertThat(setup.hardware.irte(0).form()).isEqualTo(FakeIrte.Form.NONE);
    }

    private static ArmedVectors undone(PostingSetup setup, EventFd... events) {
        return setup.undo.add(setup.device.msix(0, events.length).arm(List.of(events)));
    }

    /** The list follows the destination: the processor of the previous vCPU never changes the entry again. */
    @ParameterizedTest
    @ValueSource(strings = {"amd-avic", "6.12,amd-avic"})
    void changedDestinationMovesTheEntryToTheOtherList(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        EventFd event = setup.event();
        Gsi gsi = setup.routeTo(0);
        setup.irqfd(event, gsi);
        setup.arm(event);
        setup.vcpu(0).load(0);
        setup.vcpu(1).load(2);
        assertThat(setup.vcpu(0).listed()).hasValue(1);
        assertThat(setup.vcpu(1).listed()).hasValue(0);
        setup.vm.routes().replace(gsi, MsiMessage.to(SECOND, VECTOR));
        assertThat(setup.vcpu(0).listed()).hasValue(0);
        assertThat(setup.vcpu(1).listed()).hasValue(1);
        String words = setup.hardware.irte(0).words();
        setup.vcpu(0).preempt();
        setup.vcpu(0).load(3);
        assertThat(setup.hardware.irte(0).words()).isEqualTo(words);
        assertThat(setup.brokenRules()).isEmpty();
        setup.hardware.sendMessage(0);
        assertThat(setup.vcpu(0).isRequested(VECTOR)).isFalse();
        assertThat(setup.vcpu(1).isRequested(VECTOR)).isTrue();
    }

    /** The bug of 2019: while SN is set, the unit sets PIR and not ON. */
    @Test
    void preemptedVcpuOfIntelTakesTheInterruptWhenItIsLoaded() {
        PostingSetup setup = undo.add(posted("vtd-posting"));
        FakeVcpu vcpu = setup.vcpu(0);
        vcpu.load(1);
        vcpu.preempt();
        setup.hardware.sendMessage(0);
        PostedInterruptDescriptor preempted = vcpu.descriptor().orElseThrow();
        assertThat(preempted.isRequested(VECTOR)).isTrue();
        assertThat(PostedInterruptDescriptor.SN.isSet(preempted.control())).isTrue();
        assertThat(PostedInterruptDescriptor.ON.isSet(preempted.control())).isFalse();
        vcpu.load(2);
        PostedInterruptDescriptor loaded = vcpu.descriptor().orElseThrow();
        assertThat(PostedInterruptDescriptor.SN.isSet(loaded.control())).isFalse();
        assertThat(PostedInterruptDescriptor.ON.isSet(loaded.control())).isTrue();
        vcpu.enterGuest();
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        assertThat(vcpu.takeInterrupt()).isEmpty();
        assertThat(setup.interrupts(0)).isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"amd-avic", "6.12,amd-avic"})
    void preemptedVcpuOfAmdTakesTheInterruptWhenItIsLoaded(String profile) {
        PostingSetup setup = undo.add(posted(profile));
        FakeVcpu vcpu = setup.vcpu(0);
        vcpu.load(1);
        assertThat(isRunning(vcpu)).isTrue();
        vcpu.preempt();
        assertThat(isRunning(vcpu)).isFalse();
        setup.hardware.sendMessage(0);
        assertThat(vcpu.isRequested(VECTOR)).isTrue();
        assertThat(vcpu.state()).isEqualTo(FakeVcpu.State.PREEMPTED);
        vcpu.enterGuest();
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        assertThat(setup.interrupts(0)).isZero();
    }

    private static boolean isRunning(FakeVcpu vcpu) {
        return AvicTables.IS_RUNNING.isSet(vcpu.physicalEntry().orElseThrow());
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic", "6.12,amd-avic"})
    void guestThatRunsTakesTheInterruptWithoutTheHost(String profile) {
        PostingSetup setup = undo.add(posted(profile));
        FakeVcpu vcpu = setup.vcpu(0);
        vcpu.load(3);
        vcpu.enterGuest();
        assertThat(vcpu.state()).isEqualTo(FakeVcpu.State.IN_GUEST);
        assertThat(vcpu.cpu()).hasValue(3);
        setup.hardware.sendMessage(0);
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        assertThat(setup.interrupts(0)).isZero();
    }

    /** By the wake-up vector and the list of the processor; by the GA log and the GATag. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic", "6.12,amd-avic"})
    void blockedVcpuIsWoken(String profile) {
        PostingSetup setup = undo.add(posted(profile));
        FakeVcpu other = setup.vcpu(1);
        other.load(2);
        assertThat(other.block()).isTrue();
        FakeVcpu vcpu = setup.vcpu(0);
        vcpu.load(2);
        assertThat(vcpu.block()).isTrue();
        assertThat(vcpu.state()).isEqualTo(FakeVcpu.State.BLOCKED);
        if (profile.equals("vtd-posting")) {
            assertThat(vcpu.wakeupList()).hasValue(2);
            assertThat(PostedInterruptDescriptor.NV.of(
                            vcpu.descriptor().orElseThrow().control()))
                    .isEqualTo(0xf1);
        }
        setup.hardware.sendMessage(0);
        assertThat(vcpu.state()).isEqualTo(FakeVcpu.State.PREEMPTED);
        assertThat(other.state()).isEqualTo(FakeVcpu.State.BLOCKED);
        vcpu.enterGuest();
        assertThat(vcpu.takeInterrupt()).hasValue(VECTOR);
        assertThat(vcpu.wakeupList()).isEmpty();
        assertThat(setup.brokenRules()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void vcpuWithARequestDoesNotSleep(String profile) {
        PostingSetup setup = undo.add(posted(profile));
        setup.vcpu(0).load(0);
        setup.hardware.sendMessage(0);
        assertThat(setup.vcpu(0).block()).isFalse();
        assertThat(setup.vcpu(0).state()).isNotEqualTo(FakeVcpu.State.BLOCKED);
    }

    /** Vector 0 to vCPU 0. */
    static PostingSetup posted(String profile) {
        PostingSetup setup = new PostingSetup(profile);
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(0));
        setup.arm(event);
        assertThat(setup.hardware.irte(0).isPosted()).isTrue();
        return setup;
    }

    /** Who goes first does not matter: the entry is remapped, and what comes later is in the eventfd. */
    @ParameterizedTest
    @CsvSource({
        "vtd-posting, IRQFD", "vtd-posting, VECTOR", "vtd-posting, DEVICE", "vtd-posting, VM", "vtd-posting, EVENTFD",
        "amd-avic, IRQFD", "amd-avic, VECTOR", "amd-avic, DEVICE", "amd-avic, VM", "amd-avic, EVENTFD",
        "'6.12,amd-avic', IRQFD", "'6.12,amd-avic', VM"
    })
    @SuppressWarnings("resource") // the program ends without a word, as by kill -9: its files are closed in this order
    void everyEndRestoresTheEntry(String profile, End end) {
        PostingSetup setup = new PostingSetup(profile);
        EventFd event = setup.event();
        Irqfd irqfd = setup.irqfd(event, setup.routeTo(0));
        ArmedVectors armed = setup.arm(event);
        setup.hardware.sendMessage(0);
        assertThat(setup.vcpu(0).isRequested(VECTOR)).isTrue();
        switch (end) {
            case IRQFD -> irqfd.close();
            case VECTOR -> armed.close();
            case DEVICE -> setup.kill(setup.device.fd());
            case VM -> setup.kill(setup.vm.fd());
            case EVENTFD -> setup.kill(event.fd());
        }
        boolean allocated = end != End.VECTOR && end != End.DEVICE;
        assertThat(setup.hardware.irte(0).form()).isEqualTo(allocated ? FakeIrte.Form.REMAPPED : FakeIrte.Form.NONE);
        assertThat(setup.vcpu(0).isRequested(VECTOR)).isTrue();
        assertThat(setup.brokenRules()).isEmpty();
        assertThat(setup.hardware.sendMessage(0)).isEqualTo(allocated);
        if (end == End.IRQFD || end == End.VM) {
            assertThat(event.drain()).isEqualTo(1);
        }
    }

    private enum End {
        IRQFD,
        VECTOR,
        VM,
        DEVICE,
        EVENTFD
    }

    /** As of Linux: the second one works by software. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void secondVectorOfOneEventfdIsNotPosted(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(0));
        int number = event.fd().lease().number();
        int header = KernelBackend.VFIO_IRQS_HEADER_SIZE;
        ByteBuffer set = Buffers.allocate(header + 2 * Integer.BYTES)
                .putInt(header, number)
                .putInt(header + Integer.BYTES, number);
        int device = setup.device.fd().lease().number();
        int arm = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER | UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD;
        assertThat(setup.fake.backend().vfioIrqsSet(device, arm, UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, set))
                .isZero();
        assertThat(setup.hardware.irte(0).isPosted()).isTrue();
        assertThat(setup.hardware.irte(1).form()).isEqualTo(FakeIrte.Form.REMAPPED);
        assertThat(setup.hardware.sendMessage(1)).isTrue();
        assertThat(setup.vcpus.get(0).x86().isRequested(VECTOR)).isTrue();
    }

    /** As {@code decide} says: {@code kvm_recalculate_apic_map()} does so since 6.3. Intel posts all the same. */
    @ParameterizedTest
    @CsvSource({
        "'6.1,amd-avic', false",
        "'6.12,amd-avic', true",
        "amd-avic, true",
        "'7.1,split,amd-avic', true",
        "vtd-posting, false"
    })
    void logicalIdsThatAreNotUniqueInhibitAvicWhileTheyLast(String profile, boolean inhibit) {
        PostingSetup setup = undo.add(new PostingSetup(profile, 0));
        int[] vcpus = postedToTheFirst(setup);
        setLogicalId(setup, vcpus[0], 1);
        setLogicalId(setup, vcpus[1], 2);
        assertThat(isPosted(setup)).as("unique").isTrue();
        setLogicalId(setup, vcpus[1], 1);
        assertThat(isPosted(setup)).as("one id").isEqualTo(!inhibit);
        assertThat(setup.hardware.sendMessage(0)).isEqualTo(inhibit);
        assertThat(setup.vcpu(0).takeInterrupt()).hasValue(VECTOR);
        setLogicalId(setup, vcpus[1], 2);
        assertThat(isPosted(setup)).as("unique again").isTrue();
        assertThat(setup.brokenRules()).isEmpty();
    }

    /** The other ids that inhibit AVIC: two enabled LAPICs with one physical id, and an id that the guest changed. */
    @ParameterizedTest
    @ValueSource(strings = {"6.12,amd-avic", "amd-avic"})
    void changedPhysicalIdInhibitsAvicWhileItLasts(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile, 0));
        int[] vcpus = postedToTheFirst(setup);
        for (int id : new int[] {0, 7}) {
            setRegister(setup, vcpus[1], LapicPage.ID_AT, id << 24);
            assertThat(isPosted(setup)).as("id %d", id).isFalse();
            setRegister(setup, vcpus[1], LapicPage.ID_AT, 1 << 24);
            assertThat(isPosted(setup)).isTrue();
        }
        assertThat(setup.brokenRules()).isEmpty();
    }

    /** {@code kvm_pit_set_reinject()}; a vCPU sees it when it next runs. Intel posts all the same. */
    @ParameterizedTest
    @CsvSource({"'6.1,amd-avic', true", "'6.12,amd-avic', true", "amd-avic, true", "vtd-posting, false"})
    void timerThatReinjectsInhibitsAvic(String profile, boolean inhibit) {
        PostingSetup setup = undo.add(new PostingSetup(profile, 0));
        postedToTheFirst(setup);
        setup.vm.x86().createPit();
        assertThat(setup.hardware.irte(0).isPosted()).as("not seen yet").isTrue();
        assertThat(isPosted(setup)).isEqualTo(!inhibit);
        assertThat(setup.hardware.sendMessage(0)).isEqualTo(inhibit);
        setup.vm.x86().setPitReinjection(false);
        assertThat(isPosted(setup)).isTrue();
        setup.vm.x86().setPitReinjection(false);
        setup.vm.x86().setPitReinjection(true);
        assertThat(isPosted(setup)).isEqualTo(!inhibit);
        assertThat(setup.brokenRules()).isEmpty();
    }

    /** Two vCPUs with enabled LAPICs, as descriptors. */
    private static int[] postedToTheFirst(PostingSetup setup) {
        int[] vcpus = new int[2];
        for (int i = 0; i < vcpus.length; i++) {
            vcpus[i] = setup.fake.backend().libc().ioctl(Numbers.of(setup.vm.fd()), Uapi.KVM_CREATE_VCPU, i);
            setRegister(setup, vcpus[i], LapicPage.SVR_AT, 0x1ff);
        }
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(0));
        setup.arm(event);
        return vcpus;
    }

    /** Whether vector 0 is posted once its vCPU has seen what changed. */
    private static boolean isPosted(PostingSetup setup) {
        setup.vcpu(0).enterGuest();
        return setup.hardware.irte(0).isPosted();
    }

    /** In the flat model. */
    private static void setLogicalId(PostingSetup setup, int vcpu, int id) {
        setRegister(setup, vcpu, LapicPage.LDR_AT, id << 24);
    }

    private static void setRegister(PostingSetup setup, int vcpu, int at, int value) {
        Libc libc = setup.fake.backend().libc();
        ByteBuffer page = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_LAPIC, page)).isZero();
        assertThat(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, page.putInt(at, value))).isZero();
    }

    /** KVM_SET_LAPIC replaces all requests, also those that are on their way. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void restoredLapicHasNoOtherRequests(String profile) {
        PostingSetup setup = undo.add(posted(profile));
        setup.hardware.sendMessage(0);
        setup.vcpus.get(0).x86().enableLapic();
        assertThat(setup.vcpus.get(0).x86().isRequested(VECTOR)).isTrue();
        assertThat(setup.vcpus.get(0).x86().isRequested(new InterruptVector(0x42)))
                .isFalse();
    }

    /** Inhibits are not of the host: an inhibited AVIC looks like one that works. */
    @ParameterizedTest
    @CsvSource({
        "vtd, INTEL, false", "vtd-posting, INTEL, true", "'6.12,vtd-posting', INTEL, true",
        "amd-avic, AMD, true", "avic-inhibited, AMD, true", "'6.1,amd-avic', AMD, true"
    })
    void hostShowsWhetherItCanPost(String profile, Vendor vendor, boolean posts) {
        HostFacts facts = new HostFacts(new FakeKernel(Profile.parse(profile)).hostFiles());
        String line = vendor == Vendor.INTEL ? " intel_iommu=on" : "";
        PostingHost host = PostingHost.of(vendor)
                .withKernel(facts.kernel().flatMap(LinuxVersion::parse).orElseThrow())
                .withCommandLine("BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1" + line);
        assertThat(facts.posting().host())
                .hasValue(posts ? host : host.without(Feature.POSTING_UNITS).without(Feature.DEVICE_POSTED_IRQS));
        assertThat(facts.posting().unreadable()).isEmpty();
    }

    @Test
    void vcpuIsSeenOnHostsWithHardwareOnly() {
        try (PostingSetup setup = new PostingSetup("6.18")) {
            assertThat(setup.fake.vcpus()).isEmpty();
        }
        try (PostingSetup setup = new PostingSetup("vtd")) {
            assertThat(setup.fake.vcpus()).hasSize(2);
            assertThatThrownBy(() -> setup.vcpu(1).takeInterrupt())
                    .hasMessage("vcpu 1 is not in the guest: let it enter first");
            assertThatThrownBy(() -> setup.vcpu(1).load(4)).hasMessageContaining("processor 4 does not exist");
            setup.vcpus.get(0).close();
            assertThat(setup.fake.vcpus()).extracting(FakeVcpu::id).containsExactly(SECOND);
        }
    }
}
