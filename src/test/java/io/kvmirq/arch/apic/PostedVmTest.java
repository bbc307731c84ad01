/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.apic.PostedVcpu.Delivery;
import java.io.IOException;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class PostedVmTest {
    private static final int CPUS = 16;

    private final PostedVm vm = new PostedVm(CPUS, 70, true);
    private final PostedVcpu vcpu = vm.vcpu(0);

    private static long control(PostedVcpu of) {
        return of.descriptor().snapshot().control();
    }

    /** A vCPU whose descriptor holds what the transition begins with, on the processor of its NDST. */
    private static PostedVm start(Transition transition, boolean x2apic) {
        SharedWords words = SharedWords.of(new long[PostedVm.words(CPUS, 1)]);
        PostedVm vm = new PostedVm(words, CPUS, 1, x2apic, PiDescriptor::over);
        long[] before = transition.words();
        for (int i = 0; i < before.length; i++) {
            words.set(i, before[i]);
        }
        long ndst = PostedInterruptDescriptor.NDST.of(before[PostedInterruptDescriptor.CONTROL]);
        int cpu = (int) (x2apic ? ndst : ndst >>> 8);
        words.set(PostedVcpu.CPU, cpu);
        if (PostedInterruptDescriptor.NV.of(before[PostedInterruptDescriptor.CONTROL]) == Apic.WAKEUP) {
            vm.cpu(cpu).enlist(0);
        }
        return vm;
    }

    private static void assertAfter(PostedVm vm, Transition transition) {
        assertThat(vm.vcpu(0).descriptor().snapshot().words())
                .isEqualTo(
                        transition.after().stream().mapToLong(Long::longValue).toArray());
    }

    static Stream<Transition> loads() throws IOException {
        return Transition.of("vmx.pi_load").stream();
    }

    @ParameterizedTest
    @MethodSource("loads")
    void loadsAsTheKernelDoes(Transition load) {
        PostedVm vm = start(load, load.isTrue("x2apic"));
        int cpu = load.number("cpuApicId");
        assertThat(vm.vcpu(0).cpu() == cpu).isEqualTo(load.isTrue("sameCpu"));
        vm.vcpu(0).load(cpu);
        assertAfter(vm, load);
        assertThat(vm.listing(0)).isEmpty();
        assertThat(vm.vcpu(0).isLoaded()).isTrue();
        assertThat(vm.vcpu(0).cpu()).isEqualTo(cpu);
    }

    static Stream<Transition> puts() throws IOException {
        return Transition.of("vmx.pi_put").stream();
    }

    @ParameterizedTest
    @MethodSource("puts")
    void putsAsTheKernelDoes(Transition put) {
        PostedVm vm = start(put, true);
        vm.vcpu(0).load(vm.vcpu(0).cpu());
        if (put.isTrue("needsWakeup")) {
            vm.startBypass();
        }
        if (put.isTrue("preempted")) {
            vm.vcpu(0).preempt();
        } else {
            assertThat(vm.vcpu(0).block(!put.isTrue("irqBlocked"))).isTrue();
        }
        assertAfter(vm, put);
        assertThat(vm.vcpu(0).isLoaded()).isFalse();
        assertThat(vm.listing(0)).hasSize(put.values().containsKey("listEffect") ? 1 : 0);
        assertThat(vm.isInterrupted(vm.vcpu(0).cpu())).isEqualTo(put.isTrue("selfIpi"));
    }

    @Test
    void newVcpusAreNotLoadedAndHaveNothing() {
        assertThat(control(vcpu)).isEqualTo(0xf20002L);
        assertThat(vcpu.isLoaded() || vcpu.isAsleep() || vcpu.hasInterrupt()).isFalse();
        assertThat(vcpu.cpu()).isEqualTo(-1);
        assertThat(vcpu.brokenRules()).isEmpty();
        assertThat(control(vm.vcpu(69))).isEqualTo(0xf20002L);
        assertThat(vm.vcpu(69).index()).isEqualTo(69);
    }

    @Test
    void softwareNotifiesAGuestThatRuns() {
        vcpu.load(3);
        vcpu.enter();
        assertThat(vcpu.deliver(0x31)).isEqualTo(Delivery.NOTIFIED);
        assertThat(vcpu.deliver(0x32)).as("ON is set").isEqualTo(Delivery.PENDING);
        assertThat(vcpu.deliver(0x31)).as("requested").isEqualTo(Delivery.PENDING);
        assertThat(vm.isInterrupted(3)).isTrue();
        assertThat(vm.isInterrupted(0)).isFalse();
        assertThat(vcpu.isInIrr(0x31)).isFalse();
        vm.takeInterrupt(3);
        assertThat(vm.isInterrupted(3)).isFalse();
        assertThat(vcpu.isInIrr(0x31) && vcpu.isInIrr(0x32)).isTrue();
        assertThat(vcpu.isInIrr(0x33)).isFalse();
    }

    @Test
    void softwareWakesAVcpuOutsideGuestModeAndItSyncsOnEntry() {
        vcpu.load(3);
        assertThat(vcpu.deliver(0x31)).isEqualTo(Delivery.WOKEN);
        assertThat(vm.isInterrupted(3)).isFalse();
        vcpu.enter();
        assertThat(vcpu.isInIrr(0x31)).isTrue();
        vcpu.exit();
        assertThat(vcpu.deliver(0x32)).as("outside again").isEqualTo(Delivery.WOKEN);
    }

    @Test
    void notificationOutsideGuestModeDoesNothing() {
        vcpu.load(3);
        vcpu.enter();
        vcpu.deliver(0x31);
        vcpu.exit();
        vm.takeInterrupt(3);
        assertThat(vm.isInterrupted(3)).isFalse();
        assertThat(vcpu.isInIrr(0x31)).isFalse();
        assertThat(vcpu.descriptor().isOn()).isTrue();
        assertThat(vcpu.sync()).isTrue();
        assertThat(vcpu.sync()).isFalse();
    }

    @Test
    void deviceNotifiesTheProcessorOfNdst() {
        vcpu.load(7);
        vcpu.enter();
        assertThat(vcpu.post(0x41, false)).isTrue();
        assertThat(vcpu.post(0x42, false)).isFalse();
        assertThat(vm.isInterrupted(7)).isTrue();
    }

    @Test
    void sleeperIsOnTheListOfItsProcessorAndIsWoken() {
        vm.startBypass();
        vcpu.load(7);
        assertThat(vcpu.block(true)).isTrue();
        PostedVcpu other = vm.vcpu(65);
        other.load(7);
        assertThat(other.block(true)).isTrue();
        assertThat(vm.listing(0)).containsExactly(7);
        assertThat(vm.listing(65)).containsExactly(7);
        assertThat(vcpu.brokenRules()).isEmpty();
        assertThat(vcpu.post(0x41, false)).isTrue();
        assertThat(vcpu.isAsleep()).isTrue();
        vm.takeInterrupt(7);
        assertThat(vcpu.isAsleep()).isFalse();
        assertThat(other.isAsleep()).as("nothing came for it").isTrue();
        assertThat(vm.listing(0)).as("load takes it off").containsExactly(7);
        vcpu.load(2);
        assertThat(vm.listing(0)).isEmpty();
        assertThat(vm.listing(65)).containsExactly(7);
        assertThat(control(vcpu)).isEqualTo(0x200f20001L);
        vcpu.enter();
        assertThat(vcpu.isInIrr(0x41)).isTrue();
    }

    @Test
    void requestJustBeforeTheWakeUpVectorIsSetWakesAllTheSame() {
        vm.startBypass();
        PostedVm late = new PostedVm(SharedWords.of(new long[PostedVm.words(8, 1)]), 8, 1, true, Late::new);
        late.startBypass();
        PostedVcpu sleeper = late.vcpu(0);
        sleeper.load(7);
        assertThat(sleeper.block(true)).isTrue();
        assertThat(late.isInterrupted(7)).isTrue();
        assertThat(sleeper.isAsleep()).isTrue();
        late.takeInterrupt(7);
        assertThat(sleeper.isAsleep()).isFalse();
    }

    /** A descriptor to which a request comes just before NV is changed. */
    private static final class Late extends PiDescriptor {
        private Late(SharedWords words, int base) {
            super(words, base);
        }

        @Override
        public boolean block() {
            deliver(0x31);
            return super.block();
        }
    }

    @Test
    void sleeperWithInterruptsOffIsNotToBeNotified() {
        vm.startBypass();
        vcpu.load(7);
        vcpu.deliver(0x31);
        assertThat(vcpu.block(false))
                .as("a pending interrupt is none that it could take")
                .isTrue();
        assertThat(vcpu.descriptor().isSuppressed()).isTrue();
        assertThat(vm.listing(0)).isEmpty();
        assertThat(vcpu.brokenRules()).isEmpty();
    }

    @Test
    void pendingInterruptKeepsAVcpuFromSleep() {
        vcpu.load(7);
        vcpu.deliver(0x31);
        assertThat(vcpu.block(true)).isFalse();
        assertThat(vcpu.isAsleep()).isFalse();
        assertThat(vcpu.isLoaded()).isTrue();
        long[] taken = new long[4];
        vcpu.takeInterrupts(SharedWords.of(taken), 0);
        assertThat(taken).containsExactly(1L << 0x31, 0, 0, 0);
        assertThat(vcpu.block(true)).isTrue();
        assertThat(vcpu.isAsleep()).isTrue();
        assertThat(vcpu.deliver(0x32)).isEqualTo(Delivery.WOKEN);
        assertThat(vcpu.isAsleep()).isFalse();
    }

    @Test
    void firstBypassWakesThoseThatSleepWithoutBeingListed() {
        vcpu.load(7);
        assertThat(vcpu.block(true)).isTrue();
        assertThat(vm.listing(0)).isEmpty();
        vm.startBypass();
        assertThat(vcpu.isAsleep()).isFalse();
        vcpu.load(7);
        assertThat(vcpu.block(true)).isTrue();
        assertThat(vm.listing(0)).containsExactly(7);
        vm.startBypass();
        assertThat(vcpu.isAsleep()).as("the second changes nothing").isTrue();
        vm.stopBypass();
        vm.stopBypass();
        vcpu.wake();
        vcpu.load(7);
        vcpu.block(true);
        assertThat(vm.listing(0)).as("nothing is bypassed").isEmpty();
    }

    @Test
    void restoredLapicReplacesWhatWasRequested() {
        vcpu.load(7);
        vcpu.deliver(0x31);
        vcpu.sync();
        vcpu.deliver(0x32);
        vcpu.restore(new long[] {0, 4, 0, 0});
        assertThat(vcpu.isInIrr(0x31) || vcpu.isInIrr(0x32)).isFalse();
        assertThat(vcpu.isInIrr(0x42)).isTrue();
        assertThat(vcpu.descriptor().hasPending()).isFalse();
        assertThat(vcpu.hasInterrupt()).isTrue();
    }

    @Test
    void brokenRulesAreNamed() {
        vcpu.load(7);
        PiDescriptor pid = vcpu.descriptor();
        pid.put();
        pid.post(0x31, false);
        assertThat(vcpu.brokenRules()).containsExactly("R1: loaded, PIR not empty, ON clear", "R2: loaded with SN set");
        pid.block();
        assertThat(vcpu.brokenRules())
                .contains(
                        "R5: NV 0xf1 on the wake-up lists of [], NDST 0x7", "R6: NV is the wake-up vector with SN set");
        vm.cpu(7).enlist(0);
        assertThat(vcpu.brokenRules()).noneMatch(rule -> rule.startsWith("R5"));
        vm.cpu(2).enlist(0);
        assertThat(vcpu.brokenRules()).anyMatch(rule -> rule.contains("on the wake-up lists of [2, 7]"));
        pid.redirect(7);
        assertThat(vcpu.brokenRules()).anyMatch(rule -> rule.startsWith("R5: NV 0xf2"));
        vm.cpu(2).delist(0);
        vm.cpu(7).delist(0);
        pid.restoreOn();
        assertThat(vcpu.brokenRules()).isEqualTo(List.of());
    }

    @Test
    void whatDoesNotExistIsRefused() {
        assertThatThrownBy(() -> vm.takeInterrupt(CPUS))
                .hasMessage("processor 16 does not exist: expected 0–15, as this host was made");
        assertThatThrownBy(() -> vcpu.load(-1)).hasMessageStartingWith("processor -1 does not exist");
        assertThat(vcpu.isLoaded()).isFalse();
        assertThatThrownBy(() -> new PostedVm(257, 1, false))
                .hasMessage("257 processors are too many for xAPIC ids: expected 1–256, or x2APIC ids");
        assertThatThrownBy(() -> new PostedVm(0, 1, true))
                .hasMessage("0 processors and 1 vCPUs make no VM: expected 1 or more of each");
        assertThatThrownBy(() -> new PostedVm(1, 0, true)).hasMessageContaining("make no VM");
    }

    @Test
    void vcpuThatIsNotLoadedDoesNothingOnAProcessor() {
        for (Runnable call : List.<Runnable>of(vcpu::enter, vcpu::exit, vcpu::preempt, () -> vcpu.block(true))) {
            assertThatThrownBy(call::run)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("vCPU 0 is not loaded: load it onto a processor first");
        }
        assertThat(vcpu.isAsleep()).isFalse();
    }

    @Test
    void vcpuInGuestModeHasToExitFirst() {
        vcpu.load(1);
        vcpu.enter();
        for (Runnable call : List.<Runnable>of(
                vcpu::enter, vcpu::preempt, () -> vcpu.block(true), () -> vcpu.load(1), () -> vcpu.load(2))) {
            assertThatThrownBy(call::run)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("vCPU 0 is in guest mode: it has to exit first");
        }
        assertThat(vcpu.cpu()).isEqualTo(1);
        vcpu.exit();
        vcpu.preempt();
        assertThat(vcpu.isLoaded()).isFalse();
    }

    @Test
    void wrongArgumentsLoseNothing() {
        vcpu.load(1);
        vcpu.deliver(0x31);
        vcpu.sync();
        vcpu.deliver(0x32);
        assertThatThrownBy(() -> vcpu.takeInterrupts(SharedWords.of(new long[4]), 1))
                .hasMessage("an IRR at word 1 of 4 does not fit: expected 4 words from there");
        for (int words : new int[] {3, 5}) {
            assertThatThrownBy(() -> vcpu.restore(new long[words]))
                    .hasMessage("an IRR of " + words + " words is none: expected 4");
        }
        assertThatThrownBy(() -> vcpu.isInIrr(256)).hasMessage("vector 256 is out of range: expected 0–255");
        assertThat(vcpu.isInIrr(0x31)).isTrue();
        assertThat(vcpu.descriptor().hasRequests()).isTrue();
    }

    @Test
    void descriptorBlockedPastItsVcpuLeavesInterruptsAsTheyWere() {
        vcpu.descriptor().block();
        vcpu.load(1);
        vm.takeInterrupt(1);
        assertThat(vcpu.brokenRules()).isEmpty();
    }

    @Test
    void processorToWhichNothingWasSentWakesNobody() {
        vm.startBypass();
        vcpu.load(7);
        assertThat(vcpu.block(true)).isTrue();
        vcpu.descriptor().deliver(0x31);
        vm.takeInterrupt(7);
        assertThat(vcpu.isAsleep()).isTrue();
        assertThat(new PostedVm(256, 1, false).vcpu(0).isLoaded())
                .as("as many as xAPIC ids")
                .isFalse();
    }

    @Test
    void bypassThatHasNotBegunDoesNotEnd() {
        assertThatThrownBy(vm::stopBypass)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("no bypass has begun that could end: startBypass comes first");
        vcpu.load(1);
        vm.startBypass();
        assertThat(vcpu.block(true)).isTrue();
        assertThat(vm.listing(0)).containsExactly(1);
    }

    @Test
    void notificationToNowhereIsNone() {
        vcpu.load(3);
        vcpu.descriptor().redirect(CPUS);
        assertThat(vcpu.post(0x31, false)).isTrue();
        for (int cpu = 0; cpu < CPUS; cpu++) {
            assertThat(vm.isInterrupted(cpu)).isFalse();
        }
    }
}
