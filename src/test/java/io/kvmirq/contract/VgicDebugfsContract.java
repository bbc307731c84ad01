/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.KvmDebugfs.find;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Spi;
import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.arch.gic.debugfs.VgicState.Interrupt;
import io.kvmirq.arch.gic.debugfs.VgicState.Kind;
import io.kvmirq.kvm.Vm;
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
            vcpu(vm, i).initialize();
        }
        guest = new GuestIts(vm, VCPUS, made);
        IntStream.range(0, EVENTS).forEach(guest::map);
    }

    @Test
    void stateShowsLinesAndMessages() throws IOException {
        guest.vgic().makeLevel(LINE);
        vm.setSpi(LINE, true);
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
