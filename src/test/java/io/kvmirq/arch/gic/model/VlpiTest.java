/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.GuestTables.with;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.arch.gic.model.VlpiMapping.Outcome;
import io.kvmirq.arch.gic.model.VlpiMapping.Route;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** LPIs that GICv4 delivers: two vCPUs, one device with two events. */
class VlpiTest {
    private static final int VCPUS = 2;
    private static final int DEVICE = 8;
    private static final int HOST_IRQ = 45;
    private static final int DOORBELL = 0x40;
    private static final int LPI = InterruptId.FIRST_LPI + 3;
    private static final int VLPIS = 100;

    private final HostCpus host = new HostCpus(0, 1);
    private final List<Vpe> vpes = vpes(Vpe.Version.V4_0);
    private final GuestTables ram = new GuestTables();
    private final Lpis lpis = new Lpis(
            target -> target >= 0 && target < VCPUS ? OptionalInt.of(target) : OptionalInt.empty(),
            ram,
            () -> true,
            ItsSetUp.DEAF);
    private final EmulatedIts service = new EmulatedIts(lpis);

    @BeforeEach
    void map() {
        ram.enable(lpis, VCPUS, service);
        for (int lpi = LPI; lpi < LPI + 3; lpi++) {
            ram.memory.put(GuestTables.PROPERTIES + vlpi(lpi), (byte) 0xa1);
        }
        ram.mapDevice(service, DEVICE, 5);
        ram.mapCollection(service, 0, 0, true);
        ram.mapCollection(service, 1, 1, true);
        ram.mapEvent(service, DEVICE, 0, LPI, 0);
        ram.mapEvent(service, DEVICE, 1, LPI + 1, 1);
    }

    private List<Vpe> vpes(Vpe.Version version) {
        return IntStream.range(0, VCPUS)
                .mapToObj(vcpu -> new Vpe(host, vcpu, version, VLPIS, DOORBELL + vcpu))
                .toList();
    }

    /** All its vLPIs are enabled. */
    private Vpe vpe(Vpe.Version version, int vcpu) {
        Vpe vpe = vpes(version).get(vcpu);
        for (int i = 0; i < VLPIS; i++) {
            vpe.setEnabled(i, true);
        }
        return vpe;
    }

    private Route route(int event) {
        return new Route(Optional.of(service), OptionalInt.of(DEVICE), event);
    }

    private VlpiMapping mapping(VlpiKernel kernel, List<Vpe> vpes) {
        return new VlpiMapping(kernel, true, lpis, vpes, HOST_IRQ);
    }

    private VlpiMapping mapping(VlpiKernel kernel) {
        return mapping(kernel, vpes);
    }

    private void moveToSecondVcpu() {
        ram.command(
                service,
                ItsCommand.MOVI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 0),
                with(ItsCommand.COLLECTION, 1));
    }

    private static int vlpi(int lpi) {
        return lpi - InterruptId.FIRST_LPI;
    }

    @Test
    void registeredIrqfdMakesAVlpi() {
        VlpiMapping mapping = mapping(VlpiKernel.BY_ROUTE);
        service.message(DEVICE, 0);
        assertThat(mapping.register(route(0))).isEmpty();
        assertThat(mapping.isVlpi()).isTrue();
        assertThat(lpis.hostIrq(LPI)).hasValue(HOST_IRQ);
        assertThat(lpis.hostIrq(LPI + 1)).isEmpty();
        assertThat(vpes.get(0).isPending(vlpi(LPI))).as("what was pending").isTrue();
        assertThat(lpis.isPending(LPI)).isTrue();
        assertThat(mapping.unregister()).isEqualTo(Outcome.CLEAN);
        assertThat(lpis.hostIrq(LPI)).isEmpty();
        assertThat(mapping.isVlpi()).isFalse();
    }

    @Test
    void everyReasonIsGivenInOrder() {
        Route nothing = new Route(Optional.empty(), OptionalInt.empty(), 9);
        assertThat(new VlpiMapping(VlpiKernel.BY_HOST_IRQ, false, lpis, vpes, HOST_IRQ).register(nothing))
                .contains(VlpiObstacle.NO_GICV4);
        assertThat(mapping(VlpiKernel.BY_HOST_IRQ).register(nothing)).contains(VlpiObstacle.NO_DEVICE_ID);
        assertThat(mapping(VlpiKernel.BY_HOST_IRQ).register(new Route(Optional.empty(), OptionalInt.of(DEVICE), 9)))
                .contains(VlpiObstacle.NO_ITS);
        assertThat(mapping(VlpiKernel.BY_HOST_IRQ).register(route(9))).contains(VlpiObstacle.UNMAPPED);
        assertThat(mapping(VlpiKernel.BY_HOST_IRQ).register(route(0))).isEmpty();
        assertThat(new VlpiMapping(VlpiKernel.BY_HOST_IRQ, true, lpis, vpes, HOST_IRQ + 1).register(route(0)))
                .contains(VlpiObstacle.TAKEN);
    }

    @Test
    void laterRegistrationTakesTheLpiOverBefore616() {
        VlpiMapping first = mapping(VlpiKernel.BY_ROUTE);
        VlpiMapping second = new VlpiMapping(VlpiKernel.BY_ROUTE, true, lpis, vpes, HOST_IRQ + 1);
        first.register(route(0));
        assertThat(second.register(route(0))).isEmpty();
        assertThat(lpis.hostIrq(LPI)).hasValue(HOST_IRQ + 1);
        assertThat(first.unregister()).isEqualTo(Outcome.WARNS);
        assertThat(lpis.hostIrq(LPI)).as("taken away from the other").isEmpty();
    }

    /** Whatever the guest disables or unmaps meanwhile. */
    @Test
    void hostIrqFindsItsVlpiSince616() {
        List<Runnable> changes = List.of(
                () -> service.write(EmulatedIts.CTLR, 0),
                () -> lpis.enable(0, false),
                () -> ram.mapCollection(service, 0, 0, false));
        for (Runnable change : changes) {
            VlpiMapping mapping = mapping(VlpiKernel.BY_HOST_IRQ);
            mapping.register(route(0));
            change.run();
            assertThat(mapping.isVlpi()).isTrue();
            assertThat(mapping.unregister()).isEqualTo(Outcome.CLEAN);
            assertThat(lpis.hostIrq(LPI)).isEmpty();
            service.write(EmulatedIts.CTLR, EmulatedIts.ENABLED);
            lpis.enable(0, true);
        }
    }

    /** Seen on 6.1: after the new route H=1 stays at the old LPI, and a warning follows. */
    @Test
    void changedRouteLeavesTheOldVlpiBehindUntilSeven() {
        VlpiMapping mapping = mapping(VlpiKernel.BY_ROUTE);
        mapping.register(route(0));
        assertThat(mapping.changeRoute(route(0))).as("an equal route").isEqualTo(Outcome.CLEAN);
        assertThat(mapping.changeRoute(route(1))).isEqualTo(Outcome.LEFT_BEHIND);
        assertThat(lpis.hostIrq(LPI)).hasValue(HOST_IRQ);
        assertThat(mapping.isVlpi()).isFalse();
        assertThat(mapping.unregister()).isEqualTo(Outcome.WARNS);
        assertThat(lpis.hostIrq(LPI)).hasValue(HOST_IRQ);
    }

    @Test
    void unregisterBeforeTheRouteChangesIsCleanOnEveryKernel() {
        for (VlpiKernel kernel : VlpiKernel.values()) {
            VlpiMapping mapping = mapping(kernel);
            mapping.register(route(0));
            assertThat(mapping.unregister()).isEqualTo(Outcome.CLEAN);
            assertThat(mapping.register(route(1))).isEmpty();
            assertThat(mapping.isVlpi()).isTrue();
            assertThat(mapping.unregister()).isEqualTo(Outcome.CLEAN);
        }
    }

    @Test
    void changedRouteUnmapsOnSeven() {
        VlpiMapping mapping = mapping(VlpiKernel.BY_HOST_IRQ);
        mapping.register(route(0));
        assertThat(mapping.changeRoute(route(1))).isEqualTo(Outcome.CLEAN);
        assertThat(lpis.hostIrq(LPI)).isEmpty();
        assertThat(mapping.isVlpi()).as("until it is registered again").isFalse();
        assertThat(mapping.unregister()).isEqualTo(Outcome.CLEAN);
        assertThat(mapping.register(route(1))).isEmpty();
        assertThat(mapping.isVlpi()).isTrue();
    }

    @Test
    void eventThatTheGuestMapsLateIsNoVlpi() {
        VlpiMapping mapping = mapping(VlpiKernel.BY_ROUTE);
        assertThat(mapping.register(route(2))).contains(VlpiObstacle.UNMAPPED);
        ram.mapEvent(service, DEVICE, 2, LPI + 2, 0);
        assertThat(mapping.isVlpi()).isFalse();
        assertThat(mapping.unregister()).isEqualTo(Outcome.WARNS);
    }

    @Test
    void discardedEventIsNotForwardedWhenItIsMappedAgain() {
        VlpiMapping mapping = mapping(VlpiKernel.BY_HOST_IRQ);
        mapping.register(route(0));
        ram.command(service, ItsCommand.DISCARD, with(ItsCommand.DEVICE, DEVICE), with(ItsCommand.EVENT, 0));
        assertThat(mapping.isVlpi()).isFalse();
        ram.mapEvent(service, DEVICE, 0, LPI, 0);
        assertThat(mapping.isVlpi()).isFalse();
    }

    @Test
    void commandsReachTheHardware() {
        mapping(VlpiKernel.BY_HOST_IRQ).register(route(0));
        ram.command(service, ItsCommand.INT, with(ItsCommand.DEVICE, DEVICE), with(ItsCommand.EVENT, 0));
        assertThat(vpes.get(0).isPending(vlpi(LPI))).isTrue();
        moveToSecondVcpu();
        assertThat(vpes.get(0).hasPending()).isFalse();
        assertThat(vpes.get(1).isPending(vlpi(LPI))).isTrue();
        ram.command(service, ItsCommand.MOVALL, with(ItsCommand.TARGET, 1), with(ItsCommand.SECOND_TARGET, 0));
        assertThat(vpes.get(0).isPending(vlpi(LPI))).isTrue();
        ram.command(service, ItsCommand.CLEAR, with(ItsCommand.DEVICE, DEVICE), with(ItsCommand.EVENT, 0));
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void orderOfCallsIsChecked() {
        VlpiMapping mapping = mapping(VlpiKernel.BY_HOST_IRQ);
        assertThatThrownBy(mapping::unregister)
                .hasMessage("host interrupt 45 is not registered: register its irqfd first");
        assertThatThrownBy(() -> mapping.changeRoute(route(0))).isInstanceOf(IllegalStateException.class);
        mapping.register(route(0));
        assertThatThrownBy(() -> mapping.register(route(0)))
                .hasMessage("host interrupt 45 is registered: unregister it before it is registered again");
    }

    // Residency and doorbell

    @ParameterizedTest
    @EnumSource
    void residentVpeTakesVlpisWithoutTheHost(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.thread().load(0);
        assertThat(vpe.isResident()).isTrue();
        vpe.thread().enter();
        vpe.setPending(5, true);
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        assertThat(vpe.isPending(5)).isTrue();
    }

    @ParameterizedTest
    @EnumSource
    void doorbellWakesAVcpuThatSleeps(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.thread().load(0);
        assertThat(vpe.thread().block(true)).isTrue();
        assertThat(vpe.isResident()).isFalse();
        assertThat(vpe.isDoorbellArmed()).isTrue();
        vpe.setPending(99, true);
        assertThat(vpe.isDoorbellArmed()).as("rings once").isFalse();
        assertThat(vpe.thread().isAsleep()).isTrue();
        host.cpu(0).takeInterrupt();
        assertThat(vpe.thread().isAsleep()).isFalse();
        vpe.thread().load(1);
        assertThat(vpe.isResident()).as("still blocks").isFalse();
        vpe.thread().unblock();
        assertThat(vpe.isResident()).isTrue();
        assertThat(vpe.isPending(99)).isTrue();
    }

    @ParameterizedTest
    @EnumSource
    void vcpuWithAPendingVlpiDoesNotSleep(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.thread().load(0);
        vpe.setPending(0, true);
        assertThat(vpe.thread().block(true)).isFalse();
        assertThat(vpe.isResident()).isTrue();
        assertThat(vpe.isDoorbellArmed()).isFalse();
        vpe.setPending(0, false);
        assertThat(vpe.thread().block(true)).isTrue();
    }

    /** The redistributor of GICv4.1 says PendingLast instead. KVM enables the doorbell of GICv4.0 before it looks. */
    @ParameterizedTest
    @EnumSource
    void doorbellBesideAPendingVlpiIsOfGicV40(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.thread().load(0);
        vpe.setPending(0, true);
        vpe.thread().startBlock();
        assertThat(vpe.hasInterrupt()).isTrue();
        assertThat(vpe.isDoorbellArmed()).isEqualTo(version == Vpe.Version.V4_0);
        vpe.setPending(1, true);
        assertThat(host.cpu(0).isInterrupted()).isEqualTo(version == Vpe.Version.V4_0);
        assertThat(vpe.thread().sleep(true)).isFalse();
    }

    @ParameterizedTest
    @EnumSource
    void preemptedVcpuWantsNoDoorbell(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.thread().load(0);
        vpe.thread().preempt();
        assertThat(vpe.isResident()).isFalse();
        assertThat(vpe.isDoorbellArmed()).isFalse();
        assertThat(vpe.hasInterrupt())
                .as("GICv4.1 is not asked, so there may be one")
                .isEqualTo(version == Vpe.Version.V4_1);
        vpe.setPending(1, true);
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        vpe.thread().load(1);
        assertThat(vpe.isResident()).isTrue();
        assertThat(vpe.thread().block(true)).isFalse();
    }

    @ParameterizedTest
    @EnumSource
    void disabledVlpiNeitherRingsNorKeepsTheVcpuAwake(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.setEnabled(7, false);
        vpe.setEnabled(8, false);
        vpe.thread().load(0);
        vpe.setPending(7, true);
        assertThat(vpe.thread().block(true)).isTrue();
        vpe.setEnabled(8, true); // not pending
        vpe.setPending(9, false);
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        vpe.setEnabled(7, true);
        assertThat(host.cpu(0).isInterrupted()).as("pending, and enabled now").isTrue();
        host.cpu(0).takeInterrupt();
        assertThat(vpe.thread().isAsleep()).isFalse();
    }

    @Test
    void propertyReachesTheHardware() {
        mapping(VlpiKernel.BY_HOST_IRQ).register(route(0));
        service.message(DEVICE, 0);
        assertThat(vpes.get(0).hasPending()).isTrue();
        ram.memory.put(GuestTables.PROPERTIES + vlpi(LPI), (byte) 0xa0);
        ram.command(service, ItsCommand.INV.ofEvent(DEVICE, 0));
        assertThat(vpes.get(0).hasPending()).as("disabled").isFalse();
        assertThat(vpes.get(0).isPending(vlpi(LPI))).isTrue();
    }

    /** KVM reads the pending bits of GICv4.1 only. */
    @ParameterizedTest
    @EnumSource
    void tablesAreSavedIfKvmCanReadTheHardware(Vpe.Version version) {
        mapping(VlpiKernel.BY_HOST_IRQ, vpes(version)).register(route(0));
        service.message(DEVICE, 0);
        boolean readable = version == Vpe.Version.V4_1;
        assertThat(service.save()).isEqualTo(readable ? Optional.empty() : Optional.of(EmulatedIts.TableFault.VLPI));
        assertThat(lpis.savePending()).isTrue();
        int bits = ram.memory.get(GuestTables.PENDING + LPI / 8);
        assertThat((bits >>> LPI % 8 & 1) != 0).isEqualTo(readable);
    }

    @ParameterizedTest
    @EnumSource
    void vlpiThatIsTakenBackBeforeTheVcpuBlocksDoesNotRing(Vpe.Version version) {
        Vpe vpe = vpe(version, 1);
        vpe.setPending(1, true);
        vpe.setPending(1, false);
        vpe.thread().load(0);
        vpe.thread().preempt();
        vpe.setPending(2, true);
        vpe.setPending(2, false);
        vpe.thread().load(0);
        assertThat(vpe.thread().block(true)).isTrue();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
    }

    /** KVM is told by the doorbell's handler: the vPE is no longer resident when the vLPI comes. */
    @ParameterizedTest
    @EnumSource
    void doorbellBeforeTheSleepKeepsTheVcpuAwake(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.thread().load(0);
        vpe.thread().startBlock();
        vpe.setPending(4, true);
        host.cpu(0).takeInterrupt();
        assertThat(vpe.thread().sleep(true)).isFalse();
        assertThat(vpe.isResident()).isTrue();
    }

    @ParameterizedTest
    @EnumSource
    void doorbellComesToTheCpuThatTheVcpuWasOn(Vpe.Version version) {
        Vpe vpe = vpe(version, 0);
        vpe.thread().load(1);
        assertThat(vpe.thread().block(true)).isTrue();
        vpe.setPending(4, true);
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        assertThat(host.cpu(1).isInterrupted()).isTrue();
    }

    /** The vCPU is preempted while it blocks, and is loaded again: its way to sleep is not over. */
    @ParameterizedTest
    @EnumSource
    void doorbellRequestsAnEntryAgain(Vpe.Version version) {
        SharedWords words = SharedWords.of(new long[Vpe.words(VLPIS)]);
        Vpe vpe = new Vpe(host, 0, version, VLPIS, DOORBELL, words, 0);
        vpe.setEnabled(4, true);
        vpe.thread().load(0);
        vpe.thread().startBlock();
        vpe.setPending(4, true);
        int request = vpe.thread().at(VcpuThread.REQUEST);
        assertThat(words.get(request)).isZero();
        host.cpu(0).takeInterrupt();
        assertThat(words.get(request)).isEqualTo(1);
    }

    // The end of a vLPI

    /** Hardware drops the pending state with the mapping. */
    @Test
    void endOfAVlpiDropsItsPendingState() {
        VlpiMapping mapping = mapping(VlpiKernel.BY_HOST_IRQ);
        mapping.register(route(0));
        assertThat(lpis.receive(HOST_IRQ)).isTrue();
        mapping.unregister();
        assertThat(vpes.get(0).isPending(vlpi(LPI))).isFalse();
        assertThat(lpis.isPending(LPI)).isFalse();
        assertThat(lpis.take(0, priority -> true)).isEmpty();
        vpes.get(0).thread().load(0);
        assertThat(vpes.get(0).thread().block(true)).as("nothing is pending").isTrue();
        vpes.get(0).setPending(vlpi(LPI), true);
        assertThat(vpes.get(0).hasPending()).as("enabled").isFalse();
    }

    @Test
    void discardedVlpiLeavesNothingInItsVpe() {
        List<Vpe> later = vpes(Vpe.Version.V4_1);
        mapping(VlpiKernel.BY_HOST_IRQ, later).register(route(0));
        lpis.receive(HOST_IRQ);
        ram.command(service, ItsCommand.DISCARD, with(ItsCommand.DEVICE, DEVICE), with(ItsCommand.EVENT, 0));
        assertThat(later.get(0).isPending(vlpi(LPI))).isFalse();
        ram.mapEvent(service, DEVICE, 0, LPI, 0);
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    /** It is in the list of its vCPU, and so known, until that vCPU leaves its guest. */
    @Test
    void lpiThatWasPendingKeepsItsVcpuBeyondItsVlpi() {
        service.message(DEVICE, 0);
        mapping(VlpiKernel.BY_HOST_IRQ).register(route(0));
        for (int expected : new int[] {0, 1}) {
            ram.command(service, ItsCommand.DISCARD, with(ItsCommand.DEVICE, DEVICE), with(ItsCommand.EVENT, 0));
            ram.mapEvent(service, DEVICE, 0, LPI, 1);
            assertThat(lpis.vcpu(LPI)).hasValue(expected);
            lpis.prune(0);
        }
    }

    // What the guest takes

    @Test
    void guestTakesNoLpiWhileItsLpisAreDisabled() {
        service.message(DEVICE, 0);
        lpis.enable(0, false);
        assertThat(lpis.isPending(LPI)).isTrue();
        assertThat(lpis.take(0, priority -> true)).isEmpty();
        assertThat(lpis.isPending(LPI)).isTrue();
    }

    /** Hardware has the vLPI, and the guest's register is one of KVM. */
    @Test
    void guestTakesVlpisWhileItsLpisAreDisabled() {
        mapping(VlpiKernel.BY_HOST_IRQ).register(route(0));
        lpis.receive(HOST_IRQ);
        lpis.enable(0, false);
        assertThat(lpis.take(0, priority -> true)).hasValue(LPI);
    }

    @Test
    void guestTakesEnabledLpisByPriority() {
        ram.memory.put(GuestTables.PROPERTIES + vlpi(LPI + 2), (byte) 0x11);
        ram.mapEvent(service, DEVICE, 2, LPI + 2, 0);
        ram.mapEvent(service, DEVICE, 3, LPI + 3, 0);
        service.message(DEVICE, 0);
        service.message(DEVICE, 2);
        service.message(DEVICE, 3);
        assertThat(lpis.isPending(LPI + 3)).as("its property is 0").isTrue();
        assertThat(lpis.take(0, priority -> true)).hasValue(LPI + 2);
        assertThat(lpis.take(0, priority -> true)).hasValue(LPI);
        assertThat(lpis.take(0, priority -> true)).isEmpty();
    }

    @Test
    void movedVlpiIsEnabledInItsNewVpe() {
        mapping(VlpiKernel.BY_HOST_IRQ).register(route(0));
        lpis.receive(HOST_IRQ);
        moveToSecondVcpu();
        assertThat(vpes.get(1).hasPending()).isTrue();
        vpes.get(0).setPending(vlpi(LPI), true);
        assertThat(vpes.get(0).hasPending()).as("not in the old one").isFalse();
    }

    @Test
    void numberOfAVlpiIsChecked() {
        Vpe vpe = vpes(Vpe.Version.V4_1).get(0);
        assertThatThrownBy(() -> vpe.setPending(VLPIS, true)).hasMessage("vLPI 100 does not exist: expected 0-99");
        assertThatThrownBy(() -> vpe.isPending(-1)).isInstanceOf(IllegalArgumentException.class);
    }
}
