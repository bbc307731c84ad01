/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.KvmDebugfs.find;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.arch.gic.debugfs.VgicState.Interrupt;
import io.kvmirq.arch.gic.debugfs.VgicState.Kind;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.GuestIts;
import java.io.IOException;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The files of debugfs on a real kernel show the VGIC and the ITS as they were set up. */
@ArmContract
class VgicDebugfsContract extends ArmVms {
    private static final int VCPUS = 2;
    private static final int EVENTS = 5;
    private static final Spi LINE = new Spi(42);
    /** No vCPU has its affinity. */
    private static final int NOBODY = 7;

    private Vm vm;
    private KvmDebugfs debugfs;
    private GuestIts guest;

    @SuppressWarnings("NullAway.Init")
    VgicDebugfsContract(World world) {
        super(world);
    }

    @BeforeEach
    void setUp() throws IOException {
        vm = vm();
        debugfs = new KvmDebugfs(world, vm);
        for (int i = 0; i < VCPUS; i++) {
            vcpu(vm, i).arm64().initialize();
        }
        guest = new GuestIts(vm, VCPUS, made);
        IntStream.range(0, EVENTS).forEach(guest::map);
    }

    @Test
    void stateShowsLinesAndMessages() throws IOException {
        guest.vgic().makeLevel(LINE);
        vm.arm64().setSpi(LINE, true);
        vm.signal(GuestIts.message(3));
        VgicState state = VgicState.parse(debugfs.read("vgic-state"));
        assertThat(state.hasAllSpis() && state.hasAllLpis()).isTrue();
        assertThat(state.model()).isEqualTo("GICv3");
        assertThat(state.lpis()).hasValue(EVENTS);
        assertThat(state.count(Kind.SGI)).isEqualTo(VCPUS * 16);
        assertThat(state.vlpis()).isEmpty();
        Interrupt line = find(state, Kind.SPI, LINE.number());
        assertThat(line.level()).isTrue();
        assertThat(line.lineHigh()).isTrue();
        assertThat(line.isPending()).isTrue();
        assertThat(line.enabled()).isFalse();
        assertThat(find(state, Kind.SPI, LINE.number() + 1).isPending()).isFalse();
        for (int event = 0; event < EVENTS; event++) {
            Interrupt message = find(state, Kind.LPI, GuestIts.lpi(event));
            assertThat(message.isPending()).isEqualTo(event == 3);
            assertThat(message.enabled()).isTrue();
            assertThat(message.target()).isEqualTo(OptionalInt.of(event % VCPUS));
            assertThat(message.delivery()).isEqualTo(VgicState.Delivery.SOFTWARE);
        }
    }

    // The lists of interrupts that Linux keeps, one for each vCPU. FakeArmVcpuTest sees the same in what guests take

    private Interrupt line() throws IOException {
        return find(VgicState.parse(debugfs.read("vgic-state")), Kind.SPI, LINE.number());
    }

    private void route(int vcpu) {
        GuestGic.route(guest.vgic(), LINE, new VcpuId(vcpu));
    }

    @Test
    void spiStaysInItsListWhateverIsWrittenAfterwards() throws IOException {
        GuestGic.enable(guest.vgic(), LINE);
        vm.arm64().setSpi(LINE, true);
        assertThat(line().queuedOn()).hasValue(0);
        route(NOBODY);
        assertThat(line().target()).isEmpty();
        assertThat(line().queuedOn()).as("routed to no vCPU").hasValue(0);
        route(1);
        assertThat(line().target()).hasValue(1);
        assertThat(line().queuedOn()).as("routed to another vCPU").hasValue(0);
        GuestGic.disable(guest.vgic());
        vm.arm64().setSpi(LINE, true);
        assertThat(line().queuedOn()).as("signalled again without distributor").hasValue(0);
    }

    @Test
    void spiWithoutAVcpuWaitsForItsNextSignal() throws IOException {
        GuestGic.enable(guest.vgic(), LINE);
        route(NOBODY);
        vm.arm64().setSpi(LINE, true);
        assertThat(line().isPending()).isTrue();
        assertThat(line().queuedOn()).isEmpty();
        route(1);
        assertThat(line().queuedOn()).as("a route queues nothing").isEmpty();
        vm.arm64().setSpi(LINE, true);
        assertThat(line().queuedOn()).hasValue(1);
    }

    @Test
    void spiWithoutDistributorWaitsForItsNextSignal() throws IOException {
        GuestGic.enable(guest.vgic(), LINE);
        GuestGic.disable(guest.vgic());
        vm.arm64().setSpi(LINE, true);
        GuestGic.enable(guest.vgic());
        assertThat(line().isPending()).isTrue();
        assertThat(line().queuedOn()).isEmpty();
        vm.arm64().setSpi(LINE, true);
        assertThat(line().queuedOn()).hasValue(0);
    }

    /** A configuration queues nothing, and a level that is high already is no signal. */
    @Test
    void lineThatIsRestoredBeforeTheConfigurationWaits() throws IOException {
        GuestGic.enable(guest.vgic(), LINE);
        guest.vgic().writeLines(FIRST, InterruptId.FIRST_SPI, GuestGic.bit(LINE));
        guest.vgic().makeLevel(LINE);
        vm.arm64().setSpi(LINE, true);
        assertThat(line().isPending()).isTrue();
        assertThat(line().queuedOn()).isEmpty();
        vm.arm64().setSpi(LINE, false);
        vm.arm64().setSpi(LINE, true);
        assertThat(line().queuedOn()).hasValue(0);
    }

    @Test
    void levelThatIsLatchedIsQueuedByItsFallingLine() throws IOException {
        GuestGic.enable(guest.vgic(), LINE);
        guest.vgic().makeLevel(LINE);
        GuestGic.disable(guest.vgic());
        vm.arm64().setSpi(LINE, true);
        guest.vgic().setLatched(LINE, true);
        GuestGic.enable(guest.vgic());
        assertThat(line().queuedOn()).isEmpty();
        vm.arm64().setSpi(LINE, false);
        assertThat(line().queuedOn()).hasValue(0);
    }

    @Test
    void spiThatIsMadeActiveJoinsTheListOfItsVcpu() throws IOException {
        int active = GuestGic.word(DistributorRegister.GICD_ISACTIVER, LINE);
        route(NOBODY);
        guest.vgic().writeDistributor(active, GuestGic.bit(LINE));
        assertThat(line().active()).isTrue();
        assertThat(line().queuedOn()).isEmpty();
        route(1);
        GuestGic.disable(guest.vgic());
        guest.vgic().writeDistributor(active, GuestGic.bit(LINE));
        assertThat(line().queuedOn()).hasValue(1);
    }

    @Test
    void lpiThatIsMovedStaysInItsList() throws IOException {
        vm.signal(GuestIts.message(2));
        guest.move(2, 1);
        vm.signal(GuestIts.message(2));
        Interrupt message = find(VgicState.parse(debugfs.read("vgic-state")), Kind.LPI, GuestIts.lpi(2));
        assertThat(message.target()).hasValue(1);
        assertThat(message.queuedOn()).hasValue(0);
    }

    @Test
    void translationsShowTheEventsThatTheGuestMapped() throws IOException {
        assumeTrue(world.isSince(6, 16), "needs Linux 6.16: older kernels do not show the translations of an ITS");
        ItsState state = ItsState.parse(debugfs.read("vgic-its-state@" + Long.toHexString(GuestIts.ITS)));
        assertThat(state.devices()).hasSize(1);
        ItsState.Device device = state.devices().get(0);
        assertThat(device.id()).isEqualTo(GuestIts.DEVICE);
        assertThat(device.lastEvent()).isEqualTo(GuestIts.EVENTS - 1);
        assertThat(device.translations())
                .containsExactlyInAnyOrderElementsOf(IntStream.range(0, EVENTS)
                        .mapToObj(event -> new ItsState.Translation(
                                event, GuestIts.lpi(event), 0, OptionalLong.of(event % VCPUS), event % VCPUS, false))
                        .toList());
    }
}
