/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Where a processor accepts no interrupt, and where its list is held: without these the orders searched are others. */
class LocksTest {
    private static final int CPUS = 2;
    private static final int VCPUS = 2;

    private final List<String> seen = new ArrayList<>();
    private final ExploredWords words = new ExploredWords(PostedVm.words(CPUS, VCPUS)) {
        @Override
        void lock(int word) {
            super.lock(word);
            seen.add("take " + name(word));
        }

        @Override
        void unlock(int word) {
            super.unlock(word);
            seen.add("give " + name(word));
        }

        @Override
        public void fence() {
            super.fence();
            seen.add("fence");
        }
    };
    private final PostedVm vm = new PostedVm(words, CPUS, VCPUS, true, PiDescriptor::over);
    private final PostedVcpu vcpu = vm.vcpu(1);

    private String name(int word) {
        return word == vm.cpu(1).at(HostCpu.INTERRUPTS_OFF) ? "interrupts" : "list";
    }

    @Test
    void loadElsewhereHoldsOffInterrupts() {
        vcpu.load(1);
        assertThat(seen).containsExactly("take interrupts", "give interrupts");
    }

    @Test
    void entryAndExitHoldOffInterrupts() {
        vcpu.load(1);
        seen.clear();
        vcpu.enter();
        assertThat(seen).containsExactly("take interrupts", "fence", "give interrupts");
        seen.clear();
        vcpu.exit();
        assertThat(seen).containsExactly("take interrupts", "give interrupts");
    }

    @Test
    void sleepAndWakeUpHoldTheList() {
        vm.startBypass();
        vcpu.load(1);
        seen.clear();
        assertThat(vcpu.block(true)).isTrue();
        assertThat(seen).containsExactly("take interrupts", "take list", "give list", "give interrupts");
        seen.clear();
        assertThat(vcpu.post(0x31, false)).isTrue();
        vm.takeInterrupt(1);
        assertThat(seen).containsExactly("take interrupts", "take list", "give list", "give interrupts");
        assertThat(vcpu.isAsleep()).isFalse();
        assertThat(vm.isInterrupted(1)).isFalse();
        seen.clear();
        vcpu.load(1);
        assertThat(seen).containsExactly("take interrupts", "take list", "give list", "give interrupts");
        assertThat(vm.listing(1)).isEmpty();
    }

    @Test
    void wokenBeforeItSleepsItDoesNot() {
        PostedVm woken = new PostedVm(
                new ExploredWords(PostedVm.words(CPUS, VCPUS)) {
                    @Override
                    void lock(int word) {
                        super.lock(word);
                        swap(PostedVcpu.WORDS + PostedVcpu.ASLEEP, 0);
                    }
                },
                CPUS,
                VCPUS,
                true,
                PiDescriptor::over);
        woken.vcpu(1).load(1);
        assertThat(woken.vcpu(1).block(true)).isFalse();
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
