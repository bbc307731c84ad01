/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.arch.Golden;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.amd.GaTagKernel;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class AvicVmTest {
    private static final long PAGE = 0x123456000L;
    private static final int VECTOR = 0x41;
    private static final int LOG_VECTOR = 0x55;
    private static final GaUnit.Setup UNIT = new GaUnit.Setup(4, 4, LOG_VECTOR, true, true);

    private final HostCpus host = new HostCpus(5, 7, 0x80);
    private AvicHost avic = new AvicHost(host, AvicKernel.FROM_6_17, true);
    private GaUnit unit = unit(UNIT);
    private AvicVm vm = new AvicVm(avic, 2, 70, PAGE);
    private AvicIrqfd irqfd = vm.irqfd(unit, 2);
    private VcpuThread thread = vm.vcpu(0).thread();
    private int pages = 8;

    private GaUnit unit(GaUnit.Setup setup) {
        GaUnit made = new GaUnit(avic, setup);
        made.set(2, 0x901, 0x77, 0x4100, true);
        return made;
    }

    private void on(AvicKernel kernel, boolean ipiv, GaUnit.Setup setup) {
        avic = new AvicHost(host, kernel, ipiv);
        unit = unit(setup);
        vm = new AvicVm(avic, 2, 70, PAGE);
        irqfd = vm.irqfd(unit, 2);
        thread = vm.vcpu(0).thread();
    }

    private void post(int vcpu) {
        irqfd.post(vm.vcpu(vcpu), new InterruptVector(VECTOR));
    }

    private void assertEntry(String golden) throws IOException {
        assertThat(new long[] {unit.low(2), unit.high(2)})
                .isEqualTo(Golden.named(golden).array());
        assertThat(vm.brokenRules()).isEmpty();
    }

    private void assertPhysical(String table, String shadow) throws IOException {
        assertThat(vm.vcpu(0).tableEntry()).isEqualTo(Golden.named(table).array()[0]);
        assertThat(vm.vcpu(0).shadowEntry()).isEqualTo(Golden.named(shadow).array()[0]);
    }

    @Test
    void loadPutAndBlockChangeThePhysicalEntry() throws IOException {
        thread.load(0);
        assertPhysical("avicphys-02", "avicphys-02");
        thread.preempt();
        assertPhysical("avicphys-03", "avicphys-03");
        thread.load(0);
        thread.startBlock();
        assertPhysical("avicphys-03", "avicphys-04");
        thread.preempt();
        thread.load(1);
        assertPhysical("avicphys-03", "avicphys-04");
        thread.preempt();
        thread.load(0);
        thread.unblock();
        assertPhysical("avicphys-02", "avicphys-02");
    }

    @Test
    void hardwareSeesNoIsRunningWithoutIpiv() throws IOException {
        on(AvicKernel.FROM_6_17, false, UNIT);
        thread.load(0);
        assertPhysical("avicphys-03", "avicphys-02");
        thread.startBlock();
        assertPhysical("avicphys-03", "avicphys-04");
    }

    @Test
    void loadPutAndBlockChangeTheEntriesOnTheList() throws IOException {
        post(0);
        assertEntry("amdga-vap-02");
        thread.load(0);
        assertEntry("amdga-vap-01");
        thread.startBlock();
        assertEntry("amdga-vap-04");
        thread.unblock();
        assertEntry("amdga-vap-01");
        thread.preempt();
        assertThat(unit.low(2))
                .isEqualTo(
                        GaIrte.DESTINATION_LOW.put(Golden.named("amdga-vap-02").array()[0], 5));
        irqfd.unpost();
        assertEntry("amdga-rem-07");
        assertThat(irqfd.vcpu()).isEmpty();
    }

    @Test
    void entryIsWrittenAsItsVcpuIs() throws IOException {
        thread.load(0);
        post(0);
        assertEntry("amdga-vap-01");
        thread.startBlock();
        post(0);
        assertEntry("amdga-vap-03");
        unit.update(2, 5, false);
        unit.update(2, 0x01000007, false);
        assertThat(new long[] {unit.low(2), unit.high(2)})
                .isEqualTo(Golden.named("amdga-vap-05").array());
    }

    @Test
    void onlyAVcpuThatBlocksLogsFrom617On() {
        post(0);
        assertThat(GaIrte.GA_LOG_INTR.isSet(unit.low(2))).isFalse();
        on(AvicKernel.UP_TO_6_16, true, UNIT);
        post(0);
        assertThat(GaIrte.GA_LOG_INTR.isSet(unit.low(2))).isTrue();
        thread.load(0);
        assertThat(GaIrte.GA_LOG_INTR.isSet(unit.low(2))).isTrue();
        assertThat(vm.brokenRules()).isEmpty();
    }

    @ParameterizedTest
    @EnumSource
    void movedEntryFollowsItsNewVcpuOnly(AvicKernel kernel) {
        on(kernel, true, UNIT);
        thread.load(0);
        vm.vcpu(1).thread().load(1);
        post(0);
        post(1);
        assertThat(irqfd.vcpu()).hasValue(1);
        assertThat(GaIrte.DESTINATION.of(unit.low(2), unit.high(2))).isEqualTo(7);
        assertThat(GaIrte.GA_TAG.of(unit.low(2))).isEqualTo(vm.vcpu(1).gaTag());
        assertThat(GaIrte.BACKING_PAGE.of(unit.high(2)) << 12).isEqualTo(PAGE + 4096);
        thread.preempt();
        assertThat(GaIrte.IS_RUN.isSet(unit.low(2))).isTrue();
        assertThat(vm.brokenRules()).isEmpty();
    }

    /** The doorbell of a request before the write may have reached a vCPU that blocks, and woken none. */
    @ParameterizedTest
    @CsvSource({"UP_TO_6_16, true", "UP_TO_6_16, false", "FROM_6_17, true", "FROM_6_17, false"})
    void previousVcpuIsKickedWhenItsEntryGoes(AvicKernel kernel, boolean moves) {
        on(kernel, true, UNIT);
        thread.load(0);
        post(0);
        assertThat(thread.block(true)).isTrue();
        vm.vcpu(0).request(VECTOR);
        if (moves) {
            post(1);
        } else {
            irqfd.unpost();
        }
        assertThat(thread.isAsleep()).isFalse();
    }

    @Test
    void listHoldsEveryIrqfdOfTheVm() {
        for (int i = 1; i < 70; i++) {
            assertThat(vm.irqfd(unit, 3).number()).isEqualTo(i);
        }
        unit.set(3, 0x901, 0x77, 0x4100, true);
        vm.irqfd(69).post(vm.vcpu(0), new InterruptVector(VECTOR));
        thread.load(0);
        assertThat(GaIrte.IS_RUN.isSet(unit.low(3))).isTrue();
        vm.irqfd(69).unpost();
        assertThat(vm.brokenRules()).isEmpty();
        assertIllegalState(() -> vm.irqfd(unit, 3), "the VM has 70 irqfds: create it for more");
    }

    @Test
    void doorbellReachesAGuestThatRuns() {
        post(0);
        thread.load(1);
        thread.enter();
        assertThat(unit.request(2)).isEqualTo(GaUnit.Outcome.DOORBELL);
        assertThat(vm.vcpu(0).isInService(VECTOR)).isFalse();
        host.cpu(0).takeInterrupt();
        assertThat(vm.vcpu(0).isInService(VECTOR)).isFalse();
        host.cpu(1).takeInterrupt();
        assertThat(vm.vcpu(0).isInService(VECTOR)).isTrue();
        assertThat(vm.vcpu(0).hasInterrupt()).isFalse();
        vm.vcpu(0).end(VECTOR);
        assertThat(vm.vcpu(0).isInService(VECTOR)).isFalse();
    }

    @ParameterizedTest
    @EnumSource
    void logWakesAVcpuThatSleeps(AvicKernel kernel) {
        on(kernel, true, UNIT);
        post(0);
        thread.load(1);
        assertThat(thread.block(true)).isTrue();
        assertThat(unit.request(2)).isEqualTo(GaUnit.Outcome.LOGGED);
        assertThat(thread.isAsleep()).isTrue();
        host.cpu(0).takeInterrupt();
        assertThat(thread.isAsleep()).isFalse();
        thread.load(1);
        thread.unblock();
        thread.enter();
        assertThat(vm.vcpu(0).isInService(VECTOR)).isTrue();
    }

    @Test
    void vectorBeforeSleepKeepsTheVcpuAwake() {
        post(0);
        thread.load(1);
        unit.request(2);
        assertThat(thread.block(true)).isFalse();
        assertThat(vm.brokenRules()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(ints = {0x1f, 0x40, 0x80, 0xff})
    void lastLookBeforeSleepSeesAnyVector(int vector) {
        thread.load(1);
        vm.vcpu(0).request(vector);
        assertThat(thread.block(true)).isFalse();
    }

    @Test
    void preemptedVcpuFindsTheVectorAtItsNextEntry() {
        post(0);
        thread.load(1);
        thread.preempt();
        assertThat(unit.request(2)).isEqualTo(GaUnit.Outcome.SILENT);
        thread.load(0);
        thread.enter();
        assertThat(vm.vcpu(0).isInService(VECTOR)).isTrue();
    }

    @Test
    void softwareDeliversToAGuestOrToASleeper() {
        thread.load(0);
        thread.enter();
        vm.vcpu(0).deliver(VECTOR);
        host.cpu(0).takeInterrupt();
        assertThat(vm.vcpu(0).isInService(VECTOR)).isTrue();
        thread.exit();
        thread.block(true);
        vm.vcpu(0).deliver(0xff);
        assertThat(thread.isAsleep()).isFalse();
        assertThatIllegalArgumentException().isThrownBy(() -> vm.vcpu(0).deliver(0x100));
        assertThatIllegalArgumentException().isThrownBy(() -> vm.vcpu(0).isInService(0x100));
        assertThatIllegalArgumentException().isThrownBy(() -> vm.vcpu(0).end(-1));
    }

    @Test
    void guestThatRunsEndsItsHighestVector() {
        AvicVcpu vcpu = vm.vcpu(0);
        assertThatIllegalStateException()
                .isThrownBy(() -> vcpu.end(VECTOR))
                .as("it was never loaded")
                .withMessage("the guest of vCPU 0 does not run: the vCPU has to enter first");
        vcpu.deliver(VECTOR);
        vcpu.deliver(0xff);
        thread.load(0);
        thread.enter();
        thread.exit();
        assertThatIllegalStateException().isThrownBy(() -> vcpu.end(0xff)).withMessageContaining("does not run");
        thread.enter();
        assertIllegalState(
                () -> vcpu.end(0x40),
                "vector 64 of vCPU 0 is not in service: the guest ends an interrupt only after it has taken it");
        assertIllegalState(
                () -> vcpu.end(VECTOR),
                "vector 65 of vCPU 0 cannot end now: an EOI ends the highest vector in service, 255");
        vcpu.end(0xff);
        vcpu.end(VECTOR);
        assertThat(vcpu.isInService(0xff)).isFalse();
        assertThat(vcpu.isInService(VECTOR)).isFalse();
        assertThatIllegalStateException().isThrownBy(() -> vcpu.end(VECTOR)).withMessageContaining("not in service");
        vcpu.deliver(VECTOR);
        host.cpu(0).takeInterrupt();
        thread.kick();
        vcpu.end(VECTOR);
        assertThat(vcpu.isInService(VECTOR)).as("ended before the exit").isFalse();
    }

    @Test
    void inhibitedVmRemapsItsEntriesAtTheNextEntry() throws IOException {
        post(0);
        thread.load(0);
        thread.enter();
        vm.inhibit(InhibitReason.IRQWIN);
        assertThat(thread.isInGuestMode()).isFalse();
        vm.inhibit(InhibitReason.HYPERV);
        thread.exit();
        thread.enter();
        assertEntry("amdga-rem-07");
        assertThat(vm.vcpu(0).isActive()).isFalse();
        assertPhysical("avicphys-03", "avicphys-03");
        vm.vcpu(0).deliver(VECTOR);
        assertThat(thread.isInGuestMode()).isFalse();
        thread.exit();
        thread.enter();
        assertThat(vm.vcpu(0).isInService(VECTOR)).isTrue();
        vm.permit(InhibitReason.IRQWIN);
        assertThat(thread.isInGuestMode()).isTrue();
        vm.permit(InhibitReason.HYPERV);
        assertThat(thread.isInGuestMode()).isFalse();
        thread.exit();
        thread.enter();
        assertEntry("amdga-vap-01");
        assertPhysical("avicphys-02", "avicphys-02");
    }

    /** Each change of the mode ends with an invalidation and leaves the entry unlocked. */
    @Test
    void cachedCopyGoesWhenTheModeChanges() {
        thread.load(0);
        for (int round = 0; round < 2; round++) {
            assertThat(unit.request(2)).isEqualTo(GaUnit.Outcome.REMAPPED);
            post(0);
            assertThat(unit.request(2)).isEqualTo(GaUnit.Outcome.DOORBELL);
            vm.inhibit(InhibitReason.IRQWIN);
            thread.enter();
            assertThat(unit.request(2)).isEqualTo(GaUnit.Outcome.REMAPPED);
            thread.exit();
            vm.permit(InhibitReason.IRQWIN);
            thread.enter();
            assertThat(unit.request(2)).isEqualTo(GaUnit.Outcome.DOORBELL);
            thread.exit();
            irqfd.unpost();
        }
    }

    @Test
    void entrySetWhileInhibitedIsTrackedFrom617On() throws IOException {
        vm.inhibit(InhibitReason.IRQWIN);
        thread.load(0);
        thread.enter();
        post(0);
        assertEntry("amdga-rem-07");
        assertThat(irqfd.vcpu()).hasValue(0);
        vm.permit(InhibitReason.IRQWIN);
        thread.exit();
        thread.enter();
        assertEntry("amdga-vap-01");
    }

    @Test
    void entrySetWhileInhibitedStaysRemappedUpTo616() throws IOException {
        on(AvicKernel.UP_TO_6_16, true, UNIT);
        vm.inhibit(InhibitReason.IRQWIN);
        thread.load(0);
        thread.enter();
        post(0);
        assertThat(irqfd.vcpu()).isEmpty();
        vm.permit(InhibitReason.IRQWIN);
        thread.exit();
        thread.enter();
        assertEntry("amdga-rem-07");
    }

    @ParameterizedTest
    @EnumSource
    void deviceOfAnotherDomainIsRefused(AvicKernel kernel) throws IOException {
        on(kernel, true, UNIT);
        unit.set(2, 0x901, 0x77, 0x4100, false);
        assertThat(refused(Errno.EINVAL, () -> post(0)))
                .contains("entry=2 vcpu=0")
                .contains("the domain of the device is not UNMANAGED");
        assertEntry("amdga-rem-07");
    }

    /** use_vapic is set only with GUEST_IR_VAPIC. */
    @ParameterizedTest
    @EnumSource
    void unitWithoutGuestModeIsRefused(AvicKernel kernel) throws IOException {
        on(kernel, true, new GaUnit.Setup(4, 4, LOG_VECTOR, false, true));
        assertThatThrownBy(() -> post(0))
                .isInstanceOfSatisfying(
                        KernelException.class, e -> assertThat(e.errno()).isEqualTo(Errno.EINVAL))
                .hasMessageContaining("the unit has no guest mode");
        assertEntry("amdga-rem-07");
        assertThat(irqfd.vcpu()).isEmpty();
    }

    @Test
    void brokenRulesAreTold() {
        post(0);
        vm.vcpu(1).list().add(0);
        assertThat(vm.brokenRules())
                .containsExactly(
                        "L1: irqfd 0 on the lists of vCPUs [0, 1]",
                        "L2: irqfd 0 posted to OptionalInt[0], on the lists of [0, 1]");
        vm.vcpu(1).list().remove(0);
        vm.vcpu(0).list().remove(0);
        assertThat(vm.brokenRules())
                .containsExactly(
                        "L2: irqfd 0 posted to OptionalInt[0], on the lists of []",
                        "L3: irqfd 0 in guest mode, on no list");
        vm.vcpu(0).list().add(0);
        unit.update(2, 5, true);
        assertThat(vm.brokenRules())
                .containsExactly(
                        "L4: irqfd 0 runs on 5, vCPU 0 does not run", "L5: irqfd 0 logs, vCPU 0 does not block");
        thread.load(1);
        unit.update(2, GaUnit.NO_CPU, false);
        assertThat(vm.brokenRules()).containsExactly("L4: irqfd 0 does not run, vCPU 0 runs on 7");
        unit.update(2, 5, false);
        assertThat(vm.brokenRules()).containsExactly("L4: irqfd 0 runs on 5, vCPU 0 runs on 7");
    }

    @Test
    void idsStartAtOneWrapAndSkipThoseInUse() {
        AvicHost small = new AvicHost(host, AvicKernel.FROM_6_17, GaTagKernel.FROM_6_18, true, 3);
        List<AvicVm> vms = List.of(small(small), small(small), small(small));
        assertThat(vms).extracting(AvicVm::id).containsExactly(1, 2, 3);
        assertIllegalState(() -> small(small), "all 3 ids of VMs are in use: destroy a VM first");
        vms.get(1).destroy();
        assertThat(small(small).id()).isEqualTo(2);
        assertThat(small.vcpu(GaTag.VM.with(3))).containsSame(vms.get(2).vcpu(0));
        assertThat(small.vcpu(GaTag.VM.with(3) | 1)).isEmpty();
        vms.get(2).destroy();
        assertThat(small.vcpu(GaTag.VM.with(3))).isEmpty();
    }

    private AvicVm small(AvicHost of) {
        return new AvicVm(of, 1, 0, PAGE + 4096L * pages++);
    }

    @Test
    void backingPagesOfTwoVmsDoNotOverlap() {
        assertIllegalArgument(
                () -> new AvicVm(avic, 1, 1, PAGE + 4096),
                "the backing pages overlap those of VM 1: give each VM pages of its own");
        assertThat(new AvicVm(avic, 1, 1, PAGE + 2 * 4096).id()).isEqualTo(2);
    }

    /** Neither changes anything: the entry is posted to its own vCPU afterwards. */
    @Test
    void entryAndVcpuOfOthersAreRefused() throws IOException {
        assertIllegalArgument(
                () -> vm.irqfd(unit, 4), "entry 4 does not exist: expected 0-3, as the table was created");
        AvicVcpu foreign = new AvicVm(avic, 1, 1, PAGE + 2 * 4096).vcpu(0);
        assertIllegalArgument(
                () -> irqfd.post(foreign, new InterruptVector(VECTOR)),
                "vCPU 0 belongs to another VM: expected one of the irqfd's VM");
        post(0);
        assertEntry("amdga-vap-02");
    }

    /** A refused update leaves the irqfd where it was up to 6.16, and takes it off its list from 6.17 on. */
    @ParameterizedTest
    @EnumSource
    void refusedUpdateOfAPostedIrqfd(AvicKernel kernel) {
        on(kernel, true, UNIT);
        post(0);
        unit.set(2, 0x901, 0x77, 0x4100, false);
        assertThatThrownBy(() -> post(1)).isInstanceOf(KernelException.class);
        boolean stays = kernel == AvicKernel.UP_TO_6_16;
        assertThat(irqfd.vcpu().isPresent()).isEqualTo(stays);
        assertThat(vm.vcpu(0).list().has(0)).isEqualTo(stays);
        assertThat(vm.brokenRules()).isEmpty();
    }

    /** {@code amd_iommu_activate_guest_mode} of 6.16 has no CPU, that of 6.17 has. */
    @ParameterizedTest
    @EnumSource
    void entryThatIsActivatedWhileItsVcpuRuns(AvicKernel kernel) {
        on(kernel, true, UNIT);
        thread.load(0);
        post(0);
        vm.inhibit(InhibitReason.IRQWIN);
        thread.enter();
        thread.exit();
        vm.permit(InhibitReason.IRQWIN);
        thread.enter();
        assertThat(GaIrte.GUEST_MODE.isSet(unit.low(2))).isTrue();
        assertThat(GaIrte.IS_RUN.isSet(unit.low(2))).isEqualTo(kernel == AvicKernel.FROM_6_17);
        assertThat(vm.brokenRules()).isEmpty();
        thread.exit();
        thread.preempt();
        thread.load(0);
        assertThat(GaIrte.IS_RUN.isSet(unit.low(2))).isTrue();
    }

    /** Linux writes valid, type, mode, destination and vector of its own, and no other bit of the first form. */
    @Test
    void remappedFormThatComesBackHasNoNoFault() {
        long kept = 0x901 | LegacyIrte.INT_TYPE.with(1) | LegacyIrte.LOGICAL.mask();
        unit.set(2, kept | LegacyIrte.NO_FAULT.mask() | LegacyIrte.RQ_EOI.mask(), 0x77, 0x4100, true);
        post(0);
        irqfd.unpost();
        assertThat(unit.low(2)).isEqualTo(kept);
        assertThat(unit.high(2)).isEqualTo(0x77);
    }

    /** The guest does not run, so it takes nothing: the request is seen by the last look before a sleep. */
    @Test
    void refusedEntryTakesNoInterrupt() {
        thread.load(0);
        thread.enter();
        assertThat(thread.reenter(() -> {
                    vm.vcpu(0).request(VECTOR);
                    thread.request();
                }))
                .isFalse();
        assertThat(vm.vcpu(0).isInService(VECTOR)).isFalse();
        assertThat(vm.vcpu(0).hasInterrupt()).isTrue();
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 4097})
    void numberOfVcpusIsChecked(int vcpus) {
        assertIllegalArgument(
                () -> new AvicVm(avic, vcpus, 1, PAGE),
                vcpus + " vCPUs are out of range for a VM with AVIC: expected 1-4096");
    }

    @Test
    void addressesAndIdsAreChecked() {
        assertIllegalArgument(
                () -> new AvicVm(avic, 1, 1, PAGE + 8), "page 0x123456008: expected a 4096-byte boundary");
        assertThatIllegalArgumentException().isThrownBy(() -> new AvicVm(avic, 1, 1, 1L << 52));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> new AvicHost(new HostCpus(0x1000), AvicKernel.FROM_6_17, true));
    }
}
