/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.arch.vtd.posting.PostedVcpu.Delivery;
import java.io.IOException;
import java.util.List;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class PostedVmTest {
    private static final int CPUS = 16;

    private final PostedVm vm = new PostedVm(host(CPUS), 70, true);
    private final PostedVcpu vcpu = vm.vcpu(0);

    private static long control(PostedVcpu of) {
        return of.descriptor().snapshot().control();
    }

    /** CPUs with their number as id. */
    private static HostCpus host(int cpus) {
        return new HostCpus(LongStream.range(0, cpus).toArray());
    }

    private static int number(PostedVcpu of) {
        return of.thread().last().map(HostCpu::number).orElse(-1);
    }

    /** A vCPU whose descriptor holds the words before the transition, on the CPU of its NDST, numbered otherwise. */
    private static PostedVm start(Transition transition, boolean x2apic) {
        HostCpus host = new HostCpus(
                LongStream.range(0, CPUS).map(number -> CPUS - 1 - number).toArray());
        SharedWords words = SharedWords.of(new long[PostedVm.words(CPUS, 1)]);
        PostedVm vm = new PostedVm(host, words, 1, x2apic, ApicvKernel.FROM_6_17, PiDescriptor::over);
        long[] before = transition.words();
        for (int i = 0; i < before.length; i++) {
            words.set(i, before[i]);
        }
        long ndst = PostedInterruptDescriptor.NDST.of(before[PostedInterruptDescriptor.CONTROL]);
        HostCpu cpu = host.withId(x2apic ? ndst : ndst >>> 8).orElseThrow();
        words.set(vm.vcpu(0).thread().at(VcpuThread.CPU), cpu.number());
        if (PostedInterruptDescriptor.NV.of(before[PostedInterruptDescriptor.CONTROL]) == Apic.WAKEUP) {
            vm.list(cpu).add(0);
        }
        return vm;
    }

    private static void assertAfter(PostedVm vm, Transition transition) {
        assertThat(vm.vcpu(0).descriptor().snapshot().bits())
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
        int cpu = vm.host().withId(load.number("cpuApicId")).orElseThrow().number();
        assertThat(number(vm.vcpu(0)) == cpu).isEqualTo(load.isTrue("sameCpu"));
        vm.vcpu(0).thread().load(cpu);
        assertAfter(vm, load);
        assertThat(vm.listing(0)).isEmpty();
        assertThat(vm.vcpu(0).thread().isLoaded()).isTrue();
        assertThat(number(vm.vcpu(0))).isEqualTo(cpu);
    }

    static Stream<Transition> puts() throws IOException {
        return Transition.of("vmx.pi_put").stream();
    }

    @ParameterizedTest
    @MethodSource("puts")
    void putsAsTheKernelDoes(Transition put) {
        PostedVm vm = start(put, true);
        vm.vcpu(0).thread().load(number(vm.vcpu(0)));
        if (put.isTrue("needsWakeup")) {
            vm.startBypass();
        }
        if (put.isTrue("preempted")) {
            vm.vcpu(0).thread().preempt();
        } else {
            assertThat(vm.vcpu(0).thread().block(!put.isTrue("irqBlocked"))).isTrue();
        }
        assertAfter(vm, put);
        assertThat(vm.vcpu(0).thread().isLoaded()).isFalse();
        assertThat(vm.listing(0)).hasSize(put.values().containsKey("listEffect") ? 1 : 0);
        assertThat(vm.host().cpu(number(vm.vcpu(0))).isInterrupted()).isEqualTo(put.isTrue("selfIpi"));
    }

    @Test
    void newVcpusAreNotLoadedAndHaveNothing() {
        assertThat(control(vcpu)).isEqualTo(0xf20002L);
        assertThat(vcpu.thread().isLoaded() || vcpu.thread().isAsleep() || vcpu.hasInterrupt())
                .isFalse();
        assertThat(number(vcpu)).isEqualTo(-1);
        assertThat(vcpu.brokenRules()).isEmpty();
        assertThat(control(vm.vcpu(69))).isEqualTo(0xf20002L);
        assertThat(vm.vcpu(69).index()).isEqualTo(69);
    }

    @Test
    void softwareNotifiesAGuestThatRuns() {
        vcpu.thread().load(3);
        vcpu.thread().enter();
        assertThat(vcpu.deliver(0x31)).isEqualTo(Delivery.NOTIFIED);
        assertThat(vcpu.deliver(0x32)).as("ON is set").isEqualTo(Delivery.PENDING);
        assertThat(vcpu.deliver(0x31)).as("requested").isEqualTo(Delivery.PENDING);
        assertThat(vm.host().cpu(3).isInterrupted()).isTrue();
        assertThat(vm.host().cpu(0).isInterrupted()).isFalse();
        assertThat(vcpu.isInIrr(0x31)).isFalse();
        vm.host().cpu(3).takeInterrupt();
        assertThat(vm.host().cpu(3).isInterrupted()).isFalse();
        assertThat(vcpu.isInIrr(0x31) && vcpu.isInIrr(0x32)).isTrue();
        assertThat(vcpu.isInIrr(0x33)).isFalse();
    }

    @Test
    void softwareWakesAVcpuOutsideGuestModeAndItSyncsOnEntry() {
        vcpu.thread().load(3);
        assertThat(vcpu.deliver(0x31)).isEqualTo(Delivery.WOKEN);
        assertThat(vm.host().cpu(3).isInterrupted()).isFalse();
        vcpu.thread().enter();
        assertThat(vcpu.isInIrr(0x31)).isTrue();
        vcpu.thread().exit();
        assertThat(vcpu.deliver(0x32)).as("outside again").isEqualTo(Delivery.WOKEN);
    }

    /** A sync outside the guest has filled the IRR, so that the entry finds ON clear. */
    @Test
    void guestSeesWhatAnEarlierSyncTook() {
        vcpu.thread().load(3);
        vcpu.deliver(0x31);
        assertThat(vcpu.sync()).isTrue();
        assertThat(vcpu.rvi()).as("not in the guest yet").isZero();
        vcpu.thread().enter();
        assertThat(vcpu.rvi()).isEqualTo(0x31);
        vcpu.deliver(0xa1);
        vm.host().cpu(3).takeInterrupt();
        assertThat(vcpu.rvi()).isEqualTo(0xa1);
    }

    @Test
    void guestThatInterruptsItselfIsNotNotifiedAndSyncsBeforeItRunsOn() {
        vcpu.thread().load(3);
        vcpu.thread().enter();
        assertThat(vcpu.thread().reenter(() -> {
                    assertThat(vcpu.thread().isInGuestMode()).isTrue();
                    assertThat(vcpu.deliverFromItself(0x31)).isEqualTo(Delivery.OWN);
                    assertThat(vcpu.deliverFromItself(0x31)).isEqualTo(Delivery.PENDING);
                }))
                .isTrue();
        assertThat(vm.host().cpu(3).isInterrupted()).isFalse();
        assertThat(vcpu.isInIrr(0x31)).isTrue();
        assertThat(vcpu.rvi()).isEqualTo(0x31);
    }

    @Test
    void notificationOutsideGuestModeDoesNothing() {
        vcpu.thread().load(3);
        vcpu.thread().enter();
        vcpu.deliver(0x31);
        vcpu.thread().exit();
        vm.host().cpu(3).takeInterrupt();
        assertThat(vm.host().cpu(3).isInterrupted()).isFalse();
        assertThat(vcpu.isInIrr(0x31)).isFalse();
        assertThat(vcpu.descriptor().isOn()).isTrue();
        assertThat(vcpu.sync()).isTrue();
        assertThat(vcpu.sync()).isFalse();
    }

    @Test
    void deviceNotifiesTheProcessorOfNdst() {
        vcpu.thread().load(7);
        vcpu.thread().enter();
        assertThat(vcpu.post(0x41, false)).isTrue();
        assertThat(vcpu.post(0x42, false)).isFalse();
        assertThat(vm.host().cpu(7).isInterrupted()).isTrue();
    }

    @Test
    void sleeperIsOnTheListOfItsProcessorAndIsWoken() {
        vm.startBypass();
        vcpu.thread().load(7);
        assertThat(vcpu.thread().block(true)).isTrue();
        PostedVcpu other = vm.vcpu(65);
        other.thread().load(7);
        assertThat(other.thread().block(true)).isTrue();
        assertThat(vm.listing(0)).containsExactly(vm.host().cpu(7));
        assertThat(vm.listing(65)).containsExactly(vm.host().cpu(7));
        assertThat(vcpu.brokenRules()).isEmpty();
        assertThat(vcpu.post(0x41, false)).isTrue();
        assertThat(vcpu.thread().isAsleep()).isTrue();
        vm.host().cpu(7).takeInterrupt();
        assertThat(vcpu.thread().isAsleep()).isFalse();
        assertThat(other.thread().isAsleep()).as("nothing came for it").isTrue();
        assertThat(vm.listing(0))
                .as("load takes it off")
                .containsExactly(vm.host().cpu(7));
        vcpu.thread().load(2);
        assertThat(vm.listing(0)).isEmpty();
        assertThat(vm.listing(65)).containsExactly(vm.host().cpu(7));
        assertThat(control(vcpu)).isEqualTo(0x200f20001L);
        vcpu.thread().unblock();
        vcpu.thread().enter();
        assertThat(vcpu.isInIrr(0x41)).isTrue();
    }

    @Test
    void requestJustBeforeTheWakeUpVectorIsSetWakesAllTheSame() {
        vm.startBypass();
        PostedVm late = new PostedVm(
                host(8), SharedWords.of(new long[PostedVm.words(8, 1)]), 1, true, ApicvKernel.FROM_6_17, Late::new);
        late.startBypass();
        PostedVcpu sleeper = late.vcpu(0);
        sleeper.thread().load(7);
        assertThat(sleeper.thread().block(true)).isTrue();
        assertThat(late.host().cpu(7).isInterrupted()).isTrue();
        assertThat(sleeper.thread().isAsleep()).isTrue();
        late.host().cpu(7).takeInterrupt();
        assertThat(sleeper.thread().isAsleep()).isFalse();
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
        vcpu.thread().load(7);
        vcpu.deliver(0x31);
        assertThat(vcpu.thread().block(false))
                .as("a pending interrupt is none that it could take")
                .isTrue();
        assertThat(vcpu.descriptor().isSuppressed()).isTrue();
        assertThat(vm.listing(0)).isEmpty();
        assertThat(vcpu.brokenRules()).isEmpty();
    }

    /** vmx_vcpu_pi_put() of 6.12: SN if the vCPU was preempted; of 7.1: at every put. */
    @ParameterizedTest
    @EnumSource
    void notificationsAreSuppressedAtEveryPutSince617(ApicvKernel kernel) {
        boolean since = kernel == ApicvKernel.FROM_6_17;
        PostedVm made = new PostedVm(host(CPUS), 2, true, kernel);
        PostedVcpu of = made.vcpu(0);
        made.startBypass();
        of.thread().load(7);
        of.thread().leave();
        assertThat(of.descriptor().isSuppressed()).as("in user space").isEqualTo(since);
        assertThat(of.post(0x31, false)).as("notified").isNotEqualTo(since);
        of.thread().load(7);
        assertThat(of.brokenRules()).isEmpty();
        assertThat(of.sync()).isTrue();
        of.takeInterrupts(SharedWords.of(new long[4]), 0);
        of.thread().preempt();
        assertThat(of.descriptor().isSuppressed()).as("preempted").isTrue();
        of.thread().load(7);
        assertThat(of.thread().block(false)).isTrue();
        assertThat(of.descriptor().isSuppressed()).as("asleep, interrupts off").isEqualTo(since);
        assertThat(made.listing(0)).isEmpty();
    }

    @Test
    void pendingInterruptKeepsAVcpuFromSleep() {
        vcpu.thread().load(7);
        vcpu.deliver(0x31);
        assertThat(vcpu.thread().block(true)).isFalse();
        assertThat(vcpu.thread().isAsleep()).isFalse();
        assertThat(vcpu.thread().isLoaded()).isTrue();
        long[] taken = new long[4];
        vcpu.takeInterrupts(SharedWords.of(taken), 0);
        assertThat(taken).containsExactly(1L << 0x31, 0, 0, 0);
        assertThat(vcpu.thread().block(true)).isTrue();
        assertThat(vcpu.thread().isAsleep()).isTrue();
        assertThat(vcpu.deliver(0x32)).isEqualTo(Delivery.WOKEN);
        assertThat(vcpu.thread().isAsleep()).isFalse();
    }

    @Test
    void firstBypassWakesThoseThatSleepWithoutBeingListed() {
        vcpu.thread().load(7);
        assertThat(vcpu.thread().block(true)).isTrue();
        assertThat(vm.listing(0)).isEmpty();
        vm.startBypass();
        assertThat(vcpu.thread().isAsleep()).isFalse();
        vcpu.thread().load(7);
        assertThat(vcpu.thread().sleep(true)).isTrue();
        assertThat(vm.listing(0)).containsExactly(vm.host().cpu(7));
        vm.startBypass();
        assertThat(vcpu.thread().isAsleep()).as("the second changes nothing").isTrue();
        vm.stopBypass();
        vm.stopBypass();
        vcpu.thread().wake();
        vcpu.thread().load(7);
        vcpu.thread().sleep(true);
        assertThat(vm.listing(0)).as("nothing is bypassed").isEmpty();
    }

    /** Preemption sets SN also while the vCPU blocks (vmx_vcpu_pi_put); its load clears SN and sees the request. */
    @Test
    void vcpuPreemptedWhileItBlocksIsOnNoListAndLosesNothing() {
        vm.startBypass();
        vcpu.thread().load(7);
        vcpu.thread().startBlock();
        vcpu.thread().preempt();
        assertThat(vcpu.thread().isBlocking() && vcpu.descriptor().isSuppressed())
                .isTrue();
        assertThat(vcpu.post(0x41, false)).isFalse();
        vcpu.thread().load(7);
        assertThat(vcpu.thread().sleep(true)).as("0x41 is there").isFalse();
        assertThat(vcpu.thread().isBlocking()).isFalse();
        assertThat(vcpu.isInIrr(0x41)).isTrue();
        assertThat(vm.listing(0)).isEmpty();
        assertThat(vcpu.brokenRules()).isEmpty();
    }

    @Test
    void restoredLapicReplacesWhatWasRequested() {
        vcpu.thread().load(7);
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
        vcpu.thread().load(7);
        PiDescriptor pid = vcpu.descriptor();
        pid.put();
        pid.post(0x31, false);
        assertThat(vcpu.brokenRules()).containsExactly("R1: loaded, PIR not empty, ON clear", "R2: loaded with SN set");
        pid.block();
        assertThat(vcpu.brokenRules())
                .contains(
                        "R5: NV 0xf1 on the wake-up lists of [], NDST 0x7", "R6: NV is the wake-up vector with SN set");
        vm.list(vm.host().cpu(7)).add(0);
        assertThat(vcpu.brokenRules()).noneMatch(rule -> rule.startsWith("R5"));
        vm.list(vm.host().cpu(2)).add(0);
        assertThat(vcpu.brokenRules()).anyMatch(rule -> rule.contains("on the wake-up lists of [2, 7]"));
        pid.redirect(7);
        assertThat(vcpu.brokenRules()).anyMatch(rule -> rule.startsWith("R5: NV 0xf2"));
        vm.list(vm.host().cpu(2)).remove(0);
        vm.list(vm.host().cpu(7)).remove(0);
        pid.restoreOn();
        assertThat(vcpu.brokenRules()).isEqualTo(List.of());
    }

    @Test
    void whatDoesNotExistIsRefused() {
        assertThatThrownBy(() -> vm.host().cpu(CPUS))
                .hasMessage("processor 16 does not exist: expected 0-15, as this host was created");
        assertThatThrownBy(() -> vcpu.thread().load(-1)).hasMessageStartingWith("processor -1 does not exist");
        assertThat(vcpu.thread().isLoaded()).isFalse();
        assertThatThrownBy(() -> new PostedVm(host(256), 1, false))
                .hasMessage("xapic id 0xff names all CPUs: expected 0-0xfe for one; a host with more has to be in"
                        + " x2APIC mode");
        assertThatThrownBy(() -> new PostedVm(new HostCpus(0x100), 1, false))
                .hasMessage("xapic id 0x100 does not fit: expected 0-0xff, 8 bits");
        assertThatThrownBy(() -> new PostedVm(host(1), 0, true))
                .hasMessage("0 vCPUs are out of range for a VM: expected 1 or more");
    }

    @Test
    void vcpuThatIsNotLoadedDoesNothingOnAProcessor() {
        for (Runnable call :
                List.<Runnable>of(vcpu.thread()::enter, vcpu.thread()::exit, vcpu.thread()::preempt, () -> vcpu.thread()
                        .block(true))) {
            assertIllegalState(call::run, "vCPU 0 is not loaded: load it onto a processor first");
        }
        assertThat(vcpu.thread().isAsleep()).isFalse();
    }

    @Test
    void vcpuInGuestModeHasToExitFirst() {
        vcpu.thread().load(1);
        vcpu.thread().enter();
        for (Runnable call : List.<Runnable>of(
                vcpu.thread()::enter,
                vcpu.thread()::preempt,
                () -> vcpu.thread().block(true),
                () -> vcpu.thread().load(1),
                () -> vcpu.thread().load(2))) {
            assertIllegalState(call::run, "vCPU 0 is in guest mode: it has to exit first");
        }
        assertThat(number(vcpu)).isEqualTo(1);
        vcpu.thread().exit();
        vcpu.thread().preempt();
        assertThat(vcpu.thread().isLoaded()).isFalse();
    }

    @Test
    void wrongArgumentsLoseNothing() {
        vcpu.thread().load(1);
        vcpu.deliver(0x31);
        vcpu.sync();
        vcpu.deliver(0x32);
        assertThatThrownBy(() -> vcpu.takeInterrupts(SharedWords.of(new long[4]), 1))
                .hasMessage("an IRR at word 1 of 4 does not fit: expected 4 words from there");
        for (int words : new int[] {3, 5}) {
            assertThatThrownBy(() -> vcpu.restore(new long[words]))
                    .hasMessage("an IRR of " + words + " words is invalid: expected 4");
        }
        assertThatThrownBy(() -> vcpu.isInIrr(256)).hasMessage("vector 256 is out of range: expected 0-255");
        assertThat(vcpu.isInIrr(0x31)).isTrue();
        assertThat(vcpu.descriptor().hasRequests()).isTrue();
    }

    @Test
    void descriptorBlockedPastItsVcpuLeavesInterruptsAsTheyWere() {
        vcpu.descriptor().block();
        vcpu.thread().load(1);
        vm.host().cpu(1).takeInterrupt();
        assertThat(vcpu.brokenRules()).isEmpty();
    }

    @Test
    void processorToWhichNothingWasSentWakesNobody() {
        vm.startBypass();
        vcpu.thread().load(7);
        assertThat(vcpu.thread().block(true)).isTrue();
        vcpu.descriptor().deliver(0x31);
        vm.host().cpu(7).takeInterrupt();
        assertThat(vcpu.thread().isAsleep()).isTrue();
        assertThat(new PostedVm(host(255), 1, false).vcpu(0).thread().isLoaded())
                .as("as many as xAPIC ids")
                .isFalse();
    }

    @Test
    void bypassThatHasNotBegunDoesNotEnd() {
        assertIllegalState(vm::stopBypass, "no bypass has begun that could end: startBypass comes first");
        vcpu.thread().load(1);
        vm.startBypass();
        assertThat(vcpu.thread().block(true)).isTrue();
        assertThat(vm.listing(0)).containsExactly(vm.host().cpu(1));
    }

    @Test
    void notificationToNowhereIsNone() {
        vcpu.thread().load(3);
        vcpu.descriptor().redirect(CPUS);
        assertThat(vcpu.post(0x31, false)).isTrue();
        for (int cpu = 0; cpu < CPUS; cpu++) {
            assertThat(vm.host().cpu(cpu).isInterrupted()).isFalse();
        }
    }
}
