/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.EmulatedIts.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Arm64Vcpu;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.ArmTimer;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.MsiOutcome;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.selftest.CountingArmVm;
import io.kvmirq.selftest.RestoredArmVm;
import io.kvmirq.snapshot.SnapshotException;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.Program;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntConsumer;
import java.util.function.IntSupplier;
import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The state of a VM with a GICv3 and an ITS, in another VM. No guest runs: the test does what its driver would. */
@ArmContract
class ArmSnapshotContract extends ArmVms {
    private static final Spi LINE = new Spi(40);
    /** The last of its registers. */
    private static final Spi EDGE = new Spi(63);
    /** In the registers of private interrupts: an SGI and a PPI. */
    private static final int PRIVATE = 1 << 3 | 1 << 20;

    private static final int PRIVATE_PENDING =
            RedistributorRegister.PRIVATE_FRAME + DistributorRegister.GICD_ISPENDR.offset();
    private static final int PRIORITY = 0x80;
    private static final int DEVICE = 0x10;
    private static final int EVENT = 3;
    private static final int LPI = 8200;

    private static final List<DistributorRegister> OF_EACH_INTERRUPT = List.of(
            DistributorRegister.GICD_IGROUPR,
            DistributorRegister.GICD_ISENABLER,
            DistributorRegister.GICD_ISPENDR,
            DistributorRegister.GICD_ISACTIVER,
            DistributorRegister.GICD_IPRIORITYR,
            DistributorRegister.GICD_ICFGR);
    /** Bits that a driver sets. */
    private static final Map<CpuInterfaceRegister, Integer> CPU_INTERFACE = Map.of(
            CpuInterfaceRegister.ICC_CTLR_EL1, 2, // EOImode
            CpuInterfaceRegister.ICC_PMR_EL1, 0xf8,
            CpuInterfaceRegister.ICC_BPR0_EL1, 3,
            CpuInterfaceRegister.ICC_BPR1_EL1, 3,
            CpuInterfaceRegister.ICC_AP0R0_EL1, 1 << 16,
            CpuInterfaceRegister.ICC_AP1R0_EL1, 1 << 16,
            CpuInterfaceRegister.ICC_IGRPEN0_EL1, 1,
            CpuInterfaceRegister.ICC_IGRPEN1_EL1, 1);

    private static final long MEMORY = 0x4000_0000L;
    private static final int DEVICES = 0x1_0000;
    private static final int COLLECTIONS = 0x2_0000;
    private static final int PROPERTIES = 0x3_0000;
    private static final int PENDING = 0x4_0000;
    private static final int EVENTS = 0x5_0000;
    private static final int SIZE = 0x8_0000;
    private static final long VALID = 1L << 63;

    @SuppressWarnings("NullAway.Init")
    ArmSnapshotContract(World world) {
        super(world);
    }

    /** @param change writes a value other than this one */
    private record Register(String name, IntSupplier read, IntConsumer change) {}

    /** Two vCPUs, a GICv3 and an ITS. */
    private final class Parts {
        final Vm vm = vm();
        final List<Vcpu> vcpus = new ArrayList<>();
        final VgicV3 vgic;
        final Its its;
        final Mapping memory = made.add(vm.addMemory(MEMORY, SIZE)).mapping();
        final EventFd event = event();

        Parts(int interrupts) {
            for (VcpuId id : List.of(FIRST, SECOND)) {
                Vcpu vcpu = vcpu(vm, id.number());
                vcpu.arm64().initialize();
                vcpus.add(vcpu);
            }
            vgic = made.add(vm.arm64().createVgicV3());
            vgic.setInterrupts(interrupts);
            vgic.setDistributor(DISTRIBUTOR);
            vgic.setRedistributors(REDISTRIBUTORS);
            vgic.init();
            its = made.add(vm.arm64().createIts());
            its.setAddress(ITS);
            its.init();
        }

        Parts() {
            this(96);
        }

        VmParts named() {
            return parts().event("rx", event);
        }

        VmParts parts() {
            return new VmParts(vm).vgic(vgic).its(its).vcpu(FIRST, vcpus.get(0)).vcpu(SECOND, vcpus.get(1));
        }

        /** As a driver does. */
        void programme() {
            GuestGic.enable(vgic);
            GuestGic.enable(vgic, FIRST);
            vgic.makeLevel(LINE);
            for (Spi spi : List.of(LINE, EDGE)) {
                GuestGic.setPriority(vgic, spi, PRIORITY);
                GuestGic.route(vgic, spi, SECOND);
            }
            GuestGic.enable(vgic, LINE);
        }

        void mapEvent() {
            for (VcpuId vcpu : List.of(FIRST, SECOND)) {
                GuestGic.write(vgic, vcpu, RedistributorRegister.GICR_PROPBASER, MEMORY + PROPERTIES | 15);
                GuestGic.write(
                        vgic, vcpu, RedistributorRegister.GICR_PENDBASER, MEMORY + PENDING + vcpu.number() * 0x1_0000);
                vgic.writeRedistributor(vcpu, RedistributorRegister.GICR_CTLR.offset(), 1);
            }
            its.writeRegister(CBASER, VALID | MEMORY);
            its.writeRegister(BASER_DEVICES, VALID | MEMORY + DEVICES);
            its.writeRegister(BASER_COLLECTIONS, VALID | MEMORY + COLLECTIONS);
            its.writeRegister(CTLR, 1);
            memory.put(0, ItsCommand.bytes(ItsCommand.mapDevice(DEVICE, 5, MEMORY + EVENTS)));
            memory.put(ItsCommand.SIZE, ItsCommand.bytes(ItsCommand.mapCollection(1, 0)));
            memory.put(2 * ItsCommand.SIZE, ItsCommand.bytes(ItsCommand.mapEvent(DEVICE, EVENT, LPI, 1)));
            its.writeRegister(CWRITER, 3 * ItsCommand.SIZE);
        }

        /** The registers that a driver can change while LPIs are disabled. */
        List<Register> registers() {
            List<Register> all = new ArrayList<>();
            for (DistributorRegister register : OF_EACH_INTERRUPT) {
                for (int at = register.offset();
                        DistributorRegister.at(at, 96).equals(Optional.of(register));
                        at += 4) {
                    int offset = at;
                    if (register.interrupt(at) >= InterruptId.FIRST_SPI) {
                        all.add(new Register(
                                register + " 0x" + Integer.toHexString(at),
                                () -> vgic.readDistributor(offset),
                                value -> vgic.writeDistributor(offset, ~value)));
                    } else if (register != DistributorRegister.GICD_ICFGR) { // KVM's SGIs and PPIs keep their trigger
                        all.add(of(FIRST, RedistributorRegister.PRIVATE_FRAME + at, value -> ~value));
                        all.add(of(SECOND, RedistributorRegister.PRIVATE_FRAME + at, value -> ~value));
                    }
                }
            }
            for (VcpuId vcpu : List.of(FIRST, SECOND)) {
                all.add(of(vcpu, RedistributorRegister.GICR_PENDBASER.offset(), value -> value ^ 0x1_0000));
                all.add(of(vcpu, RedistributorRegister.GICR_PENDBASER.offset() + 4, value -> value ^ 1));
                CPU_INTERFACE.forEach((register, bits) -> all.add(new Register(
                        register + " of " + vcpu,
                        () -> (int) vgic.readSystemRegister(vcpu, register.id()),
                        value -> vgic.writeSystemRegister(vcpu, register.id(), value | bits))));
            }
            all.add(of(FIRST, RedistributorRegister.GICR_PROPBASER.offset(), value -> value ^ 0x1000));
            all.add(of(FIRST, RedistributorRegister.GICR_PROPBASER.offset() + 4, value -> value ^ 1));
            return all;
        }

        private Register of(VcpuId vcpu, int offset, IntUnaryOperator next) {
            return new Register(
                    "GICR 0x" + Integer.toHexString(offset) + " of " + vcpu,
                    () -> vgic.readRedistributor(vcpu, offset),
                    value -> vgic.writeRedistributor(vcpu, offset, next.applyAsInt(value)));
        }

        List<String> values() {
            return registers().stream()
                    .map(register -> register.name + " 0x" + Integer.toHexString(register.read.getAsInt()))
                    .toList();
        }

        void changeAll() {
            List<String> before = values();
            registers().forEach(register -> register.change.accept(register.read.getAsInt()));
            assertThat(values()).doesNotContainAnyElementsOf(before);
        }

        MsiOutcome send() {
            return vm.signal(MsiMessage.toIts(ITS, DEVICE, EVENT));
        }

        boolean isLpiPending() {
            vgic.savePendingTables();
            ByteBuffer octet = ByteBuffer.allocate(1);
            memory.get(PENDING + LPI / Byte.SIZE, octet);
            return (octet.get(0) >>> LPI % Byte.SIZE & 1) != 0;
        }
    }

    private static String text(VmParts parts) {
        try (VmMove move = VmMove.from(parts)) {
            return move.text();
        }
    }

    private static void move(Parts from, Parts to) {
        String text = text(from.named());
        ByteBuffer contents = ByteBuffer.allocate(SIZE);
        from.memory.get(0, contents);
        to.memory.put(0, contents.array());
        VmSnapshot.parse(text).restore(to.named());
    }

    /** The registers of VGIC and ITS in a snapshot. A table that is not valid keeps its address: vgic_its_reset(). */
    private static String controllers(Parts parts) {
        String text = VmSnapshot.take(parts.named()).text();
        return text.substring(text.indexOf("\"vgic\""), text.indexOf("\"routes\""))
                .replaceAll("0x(19|1c)07[0-9a-f]{12}", "no table");
    }

    @Test
    void resetControllersAreAsNewOnes() {
        Parts parts = new Parts();
        String fresh = controllers(parts);
        parts.vcpus.get(1).arm64().setRegister(ArmRegister.x(5), 7);
        parts.programme();
        parts.mapEvent();
        parts.vgic.writeDistributor(DistributorRegister.GICD_ISPENDR.offset() + 4, 1 << EDGE.number() - 32);
        assertThat(parts.send()).isNotEqualTo(MsiOutcome.NOT_ACCEPTED);
        assertThat(controllers(parts)).isNotEqualTo(fresh);
        parts.named().reset();
        assertThat(controllers(parts)).isEqualTo(fresh);
        assertThat(parts.vcpus.get(1).arm64().register(ArmRegister.x(5))).isZero();
        assertThatThrownBy(() -> new VmParts(parts.vm)
                        .vcpu(FIRST, parts.vcpus.get(0))
                        .vcpu(SECOND, parts.vcpus.get(1))
                        .reset())
                .isInstanceOf(UnsupportedOperationException.class);
        parts.programme();
        parts.mapEvent();
        assertThat(parts.send()).isNotEqualTo(MsiOutcome.NOT_ACCEPTED);
    }

    /** A device drives the level of a line: it outlives a reset. */
    @Test
    void resetChangesAllButLevelsBack() {
        Parts parts = new Parts();
        Ppi ppi = new Ppi(20);
        parts.vm.arm64().setPpi(SECOND, ppi, true);
        List<String> fresh = parts.values();
        parts.changeAll();
        parts.named().reset();
        assertThat(parts.values()).isEqualTo(fresh);
        assertThat(parts.vgic.isHigh(SECOND, ppi)).isTrue();
    }

    @Test
    void eachRegisterMoves() {
        Parts from = new Parts();
        Parts to = new Parts();
        from.changeAll();
        move(from, to);
        assertThat(to.values()).isEqualTo(from.values());
    }

    @Test
    void registersOfVcpusAndControllerAreTheSame() {
        Parts from = new Parts();
        Parts to = new Parts();
        from.vcpus.get(0).arm64().setRegister(ArmRegister.x(5), 0x1234_5678_9abcL);
        from.vcpus.get(0).arm64().setRegister(ArmRegister.PC, MEMORY + 0x100);
        from.vcpus.get(1).arm64().setRegister(ArmRegister.VBAR_EL1, MEMORY + 0x800);
        from.vcpus.get(1).setState(VcpuState.STOPPED);
        from.vcpus.get(0).arm64().setTimerInterrupt(ArmTimer.VIRTUAL, new Ppi(20));
        from.programme();
        from.vm.arm64().setSpi(LINE, true);
        from.vgic.setLatched(EDGE, true);
        from.vgic.writeRedistributor(SECOND, PRIVATE_PENDING, PRIVATE);
        from.vgic.writeSystemRegister(SECOND, CpuInterfaceRegister.ICC_AP1R0_EL1.id(), 1 << 16);
        GuestGic.enable(to.vgic, EDGE);
        move(from, to);
        assertThat(to.vcpus.get(0).arm64().register(ArmRegister.x(5))).isEqualTo(0x1234_5678_9abcL);
        assertThat(to.vcpus.get(0).arm64().register(ArmRegister.PC)).isEqualTo(MEMORY + 0x100);
        assertThat(to.vcpus.get(1).arm64().register(ArmRegister.VBAR_EL1)).isEqualTo(MEMORY + 0x800);
        assertThat(to.vcpus.get(0).state()).isEqualTo(VcpuState.RUNNABLE);
        assertThat(to.vcpus.get(1).state()).isEqualTo(VcpuState.STOPPED);
        assertThat(to.vcpus.get(0).arm64().timerInterrupt(ArmTimer.VIRTUAL)).isEqualTo(new Ppi(20));
        assertThat(to.vcpus.get(0).arm64().timerInterrupt(ArmTimer.PHYSICAL)).isEqualTo(new Ppi(30));
        assertThat(to.vgic.isHigh(LINE)).isTrue();
        assertThat(to.vgic.isLatched(LINE)).isFalse();
        assertThat(to.vgic.isLatched(EDGE)).isTrue();
        assertThat(to.vgic.readRedistributor(SECOND, PRIVATE_PENDING)).isEqualTo(PRIVATE);
        assertThat(to.vgic.readRedistributor(FIRST, PRIVATE_PENDING)).isZero();
        assertThat(to.vgic.readDistributor(DistributorRegister.GICD_IROUTER.offset() + EDGE.number() * Long.BYTES))
                .isEqualTo(SECOND.number());
        assertThat(to.vgic.readSystemRegister(FIRST, CpuInterfaceRegister.ICC_IGRPEN1_EL1.id()))
                .isEqualTo(1);
        assertThat(to.vgic.readSystemRegister(SECOND, CpuInterfaceRegister.ICC_AP1R0_EL1.id()))
                .isEqualTo(1 << 16);
        for (DistributorRegister register : List.of(
                DistributorRegister.GICD_CTLR,
                DistributorRegister.GICD_ISENABLER,
                DistributorRegister.GICD_IPRIORITYR,
                DistributorRegister.GICD_IROUTER)) {
            int at = register.offset()
                    + switch (register) {
                        case GICD_CTLR -> 0;
                        case GICD_ISENABLER -> 4;
                        case GICD_IPRIORITYR -> LINE.number();
                        default -> LINE.number() * Long.BYTES;
                    };
            assertThat(to.vgic.readDistributor(at))
                    .as(register.name())
                    .isEqualTo(from.vgic.readDistributor(at))
                    .isNotZero();
        }
    }

    /** Older versions wrote no interrupts of timers. */
    @Test
    void documentWithoutTimersIsRestored() {
        Parts from = new Parts();
        Parts to = new Parts();
        from.vcpus.get(0).arm64().setTimerInterrupt(ArmTimer.VIRTUAL, new Ppi(20));
        VmSnapshot.parse(older(text(from.named()))).restore(to.named());
        assertThat(to.vcpus.get(0).arm64().timerInterrupt(ArmTimer.VIRTUAL)).isEqualTo(new Ppi(27));
    }

    /** The document without timers, with its checksum. */
    private static String older(String text) {
        String timers = ",\"timers\":\\[[0-9,]*\\]";
        String state = text.replaceFirst("(?s)^.*?\"state\":", "").replaceFirst("}\n$", "");
        String changed = state.replaceAll(timers, "");
        assertThat(changed).isNotEqualTo(state);
        return text.replace(state, changed).replace(checksum(state), checksum(changed));
    }

    private static String checksum(String state) {
        try {
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(state.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(sum);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void lpiThatIsPendingIsSoInTheOtherVm() {
        Parts from = new Parts();
        Parts to = new Parts();
        from.mapEvent();
        assertThat(from.send()).isEqualTo(new MsiOutcome(1));
        move(from, to);
        assertThat(to.its.readRegister(CREADR)).isEqualTo(3 * ItsCommand.SIZE);
        assertThat(to.its.readRegister(CTLR) & 1).isEqualTo(1);
        assertThat(to.isLpiPending()).isTrue();
        assertThat(to.send()).isEqualTo(new MsiOutcome(1));
    }

    @Test
    void signalThatAnIrqfdWaitsWithArrivesInTheOtherVm() {
        Parts from = new Parts();
        Parts to = new Parts();
        from.programme();
        Gsi gsi = new Gsi(EDGE.pin());
        Irqfd irqfd = made.add(from.vm.assignIrqfd(from.event, gsi));
        irqfd.mask();
        from.event.signal();
        Irqfd next = made.add(to.vm.assignIrqfd(to.event, to.vm.routes().add(MsiMessage.toIts(ITS, DEVICE, EVENT))));
        String text = text(from.parts().irqfd("rx", irqfd));
        VmSnapshot.parse(text).restore(to.parts().irqfd("rx", next));
        assertThat(next.gsi()).isEqualTo(gsi);
        assertThat(to.vm.routes().of(gsi)).containsExactly(Route.Pin.to(gsi, EDGE));
        assertThat(next.isMasked()).isTrue();
        assertThat(to.vgic.isLatched(EDGE)).isFalse();
        next.unmask();
        latched(to.vgic, EDGE);
    }

    @Test
    void otherControllerIsRefused() {
        Parts from = new Parts();
        VmSnapshot snapshot = VmSnapshot.take(from.named());
        Parts larger = new Parts(128);
        assertThatThrownBy(() -> snapshot.restore(larger.named()))
                .isInstanceOf(SnapshotException.class)
                .hasMessageMatching(".*its VGIC has 96 interrupts, .*, redistributors at \\[0x[0-9a-f]+ \\(0\\)\\], .*")
                .hasMessageContaining(", and this one has 128 interrupts, ");
        assertThatThrownBy(() -> snapshot.restore(new VmParts(larger.vm)
                        .event("rx", larger.event)
                        .vcpu(FIRST, larger.vcpus.get(0))
                        .vcpu(SECOND, larger.vcpus.get(1))))
                .hasMessageContaining("it has a GICv3 (VmParts.vgic), but this VM has none");
    }

    @Test
    void vcpuWithAPmuIsRefused() {
        assumeTrue(world.kernel().isReal(), "needs a real kernel: the fake's vCPUs have no PMU");
        Vm vm = vm();
        Vcpu vcpu = vcpu(vm, 0);
        vcpu.arm64().initialize(Arm64Vcpu.Feature.PMU_V3);
        VgicV3 vgic = made.add(vm.arm64().createVgicV3());
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.init();
        VmParts parts = new VmParts(vm).vgic(vgic).vcpu(FIRST, vcpu);
        assertThatThrownBy(() -> VmSnapshot.take(parts))
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessage("vcpu 0 has a PMU, which a snapshot does not include: initialize the vCPUs without"
                        + " Vcpu.Feature.PMU_V3");
    }

    /** The snapshot is made while the guest takes interrupts, and one more is on its way. */
    @Test
    void guestThatRunsCountsOnInAnotherProcess(@TempDir Path directory) throws Exception {
        assumeTrue(world.kernel().isReal(), "needs a real kernel: the fake runs no guest of arm64");
        final int each = 200;
        try (CountingArmVm vm = CountingArmVm.boot(kernel)) {
            vm.run();
            for (int i = 0; i < each; i++) {
                int before = vm.counted();
                vm.signal();
                while (vm.counted() == before) {
                    Thread.onSpinWait();
                }
            }
            vm.pause();
            vm.signal();
            vm.save(directory);
            assertThat(vm.counted()).isEqualTo(each);
        }
        List<String> command = VfioKillContract.java();
        command.addAll(List.of(
                "-cp",
                System.getProperty("java.class.path"),
                RestoredArmVm.class.getName(),
                world.toString(),
                directory.toString(),
                "" + each));
        assertThat(Program.output(command).strip()).isEqualTo("" + (2 * each + 1));
    }
}
