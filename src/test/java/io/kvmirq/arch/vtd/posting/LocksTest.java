/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.ExploredWords;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Where a processor accepts no interrupt, and where its list is held: without these the orders searched are others. */
class LocksTest {
    private static final int CPUS = 2;
    private static final int VCPUS = 2;
    private static final int WORDS = PostedVm.words(CPUS, VCPUS) + HostCpus.words(CPUS);

    private final List<String> seen = new ArrayList<>();
    private final ExploredWords words = new ExploredWords(WORDS) {
        @Override
        public void lock(int word) {
            super.lock(word);
            seen.add("take " + name(word));
        }

        @Override
        public void unlock(int word) {
            super.unlock(word);
            seen.add("give " + name(word));
        }

        @Override
        public void fence() {
            super.fence();
            seen.add("fence");
        }
    };
    private final PostedVm vm = vm(words);
    private final PostedVcpu vcpu = vm.vcpu(1);

    private static PostedVm vm(SharedWords words) {
        return new PostedVm(
                new HostCpus(words, PostedVm.words(CPUS, VCPUS), 0, 1),
                words,
                VCPUS,
                true,
                ApicvKernel.FROM_6_17,
                PiDescriptor::over);
    }

    private String name(int word) {
        return word == vm.host().cpu(1).at(HostCpu.INTERRUPTS_OFF) ? "interrupts" : "list";
    }

    @Test
    void loadElsewhereHoldsOffInterrupts() {
        vcpu.thread().load(1);
        assertThat(seen).containsExactly("take interrupts", "give interrupts");
    }

    @Test
    void entryAndExitHoldOffInterrupts() {
        vcpu.thread().load(1);
        seen.clear();
        vcpu.thread().enter();
        assertThat(seen).containsExactly("take interrupts", "fence", "give interrupts");
        seen.clear();
        vcpu.thread().exit();
        assertThat(seen).containsExactly("take interrupts", "give interrupts");
    }

    @Test
    void sleepAndWakeUpHoldTheList() {
        vm.startBypass();
        vcpu.thread().load(1);
        seen.clear();
        assertThat(vcpu.thread().block(true)).isTrue();
        assertThat(seen).containsExactly("take interrupts", "take list", "give list", "give interrupts");
        seen.clear();
        assertThat(vcpu.post(0x31, false)).isTrue();
        vm.host().cpu(1).takeInterrupt();
        assertThat(seen).containsExactly("take interrupts", "take list", "give list", "give interrupts");
        assertThat(vcpu.thread().isAsleep()).isFalse();
        assertThat(vm.host().cpu(1).isInterrupted()).isFalse();
        seen.clear();
        vcpu.thread().load(1);
        assertThat(seen).containsExactly("take interrupts", "take list", "give list", "give interrupts");
        assertThat(vm.listing(1)).isEmpty();
    }

    @Test
    void wokenBeforeItSleepsItDoesNot() {
        PostedVm woken = vm(new ExploredWords(WORDS) {
            @Override
            public void lock(int word) {
                super.lock(word);
                swap(PostedVcpu.WORDS + PostedVcpu.THREAD + VcpuThread.ASLEEP, 0);
            }
        });
        woken.vcpu(1).thread().load(1);
        assertThat(woken.vcpu(1).thread().block(true)).isFalse();
    }

    @Test
    void guestTakesAllFourWords() {
        SharedWords taken = SharedWords.of(new long[6]);
        for (int vector : new int[] {0x31, 0x51, 0x91, 0xd1, 0xff}) {
            vcpu.deliver(vector);
        }
        assertThat(vcpu.sync()).isTrue();
        vcpu.takeInterrupts(taken, 2);
        assertThat(vcpu.isInIrr(0xff)).isFalse();
        assertThat(new long[] {taken.get(2), taken.get(3), taken.get(4), taken.get(5)})
                .containsExactly(1L << 0x31, 1L << 0x51, 1L << 0x91, 1L << 0xd1 | 1L << 0xff);
        assertThat(vcpu.hasInterrupt()).isFalse();
    }

    @Test
    void acknowledgingClearsOnAndSaysWhetherThereWasARequest() {
        PiDescriptor pid = vcpu.descriptor();
        SharedWords irr = SharedWords.of(new long[4]);
        pid.deliver(0x31);
        assertThat(pid.acknowledge(irr, 0)).isTrue();
        assertThat(pid.isOn()).isFalse();
        assertThat(pid.acknowledge(irr, 0)).isFalse();
    }
}
