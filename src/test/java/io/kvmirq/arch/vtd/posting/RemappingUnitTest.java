/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.UnitCapabilities;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** From a device to a vCPU, by public calls alone. */
class RemappingUnitTest {
    private static final int REQUESTER = 0x3b00;
    private static final long SOURCE = 0x4_3b00L;
    private static final RemappableMsi MESSAGE = RemappableMsi.to(5, 0);
    private static final UnitCapabilities UNIT = new UnitCapabilities(1L << 59, 0x1a);

    private final long[] memory = new long[2 * 16];
    private final List<Runnable> atWrite = new ArrayList<>();
    private HostCpus host = new HostCpus(0x10, 0x12);
    private PostedVm vm = new PostedVm(host, 2, true);
    private RemappingTable table = table(true);
    private RemappingUnit unit = new RemappingUnit(table, host, vm::descriptorAt);

    private RemappingTable table(boolean extended) {
        return new RemappingTable(memory, UNIT, extended, new RemappingTable.Observer() {
            @Override
            public void written(int index, long low, long high, boolean atOnce) {
                atWrite.forEach(Runnable::run);
            }

            @Override
            public void invalidated(int index) {}
        });
    }

    private void inXapicMode() {
        vm = new PostedVm(host, 2, false);
        table = table(false);
        unit = new RemappingUnit(table, host, vm::descriptorAt);
    }

    private PostedVcpu posted(int index, int vector) {
        PostedVcpu vcpu = vm.vcpu(index);
        table.set(5, new RemappedIrte(9, SOURCE));
        table.post(5, vcpu.descriptorAddress(), new InterruptVector(vector));
        return vcpu;
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void requestOfADeviceWakesTheVcpuThatSleeps(boolean x2apic) {
        if (!x2apic) {
            inXapicMode();
        }
        vm.startBypass();
        PostedVcpu vcpu = posted(0, 0x41);
        vcpu.thread().load(1);
        assertThat(vcpu.thread().block(true)).isTrue();
        assertThat(unit.request(MESSAGE, REQUESTER)).isInstanceOf(RemappingOutcome.Posted.class);
        assertThat(host.cpu(1).isInterrupted()).isTrue();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        host.cpu(1).takeInterrupt();
        assertThat(vcpu.thread().isAsleep()).isFalse();
        vcpu.thread().load(0);
        vcpu.thread().unblock();
        vcpu.thread().enter();
        assertThat(vcpu.isInIrr(0x41)).isTrue();
    }

    @Test
    void unitUsesTheOldEntryUntilItIsInvalidated() {
        PostedVcpu first = posted(0, 0x41);
        unit.request(MESSAGE, REQUESTER);
        atWrite.add(() -> unit.request(MESSAGE, REQUESTER));
        PostedVcpu second = vm.vcpu(1);
        assertThat(first.sync()).as("SN: no ON").isFalse();
        first.thread().load(0);
        assertThat(first.sync()).isTrue();
        table.post(5, second.descriptorAddress(), new InterruptVector(0x42));
        assertThat(first.descriptor().hasRequests()).as("cached").isTrue();
        assertThat(second.descriptor().hasRequests()).isFalse();
        unit.request(MESSAGE, REQUESTER);
        assertThat(second.descriptor().hasRequests()).as("invalidated").isTrue();
    }

    @Test
    void whatIsWrittenIntoTheTableIsSeenAfterAnInvalidation() {
        posted(0, 0x41);
        unit.request(MESSAGE, REQUESTER);
        memory[10] = 0;
        assertThat(unit.request(MESSAGE, REQUESTER)).isInstanceOf(RemappingOutcome.Posted.class);
        table.invalidate(5);
        assertThat(unit.request(MESSAGE, REQUESTER))
                .isEqualTo(new RemappingOutcome.Blocked(FaultReason.NOT_PRESENT, true));
        memory[10] = 9;
        memory[11] = SOURCE;
        assertThat(unit.request(MESSAGE, REQUESTER))
                .as("what is not present is not cached")
                .isInstanceOf(RemappingOutcome.Remapped.class);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void remappedRequestInterruptsTheHost(boolean x2apic) {
        if (!x2apic) {
            inXapicMode();
        }
        List<Integer> taken = new ArrayList<>();
        host.handle(0x22, cpu -> taken.add(cpu.number()));
        long destination = x2apic ? 0x12 : 0x1200;
        table.set(5, new RemappedIrte(destination << 32 | 0x220009, SOURCE));
        unit.request(MESSAGE, REQUESTER);
        host.cpus().forEach(HostCpu::takeInterrupt);
        assertThat(taken).containsExactly(1);
    }

    @Test
    void notificationToAllInXapicModeReachesEveryProcessor() {
        inXapicMode();
        List<Integer> taken = new ArrayList<>();
        host.handle(0x22, cpu -> taken.add(cpu.number()));
        table.set(5, new RemappedIrte(0xff00L << 32 | 0x220009, SOURCE));
        unit.request(MESSAGE, REQUESTER);
        host.cpus().forEach(HostCpu::takeInterrupt);
        assertThat(taken).containsExactly(0, 1);
    }

    @Test
    void descriptorsOfAHostHaveAddressesOfTheirOwn() {
        PostedVm other = new PostedVm(host, 1, true);
        assertThat(List.of(
                        vm.vcpu(0).descriptorAddress(),
                        vm.vcpu(1).descriptorAddress(),
                        other.vcpu(0).descriptorAddress()))
                .doesNotHaveDuplicates()
                .allMatch(address -> address % 64 == 0 && address != 0);
        assertThat(vm.descriptorAt(vm.vcpu(1).descriptorAddress()))
                .contains(vm.vcpu(1).descriptor());
        assertThat(vm.descriptorAt(other.vcpu(0).descriptorAddress())).isEmpty();
    }
}
