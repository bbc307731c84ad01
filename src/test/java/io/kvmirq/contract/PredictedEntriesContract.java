/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.EventFdId;
import io.kvmirq.HostIrq;
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
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.host.memory.RemappingEntry;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86SystemRegisters.Name;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.path.Known;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.vfio.PciConfig;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
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
    private static final int SLOT = 1;

    static PciAddress address() {
        Optional<TestDevice.Place> place = E1000E.onThisMachine();
        assumeTrue(place.isPresent(), E1000E.isMissing());
        return PciAddress.parse(place.orElseThrow().address());
    }

    static KernelStructures structures() {
        assumeTrue(System.getProperty("os.arch").equals("amd64"), "only an IOMMU of x86 has remapping entries");
        Known<KernelStructures> found = KernelStructures.open(HostFiles.at(Path.of("/")), KernelStructures.CORE);
        assumeTrue(found.known().isPresent(), found.toString());
        return found.known().orElseThrow();
    }

    /** The mode of AMD's driver says so also where another IOMMU is there. */
    static boolean isVapic(KernelStructures kernel) {
        boolean isVtd =
                new HostFacts(HostFiles.at(Path.of("/"))).iommus().stream().anyMatch(iommu -> iommu.startsWith("dmar"));
        return !isVtd && kernel.isVapic().known().orElse(false);
    }

    /** The present entries of a device. */
    static List<RemappingEntry> entries(KernelStructures kernel, PciAddress device) {
        return new HostFacts(HostFiles.at(Path.of("/")))
                .pci(device).orElseThrow().messageIrqs().stream()
                        .flatMap(irq -> kernel.entry(irq).known().orElseThrow().stream())
                        .filter(RemappingEntry::isPresent)
                        .toList();
    }

    static HostIrq hostIrq(PciAddress device, ForwardedIrq irq) {
        return new HostFacts(HostFiles.at(Path.of("/")))
                .armed(device).stream()
                        .filter(vector -> vector.vector() == irq.irq().number())
                        .findFirst()
                        .orElseThrow()
                        .irq();
    }

    /**
     * The lab switches the virtual APIC mode on without the kernel's files, and gives a processor of AMD a VT-d
     * that cannot post.
     */
    static MirrorHost host(KernelStructures kernel) {
        HostFacts facts = new HostFacts(HostFiles.at(Path.of("/")));
        if (facts.iommus().stream().anyMatch(name -> name.startsWith("dmar"))) {
            return MirrorHost.x86(PostingHost.of(Vendor.INTEL).without(PostingHost.Feature.POSTING_UNITS));
        }
        Optional<PostingHost> posting = isVapic(kernel)
                ? Optional.of(PostingHost.of(Vendor.AMD))
                : facts.posting().host();
        assertThat(posting)
                .as("what the host says of posting: %s", facts.posting().unreadable())
                .isPresent();
        return facts.posting()
                .avicKernel()
                .map(avic -> MirrorHost.x86(posting.get(), avic))
                .orElseGet(() -> MirrorHost.x86(posting.get()));
    }

    static PredictedIrte predicted(Mirror mirror, ForwardedIrq irq) {
        return mirror.now()
                .of(irq.event().id())
                .flatMap(predicted -> predicted.irte().known())
                .orElseThrow();
    }

    /** The kernel's id of a vector's eventfd, which the library does not use. */
    private static EventFdId eventfd(ForwardedIrq irq) {
        try (Fd.Lease lease = irq.event().fd().lease()) {
            return new EventFdId(HostFiles.at(Path.of("/"))
                    .number("proc/self/fdinfo/" + lease.number(), "eventfd-id:")
                    .orElseThrow());
        }
    }

    /** The entry of the vector's host irq, and the way from there to the message, are what was set up. */
    private static void assertEntry(KernelStructures kernel, PciAddress device, Mirror mirror, ForwardedIrq irq) {
        HostIrq host = hostIrq(device, irq);
        PredictedIrte predicted = predicted(mirror, irq);
        RemappingEntry entry = kernel.entry(host).known().orElseThrow().orElseThrow();
        EventFdId eventfd = eventfd(irq);
        KernelIrqfd irqfd = kernel.irqfds(host).known().orElseThrow().get(0);
        System.out.println("lab-irte: " + host + ", predicted " + predicted + ", found "
                + entry.format().text(entry.low(), entry.high()) + ", " + irqfd);
        assertThat(predicted.agrees(entry.low(), entry.high()))
                .as("%s: %s", irq, entry)
                .isTrue();
        assertThat(entry.source()).isEqualTo(device.requesterId());
        assertThat(kernel.eventfd(host).known().orElseThrow()).contains(eventfd);
        assertThat(Path.of("/proc/self/task/" + irqfd.thread())).exists();
        // A kernel that cannot post pairs no irqfd since 6.2: kvm_arch_has_irq_bypass().
        assertThat(irqfd.producer()).isIn(Optional.of(host), Optional.empty());
        assertThat(irqfd.producer().isPresent() || !entry.isPosted()).isTrue();
        assertThat(irqfd)
                .isEqualTo(new KernelIrqfd(
                        irqfd.thread(),
                        eventfd,
                        irq.gsi().orElseThrow(),
                        irqfd.producer(),
                        irq.message(),
                        irq.message(),
                        1,
                        false));
        if (!entry.isPosted()) {
            assertThat(entry.target().map(RemappingEntry.Target::vector)).contains(entry.vector());
        }
        if (entry.unit() == Vendor.AMD || !entry.isPosted()) {
            assertThat(entry.copy()).isEqualTo(new RemappingEntry.Words(entry.low(), entry.high()));
        }
    }

    @Test
    void entriesAreAsPredicted() throws IOException {
        PciAddress address = address();
        KernelStructures structures = structures();
        Mirror mirror = Mirror.create(host(structures));
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1));
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice device = VfioDevice.open(kernel, address, kvmVfio);
                    Forwarding forwarding =
                            Forwarding.builder(vm, device).mirror(mirror).build()) {
                first.x86().enableLapic();
                second.x86().enableLapic();
                List<ForwardedIrq> irqs = forwarding.forwardAll(
                        device.msix(0, VECTORS), i -> MsiMessage.to(new VcpuId(i % 2), new InterruptVector(0x41 + i)));
                for (ForwardedIrq irq : irqs) {
                    System.out.println(
                            "lab-irte: " + irq + ", " + irq.predicted().text());
                    assertThat(irq.predicted() instanceof Posting.Posted).isEqualTo(isVapic(structures));
                    assertEntry(structures, address, mirror, irq);
                }
                irqs.get(0).reroute(MsiMessage.to(new VcpuId(1), new InterruptVector(0x61)));
                assertEntry(structures, address, mirror, irqs.get(0));
                irqs.get(0).mask();
                assertThat(irqs.get(0).predicted()).isInstanceOf(Posting.NotPosted.class);
                if (isVapic(structures)) {
                    assertThat(posted(structures, address)).as("one is masked").isEqualTo(VECTORS - 1);
                }
                irqs.get(0).unmask();
                assertEntry(structures, address, mirror, irqs.get(0));
                device.reset(); // QEMU's e1000e counts 128 us from its last message
            }
        }
        assertThat(mirror.now().irqs()).isEmpty();
    }

    private static long posted(KernelStructures kernel, PciAddress address) {
        return entries(kernel, address).stream()
                .filter(RemappingEntry::isPosted)
                .count();
    }

    /** Our own guest programs the device's MSI-X; it takes no interrupt. */
    @Test
    void entriesOfADeviceThatAGuestProgramsAreAsPredicted() throws IOException {
        PciAddress address = address();
        KernelStructures structures = structures();
        Mirror mirror = Mirror.create(host(structures));
        PciHostBridge bus = new PciHostBridge(0xc000_0000L, 0x1000_0000L);
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (GuestMemory memory = vm.addMemory(0, 0x10000);
                    Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1));
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice device = VfioDevice.open(kernel, address, kvmVfio);
                    Forwarding forwarding =
                            Forwarding.builder(vm, device).mirror(mirror).build();
                    PassedThroughDevice passed = PassedThroughDevice.builder(bus, SLOT, vm, device, forwarding)
                            .build()) {
                first.x86().enableLapic();
                second.x86().enableLapic();
                List<MsiMessage> messages = new ArrayList<>();
                ProgrammingGuest guest = new ProgrammingGuest(memory, first, bus, SLOT, device.config());
                guest.enableMsix();
                for (int i = 0; i < VECTORS; i++) {
                    messages.add(MsiMessage.to(new VcpuId(i % 2), new InterruptVector(0x41 + i)));
                    guest.entry(i, messages.get(i));
                    guest.mask(i, false);
                }
                guest.run();
                List<ForwardedIrq> irqs = forwarding.irqs();
                assertThat(irqs.stream().map(ForwardedIrq::message).flatMap(Optional::stream))
                        .containsExactlyElementsOf(messages);
                for (ForwardedIrq irq : irqs) {
                    assertThat(irq.predicted() instanceof Posting.Posted).isEqualTo(isVapic(structures));
                    assertEntry(structures, address, mirror, irq);
                }
                long all = isVapic(structures) ? VECTORS : 0;
                assertThat(posted(structures, address)).isEqualTo(all);
                guest.mask(0, true);
                MsiMessage moved = MsiMessage.to(new VcpuId(1), new InterruptVector(0x61));
                guest.entry(0, moved);
                guest.run();
                assertThat(posted(structures, address))
                        .as("the guest masks one")
                        .isEqualTo(Math.max(0, all - 1));
                guest.mask(0, false);
                guest.run();
                assertThat(irqs.get(0).message()).contains(moved);
                assertEntry(structures, address, mirror, irqs.get(0));
                passed.hold();
                assertThat(posted(structures, address)).as("the host holds all").isZero();
                passed.release();
                for (ForwardedIrq irq : irqs) {
                    assertEntry(structures, address, mirror, irq);
                }
                device.reset(); // as above
            }
        }
        assertThat(mirror.now().irqs()).isEmpty();
    }

    /** The vCPU that runs sees it; the other one does not run. */
    @Test
    void timerThatReinjectsEndsPosting() throws IOException {
        PciAddress address = address();
        KernelStructures structures = structures();
        PciHostBridge bus = new PciHostBridge(0xc000_0000L, 0x1000_0000L);
        try (Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            try (GuestMemory memory = vm.addMemory(0, 0x10000);
                    Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1));
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice device = VfioDevice.open(kernel, address, kvmVfio);
                    Forwarding forwarding = Forwarding.create(vm, device)) {
                first.x86().enableLapic();
                second.x86().enableLapic();
                forwarding.forwardAll(
                        device.msix(0, 2), i -> MsiMessage.to(new VcpuId(i), new InterruptVector(0x41 + i)));
                ProgrammingGuest guest = new ProgrammingGuest(memory, first, bus, SLOT, device.config());
                run(guest);
                long all = isVapic(structures) ? 2 : 0;
                assertThat(posted(structures, address)).isEqualTo(all);
                vm.x86().createPit();
                run(guest);
                assertThat(posted(structures, address)).as("reinjecting").isEqualTo(all / 2);
                vm.x86().setPitReinjection(false);
                run(guest);
                assertThat(posted(structures, address)).as("discarding").isEqualTo(all);
                device.reset(); // as above
            }
        }
    }

    /** KVM completes the last OUT of the run before, which must not be where this run begins. */
    private static void run(ProgrammingGuest guest) {
        guest.config(0, 0);
        guest.run();
    }

    /** A guest of 32 bits without paging that writes to a device. Each step is kept until {@link #run}. */
    private static final class ProgrammingGuest {
        private static final int START = 0x1000;
        private static final int CODE_32 = 0xc09b;
        private static final int DONE = 0x80;
        private static final int BAR = 0xc100_0000;

        private final GuestMemory memory;
        private final Vcpu vcpu;
        private final PciHostBridge bus;
        private final int slot;
        private final int control;
        private final int table;
        private final int place;
        private final ByteBuffer code = ByteBuffer.allocate(0x1000).order(ByteOrder.LITTLE_ENDIAN);

        ProgrammingGuest(GuestMemory memory, Vcpu vcpu, PciHostBridge bus, int slot, PciConfig config) {
            this.memory = memory;
            this.vcpu = vcpu;
            this.bus = bus;
            this.slot = slot;
            int at = config.getByte(0x34);
            while (config.getByte(at) != 0x11) {
                at = config.getByte(at + 1);
            }
            control = at + 2;
            place = config.getInt(at + 4);
            table = BAR + (place & ~7);
        }

        private void out(int port, int value) {
            code.put((byte) 0x66).put((byte) 0xba).putShort((short) port); // mov $port, %dx
            code.put((byte) 0xb8).putInt(value).put((byte) 0xef); // mov $value, %eax; out %eax, %dx
        }

        private void config(int at, int value) {
            out(0xcf8, 1 << 31 | slot << 11 | at & 0xfc);
            out(0xcfc, value);
        }

        private void store(int address, int value) {
            code.put((byte) 0xb8).putInt(value).put((byte) 0xa3).putInt(address); // mov %eax, address
        }

        /** The table's BAR where we know it, memory and bus master on, MSI-X on. */
        void enableMsix() {
            config(0x10 + Integer.BYTES * (place & 7), BAR);
            config(4, 6);
            config(control, 1 << 31);
        }

        void entry(int vector, MsiMessage message) {
            store(table + 16 * vector, (int) message.address());
            store(table + 16 * vector + 4, (int) (message.address() >>> 32));
            store(table + 16 * vector + 8, message.data());
        }

        void mask(int vector, boolean masked) {
            store(table + 16 * vector + 12, masked ? 1 : 0);
        }

        void run() {
            code.put((byte) 0xe6).put((byte) DONE); // out %al, $DONE
            memory.mapping().put(START, code.flip());
            code.clear();
            vcpu.x86().startAt(START, START);
            X86SystemRegisters system = vcpu.x86().systemRegisters();
            system.set(Name.CR0, system.get(Name.CR0) | 1);
            system.setSegment(Segment.CS, new X86Segment(0, -1, 8, CODE_32));
            for (Segment name : new Segment[] {Segment.DS, Segment.ES, Segment.SS}) {
                system.setSegment(name, new X86Segment(0, -1, 0x10, X86Segment.DATA_32));
            }
            vcpu.x86().setSystemRegisters(system);
            VcpuExit exit = vcpu.run();
            while (exit.reason() != VcpuExit.Reason.IO || exit.port() != DONE) {
                assertThat(bus.handle(exit)).as(exit.toString()).isTrue();
                exit = vcpu.run();
            }
        }
    }
}
