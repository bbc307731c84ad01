/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.testing.FiringKernel;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * A guest with two vCPUs that was given a device with INTx, MSI and MSI-X, on a fake kernel. On arm64 a guest's vector of
 * a vCPU is an event of the ITS.
 */
final class MessagesWorld implements AutoCloseable {
    static final int VECTORS = 8;
    /** The guest's vector of INTx. */
    static final int LINE = 0x30;

    static final int ENABLE = 1 << 15;
    static final int FUNCTION_MASK = 1 << 14;
    /** Message Control of MSI. */
    static final int CAPABLE_OF_8 = 3 << 1;

    static final int WIDE = 1 << 7;
    static final int MASKABLE = 1 << 8;
    private static final String NIC = "0000:3b:00.0";
    private static final int VCPUS = 2;
    /** The guest's vector whose events are the first ones. */
    private static final int FIRST_OF_EVENTS = 0x40;

    private static final int NO_INTERRUPT = 1023;
    private static final int IRR_WORDS = 8;
    private static final int IRR_DISTANCE = 16;

    final Faults faults = new Faults();
    final FakeKernel fake;
    final FiringKernel firing;
    final FakePciDevice hardware;
    final Vm vm;
    final VfioDevice device;
    final Forwarding forwarding;
    final GuestMsix msix;
    /** With 64-bit addresses and masks. */
    final GuestMsi msi;

    private final Kernel kernel;
    private final List<Vcpu> vcpus;
    /** On arm64. */
    private final Optional<GuestIts> its;

    /** On arm64. */
    private final List<FakeArmVcpu> armVcpus = new ArrayList<>();

    private final boolean mayHaveVlpis;
    private final EventLoop loop;
    private final Undo parts = new Undo();

    /** Makes the interrupt controller of a VM of arm64. */
    private interface ItsMaker {
        GuestIts make(Vm vm, int vcpus, Undo made);
    }

    MessagesWorld(String profile) {
        this(profile, MessagesWorld::mapped);
    }

    /** A world whose VM is as new, for {@link #copyMemory} and a snapshot of {@link #saved}. */
    static MessagesWorld toRestore(String profile) {
        return new MessagesWorld(profile, GuestIts::toRestore);
    }

    private static GuestIts mapped(Vm vm, int vcpus, Undo made) {
        GuestIts its = new GuestIts(vm, vcpus, made);
        IntStream.range(0, GuestIts.EVENTS).forEach(its::map);
        return its;
    }

    private MessagesWorld(String profile, ItsMaker maker) {
        fake = new FakeKernel(Profile.parse(profile));
        hardware = fake.pciDevice(NIC, 7)
                .intx()
                .msi(VECTORS)
                .msix(VECTORS)
                .express()
                .resettable()
                .add();
        firing = new FiringKernel(fake.backend());
        kernel = parts.add(Kernel.over(faults.over(firing.backend())));
        vm = parts.add(Vm.create(kernel));
        boolean arm64 = Profile.parse(profile).isArm64();
        mayHaveVlpis = profile.contains("gicv4");
        if (!arm64) {
            vm.x86().createIrqchip();
        }
        vcpus = IntStream.range(0, VCPUS)
                .mapToObj(i -> parts.add(vm.createVcpu(new VcpuId(i))))
                .toList();
        if (arm64) {
            vcpus.forEach(vcpu -> vcpu.arm64().initialize());
            its = Optional.of(maker.make(vm, VCPUS, parts));
            IntStream.range(0, VCPUS).forEach(i -> armVcpus.add(fake.armVcpu(Numbers.of(vm.fd()), new VcpuId(i))));
        } else {
            its = Optional.empty();
            vcpus.forEach(vcpu -> vcpu.x86().enableLapic());
        }
        device = parts.add(VfioDevice.open(kernel, PciAddress.parse(NIC), parts.add(KvmVfio.create(vm))));
        device.config().enableBusMaster();
        loop = parts.add(EventLoop.create(kernel));
        forwarding = parts.add(Forwarding.builder(vm, device)
                .userspace(Userspace.into(vm, loop))
                .build());
        msix = new GuestMsix(forwarding, device, arm64 ? OptionalInt.of(GuestIts.DEVICE) : OptionalInt.empty());
        msi = msi(WIDE | MASKABLE);
    }

    /** Another MSI of the same device: use one of them. */
    GuestMsi msi(int capabilities) {
        return new GuestMsi(forwarding, device, OptionalInt.empty(), CAPABLE_OF_8 | capabilities);
    }

    /** Whether the host may deliver messages by hardware that tells nobody what is pending. */
    boolean mayHaveVlpis() {
        return mayHaveVlpis;
    }

    MsiMessage message(int vcpu, int guestVector) {
        return armVcpus.isEmpty()
                ? MsiMessage.to(new VcpuId(vcpu), new InterruptVector(guestVector))
                : GuestIts.message((guestVector - FIRST_OF_EVENTS) * VCPUS + vcpu);
    }

    /** Writes an entry as Linux does, which leaves its mask as it is. */
    void entry(int vector, int vcpu, int guestVector) {
        MsiMessage message = message(vcpu, guestVector);
        msix.writeTable(vector * 16L, 4, message.address());
        msix.writeTable(vector * 16L + 4, 4, message.address() >>> 32);
        msix.writeTable(vector * 16L + 8, 4, message.data());
    }

    void mask(int vector, boolean masked) {
        msix.writeTable(vector * 16L + 12, 4, masked ? 1 : 0);
    }

    /** The vector of MSI-X, if it is forwarded. */
    Optional<ForwardedIrq> forwarded(int vector) {
        return forwarding.irqs().stream()
                .filter(irq -> irq.irq().number() == vector)
                .findFirst();
    }

    /** Lets this process inject an interrupt, or no longer. */
    static void move(ForwardedIrq irq) {
        irq.moveTo(irq.mechanism() == Mechanism.USERSPACE ? Mechanism.IRQFD : Mechanism.USERSPACE);
    }

    /** For a snapshot of MSI-X and all else. */
    VmParts saved() {
        VmParts saved = new VmParts(vm).messages("nic", device, msix);
        its.ifPresent(ofGuest -> saved.vgic(ofGuest.vgic()).its(ofGuest.its()));
        for (int i = 0; i < VCPUS; i++) {
            saved.vcpu(new VcpuId(i), vcpus.get(i));
        }
        return saved;
    }

    /** The memory of the guest goes along: on arm64 it has tables. */
    void copyMemory(MessagesWorld from) {
        its.ifPresent(here -> here.copyMemory(from.its.orElseThrow()));
    }

    boolean isArm64() {
        return its.isPresent();
    }

    /**
     * What the vCPUs take now: {@code vCPU:vector}, in any order. This process injects what it has to before. The handler
     * of {@link #LINE} serves the device.
     */
    List<String> taken() {
        List<String> taken = new ArrayList<>();
        loop.pollNanos(0);
        for (FakeArmVcpu vcpu : armVcpus) {
            for (int lpi = vcpu.acknowledge(); lpi != NO_INTERRUPT; lpi = vcpu.acknowledge()) {
                int event = lpi - GuestIts.lpi(0);
                taken.add(event % VCPUS + ":0x" + Integer.toHexString(FIRST_OF_EVENTS + event / VCPUS));
            }
        }
        for (int i = 0; i < VCPUS && armVcpus.isEmpty() && fake.vcpus().isEmpty(); i++) {
            takeFromLapic(vcpus.get(i), taken);
        }
        for (int i = 0; i < fake.vcpus().size(); i++) {
            FakeVcpu vcpu = fake.vcpus().get(i);
            for (Optional<InterruptVector> next = inGuest(vcpu, vcpu::acknowledge);
                    next.isPresent();
                    next = inGuest(vcpu, vcpu::acknowledge)) {
                taken.add(i + ":0x" + Integer.toHexString(next.get().number()));
                if (next.get().number() == LINE) {
                    hardware.serve();
                }
                inGuest(vcpu, () -> {
                    vcpu.end();
                    return true;
                });
            }
        }
        return taken;
    }

    /** A call of another thread may make the vCPU leave its guest: it enters again. */
    private static <T> T inGuest(FakeVcpu vcpu, Supplier<T> action) {
        while (true) {
            vcpu.enterGuest();
            try {
                return action.get();
            } catch (IllegalStateException e) {
                if (vcpu.state() == FakeVcpu.State.IN_GUEST) {
                    throw e;
                }
            }
        }
    }

    /** Without interrupt hardware a guest that takes all of its interrupts is one whose IRR becomes empty. */
    static void takeFromLapic(Vcpu vcpu, List<String> taken) {
        X86Lapic lapic = vcpu.x86().lapic();
        boolean found = false;
        for (int word = 0; word < IRR_WORDS; word++) {
            int at = Uapi.KvmLapicState.IRR + word * IRR_DISTANCE;
            for (int left = lapic.get(at); left != 0; left &= left - 1) {
                int vector = word * Integer.SIZE + Integer.numberOfTrailingZeros(left);
                taken.add(vcpu.id().number() + ":0x" + Integer.toHexString(vector));
                found = true;
            }
            lapic.set(at, 0);
        }
        if (found) {
            vcpu.x86().setLapic(lapic);
        }
    }

    /** @param bits reads the pending bits */
    MessageSearch.Device searched(LongSupplier bits) {
        return new MessageSearch.Device() {
            @Override
            public boolean send(int vector) {
                return hardware.sendMessage(vector);
            }

            @Override
            public void reset() {
                device.reset();
            }

            @Override
            public List<String> taken(int min) {
                return MessagesWorld.this.taken();
            }

            @Override
            public long pending(long expected) {
                return bits.getAsLong();
            }

            @Override
            public void close() {
                MessagesWorld.this.close();
            }
        };
    }

    @Override
    public void close() {
        assertThat(fake.lost()).filteredOn(lost -> lost.contains("; source ")).isEmpty();
        parts.close();
        assertThat(kernel.openHandles()).isEmpty();
        assertThat(fake.messages().counts().lost()).isZero();
        assertThat(fake.messages().brokenRules()).isEmpty();
    }
}
