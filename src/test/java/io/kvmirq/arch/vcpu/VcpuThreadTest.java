/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vcpu;

import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The thread with interrupt hardware of this test's own: no APIC, no descriptor. */
class VcpuThreadTest {
    private static final int MAINTENANCE = 25;
    private static final int THREAD = HostCpus.words(2);

    private final List<String> seen = new ArrayList<>();

    private final ExploredWords words = new ExploredWords(THREAD + VcpuThread.WORDS) {
        @Override
        public void set(int word, long value) {
            super.set(word, value);
            if (word == THREAD + VcpuThread.MODE) {
                seen.add("mode " + value);
            } else if (word == THREAD + VcpuThread.LOADED) {
                seen.add("loaded " + value);
            } else if (word == THREAD + VcpuThread.BLOCKING) {
                seen.add("blocking is " + value);
            }
        }

        @Override
        public long swap(int word, long value) {
            seen.add("asleep " + value);
            return super.swap(word, value);
        }

        @Override
        public void fence() {
            seen.add("fence");
        }

        @Override
        public void lock(int word) {
            super.lock(word);
            seen.add("off");
        }

        @Override
        public void unlock(int word) {
            super.unlock(word);
            seen.add("on");
        }
    };

    private final HostCpus host = new HostCpus(words, 0, 0x10, 0x22);
    private boolean hasInterrupt;
    private Runnable atBlocking = () -> {};
    private Runnable atEntering = () -> {};
    private final VcpuThread thread = new VcpuThread(host, 3, words, THREAD, new Hooks());

    /** Tells each call, with the number of the CPU. */
    private final class Hooks implements VcpuHooks {
        private void tell(String hook, HostCpu cpu) {
            seen.add(hook + " " + cpu.number());
        }

        @Override
        public void load(HostCpu here, Optional<HostCpu> last) {
            tell("load from " + last.map(HostCpu::number).orElse(-1) + " to", here);
        }

        @Override
        public void prepare(HostCpu here) {
            tell("prepare", here);
        }

        @Override
        public void entering(HostCpu here) {
            tell("entering", here);
            atEntering.run();
        }

        @Override
        public void exited(HostCpu here) {
            tell("exited", here);
        }

        @Override
        public void preempted(HostCpu here) {
            tell("preempted", here);
        }

        @Override
        public void blocking(HostCpu here) {
            tell("blocking", here);
        }

        @Override
        public boolean hasInterrupt() {
            atBlocking.run();
            return hasInterrupt;
        }

        @Override
        public void unblocked(HostCpu here) {
            tell("unblocked", here);
        }

        @Override
        public void asleep(HostCpu here, boolean interruptible) {
            tell(interruptible ? "sleeps interruptibly" : "sleeps", here);
        }
    }

    private List<String> during(Runnable step) {
        seen.clear();
        step.run();
        return List.copyOf(seen);
    }

    @Test
    void hooksAreCalledInTheOrderOfTheKernel() {
        assertThat(during(() -> thread.load(1))).containsExactly("load from -1 to 1", "loaded 1");
        assertThat(during(thread::enter)).containsExactly("off", "prepare 1", "mode 1", "fence", "entering 1", "on");
        assertThat(thread.isGuestOf(host.cpu(1))).isTrue();
        assertThat(thread.isGuestOf(host.cpu(0))).isFalse();
        assertThat(during(thread::exit)).containsExactly("off", "mode 0", "exited 1", "on");
        assertThat(thread.isGuestOf(host.cpu(1))).isFalse();
        assertThat(during(thread::preempt)).containsExactly("loaded 0", "preempted 1");
        assertThat(during(() -> thread.load(0))).containsExactly("load from 1 to 0", "loaded 1");
        assertThat(during(() -> thread.block(true)))
                .containsExactly(
                        "blocking 0", "blocking is 1", "asleep 1", "off", "loaded 0", "sleeps interruptibly 0", "on");
        assertThat(thread.isAsleep()).isTrue();
        assertThat(during(thread::wake)).containsExactly("asleep 0");
        assertThat(thread.isAsleep()).isFalse();
        assertThat(during(() -> thread.load(1))).containsExactly("load from 0 to 1", "loaded 1");
        assertThat(during(thread::unblock)).containsExactly("blocking is 0", "unblocked 1");
    }

    @Test
    void blockingVcpuIsPreemptedAndLoadedBeforeItSleepsAndAfter() {
        thread.load(0);
        assertThat(during(thread::startBlock)).containsExactly("blocking 0", "blocking is 1");
        assertThat(during(thread::preempt)).containsExactly("loaded 0", "preempted 0");
        assertThat(thread.isBlocking()).isTrue();
        assertThat(during(() -> thread.load(1))).containsExactly("load from 0 to 1", "loaded 1");
        assertThat(during(() -> assertThat(thread.sleep(true)).isTrue()))
                .containsExactly("asleep 1", "off", "loaded 0", "sleeps interruptibly 1", "on");
        thread.wake();
        thread.load(1);
        thread.preempt();
        thread.load(0);
        assertThat(during(() ->
                        assertThat(thread.sleep(false)).as("woken for nothing").isTrue()))
                .containsExactly("asleep 1", "off", "loaded 0", "sleeps 0", "on");
        thread.wake();
        thread.load(0);
        assertThat(thread.isBlocking()).isTrue();
        hasInterrupt = true;
        assertThat(during(() -> assertThat(thread.sleep(true)).isFalse()))
                .containsExactly("asleep 1", "blocking is 0", "unblocked 0");
        assertThat(thread.enter()).isTrue();
    }

    @Test
    void blockBeginsOnceAndEndsOnceBeforeTheGuestIsEntered() {
        thread.load(0);
        for (Runnable step : List.<Runnable>of(thread::unblock, () -> thread.sleep(true))) {
            assertIllegalState(step::run, "vCPU 3 does not block: startBlock comes first");
        }
        thread.startBlock();
        for (Runnable step : List.<Runnable>of(thread::enter, thread::startBlock, () -> thread.block(true))) {
            assertThat(during(() -> assertThatThrownBy(step::run)
                            .isInstanceOf(IllegalStateException.class)
                            .hasMessage("vCPU 3 blocks: it has to unblock first")))
                    .isEmpty();
        }
    }

    @Test
    void requestOrKickDuringTheEntryRefusesIt() {
        thread.load(1);
        for (Runnable late : List.<Runnable>of(thread::request, thread::kick)) {
            atEntering = late;
            assertThat(during(() -> assertThat(thread.enter()).isFalse()))
                    .containsSubsequence(
                            "off", "prepare 1", "mode 1", "fence", "entering 1", "mode 0", "exited 1", "on");
            assertThat(thread.isInGuestMode() || thread.isGuestOf(host.cpu(1))).isFalse();
            atEntering = () -> {};
            assertThat(thread.enter()).as("prepared anew").isTrue();
            thread.exit();
        }
    }

    @Test
    void fastPathStaysInGuestModeUnlessARequestOrKickCame() {
        thread.load(1);
        assertThatThrownBy(() -> thread.reenter(() -> {}))
                .hasMessage("vCPU 3 is not in guest mode: it has to enter first");
        thread.enter();
        assertThat(during(() ->
                        assertThat(thread.reenter(() -> seen.add("handles"))).isTrue()))
                .containsExactly("off", "handles", "entering 1", "on");
        assertThat(thread.isInGuestMode() && thread.isGuestOf(host.cpu(1))).isTrue();
        for (Runnable late : List.<Runnable>of(thread::request, thread::kick)) {
            atEntering = late;
            assertThat(during(() -> assertThat(thread.reenter(() -> {})).isFalse()))
                    .containsSubsequence("off", "entering 1", "mode 0", "exited 1", "on");
            assertThat(thread.isInGuestMode() || thread.isGuestOf(host.cpu(1))).isFalse();
            atEntering = () -> {};
            assertThat(thread.enter()).isTrue();
        }
    }

    @Test
    void requestBeforeTheEntryIsAnsweredByItsPreparation() {
        thread.load(1);
        thread.request();
        assertThat(thread.enter()).isTrue();
        thread.request();
        thread.exit();
        assertThat(thread.enter()).isTrue();
    }

    @Test
    void vcpuThatNeverEnteredDoesNotExit() {
        VcpuThread other = new VcpuThread(host, 4, new ExploredWords(VcpuThread.WORDS), 0, new VcpuHooks() {});
        thread.load(1);
        thread.enter();
        other.load(1);
        assertIllegalState(other::exit, "vCPU 4 is not in guest mode: it has to enter first");
        assertThat(thread.isGuestOf(host.cpu(1))).isTrue();
        thread.kick();
        thread.exit();
        assertThat(thread.isGuestOf(host.cpu(1))).isFalse();
    }

    /** Also where its exit is late: the guest of a CPU is one. */
    @Test
    void secondGuestOnACpuIsRefused() {
        VcpuThread other = new VcpuThread(host, 4, new ExploredWords(VcpuThread.WORDS), 0, new VcpuHooks() {});
        thread.load(1);
        thread.enter();
        other.load(1);
        assertIllegalState(other::enter, "processor 1 runs another guest: vCPU 4 can enter when that one has exited");
        assertThat(thread.isGuestOf(host.cpu(1))).isTrue();
        assertThat(other.isInGuestMode()).isFalse();
        thread.exit();
        assertThat(other.enter()).as("interrupts are on again").isTrue();
    }

    @Test
    void sleeperIsWokenBeforeItIsLoaded() {
        thread.load(0);
        thread.block(true);
        assertThat(during(() -> assertThatThrownBy(() -> thread.load(1))
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessage("vCPU 3 sleeps: wake it first")))
                .isEmpty();
        thread.wake();
        thread.load(1);
        assertThat(thread.isLoaded()).isTrue();
    }

    @Test
    void loadedThreadLeavesItsCpuBeforeItComesToAnother() {
        thread.load(0);
        assertThat(during(() -> assertThatThrownBy(() -> thread.load(1))
                        .isInstanceOf(IllegalStateException.class)
                        .hasMessage("vCPU 3 is loaded on processor 0: preempt it there first")))
                .isEmpty();
        thread.load(0);
        thread.preempt();
        thread.load(1);
        assertThat(thread.last()).contains(host.cpu(1));
    }

    @Test
    void threadInterruptsItsCpu() {
        host.handle(MAINTENANCE, cpu -> {});
        assertThatThrownBy(() -> thread.interrupt(MAINTENANCE))
                .hasMessage("vCPU 3 is not loaded: load it onto a processor first");
        thread.load(1);
        thread.interrupt(MAINTENANCE);
        assertThat(host.cpu(1).isInterrupted()).isTrue();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
    }

    @Test
    void interruptGoesToTheCpuWithTheId() {
        HostCpus unsorted = new HostCpus(7, 0xffff_ffffL, 3);
        unsorted.handle(MAINTENANCE, cpu -> {});
        assertThat(unsorted.withId(3)).contains(unsorted.cpu(2));
        unsorted.interrupt(4, MAINTENANCE);
        assertThat(unsorted.cpus()).noneMatch(HostCpu::isInterrupted);
        unsorted.interrupt(0xffff_ffffL, MAINTENANCE);
        assertThat(unsorted.cpus()).filteredOn(HostCpu::isInterrupted).containsExactly(unsorted.cpu(1));
    }

    @Test
    void interruptKeepsTheThreadOnItsCpu() {
        thread.load(0);
        hasInterrupt = true;
        assertThat(during(() -> assertThat(thread.block(true)).isFalse()))
                .containsExactly("blocking 0", "blocking is 1", "asleep 1", "blocking is 0", "unblocked 0");
        assertThat(thread.isLoaded()).isTrue();
        assertThat(thread.isAsleep()).isFalse();
        assertThat(during(() -> assertThat(thread.block(false)).isTrue()))
                .containsExactly("blocking 0", "blocking is 1", "asleep 1", "off", "loaded 0", "sleeps 0", "on");
    }

    @Test
    void threadWokenBeforeItSleepsStaysOnItsCpu() {
        thread.load(0);
        atBlocking = thread::wake;
        assertThat(during(() -> assertThat(thread.block(true)).isFalse()))
                .containsExactly(
                        "blocking 0",
                        "blocking is 1",
                        "asleep 1",
                        "asleep 0",
                        "off",
                        "on",
                        "blocking is 0",
                        "unblocked 0");
        assertThat(thread.isLoaded()).isTrue();
    }

    @Test
    void kickWakesASleeperAndMakesAGuestExit() {
        thread.load(0);
        assertThat(thread.kick()).as("outside the guest").isFalse();
        thread.enter();
        assertThat(thread.isInGuestMode()).isTrue();
        assertThat(thread.kick()).isTrue();
        assertThat(thread.isInGuestMode()).isFalse();
        assertThat(thread.kick()).as("told before").isFalse();
        assertThatThrownBy(thread::enter).hasMessage("vCPU 3 is in guest mode: it has to exit first");
        thread.exit();
        thread.block(true);
        assertThat(thread.kick()).isFalse();
        assertThat(thread.isAsleep()).isFalse();
    }

    @Test
    void hardwareWithoutHooksSleepsAtOnce() {
        VcpuThread plain =
                new VcpuThread(new HostCpus(7), 0, new ExploredWords(VcpuThread.WORDS), 0, new VcpuHooks() {});
        plain.load(0);
        plain.enter();
        plain.exit();
        assertThat(plain.last().orElseThrow().id()).isEqualTo(7);
        assertThat(plain.block(true)).isTrue();
        plain.wake();
        plain.load(0);
        plain.preempt();
        assertThat(plain.isLoaded()).isFalse();
    }

    @Test
    void cpuTakesItsHighestVectorAndRunsAllItsHandlers() {
        List<String> taken = new ArrayList<>();
        for (int vector : new int[] {0, MAINTENANCE, 255}) {
            host.handle(vector, cpu -> taken.add(vector + " at " + Long.toHexString(cpu.id())));
        }
        host.handle(MAINTENANCE, cpu -> taken.add("another"));
        HostCpu cpu = host.withId(0x22).orElseThrow();
        for (int vector : new int[] {0, 255, MAINTENANCE, MAINTENANCE, 100}) {
            cpu.interrupt(vector);
        }
        host.cpu(0).interruptsOff();
        assertThat(host.cpu(0).isInterrupted()).isFalse();
        host.cpu(0).interruptsOn();
        for (int i = 0; i < 3; i++) {
            assertThat(cpu.isInterrupted()).isTrue();
            assertThat(during(cpu::takeInterrupt)).containsExactly("off", "on");
        }
        assertThat(cpu.isInterrupted()).as("100 has no handler").isFalse();
        cpu.takeInterrupt();
        assertThat(taken).containsExactly("255 at 22", "25 at 22", "another", "0 at 22");
    }

    @ParameterizedTest
    @CsvSource({"-1", "256"})
    void vectorOutOfRangeIsRefused(int vector) {
        assertThatThrownBy(() -> host.handle(vector, cpu -> {}))
                .hasMessage("vector " + vector + " is out of range: expected 0-255");
        host.cpu(0).interrupt(vector);
        assertThat(host.cpu(0).isInterrupted()).isFalse();
    }

    @Test
    void impossibleHostsAreRefused() {
        assertThatThrownBy(HostCpus::new).hasMessage("a host needs CPUs: expected the id of 1 CPU or more");
        assertThatThrownBy(() -> new HostCpus(1, 2, 1))
                .hasMessage("two CPUs have the id 0x1: expected an id of its own for each");
        assertThat(host.withId(1)).isEmpty();
        assertThat(host.cpus()).containsExactly(host.cpu(0), host.cpu(1));
    }

    /** {@code entering} sees the change, or the kick finds the guest; a mode store without a barrier loses. */
    @ParameterizedTest
    @EnumSource(Memory.class)
    void changeBeforeAKickIsSeenByTheGuestsEntry(Memory memory) {
        assertThat(entryAgainstKick(memory, true, Look.ENTERING).loses()).isFalse();
        assertThat(entryAgainstKick(memory, false, Look.ENTERING).loses()).isEqualTo(memory == Memory.STORE_BUFFERS);
    }

    /** As a VGIC fills its list registers. Between the preparation and guest mode a kick alone loses, a request not. */
    @ParameterizedTest
    @EnumSource(Memory.class)
    void requestBeforeAKickIsSeenByThePreparation(Memory memory) {
        assertThat(entryAgainstKick(memory, true, Look.PREPARE).loses()).isFalse();
        assertThat(entryAgainstKick(memory, false, Look.PREPARE).loses()).isEqualTo(memory == Memory.STORE_BUFFERS);
        assertThat(entryAgainstKick(memory, true, Look.PREPARE_WITHOUT_REQUEST).loses())
                .isTrue();
    }

    /** Where the vCPU looks for the change. */
    private enum Look {
        ENTERING,
        PREPARE,
        PREPARE_WITHOUT_REQUEST
    }

    private static Exploration entryAgainstKick(Memory memory, boolean barrier, Look look) {
        int thread = HostCpus.words(1);
        int change = thread + VcpuThread.WORDS;
        int told = change + 1;
        ExploredWords words = new ExploredWords(told + 1) {
            @Override
            public void fence() {
                if (barrier) {
                    super.fence();
                }
            }
        };
        long[] start = new long[told + 1];
        words.at(start);
        VcpuThread vcpu = new VcpuThread(new HostCpus(words, 0, 5), 0, words, thread, new VcpuHooks() {
            @Override
            public void prepare(HostCpu here) {
                if (look != Look.ENTERING) {
                    look();
                }
            }

            @Override
            public void entering(HostCpu here) {
                if (look == Look.ENTERING) {
                    look();
                }
            }

            private void look() {
                if (words.get(change) != 0) {
                    words.or(told, 1);
                }
            }
        });
        vcpu.load(0);
        Actor enters = Actor.of("vcpu", words.operation("enter", () -> {
            boolean entered = false;
            while (!entered) {
                entered = vcpu.enter();
            }
        }));
        Actor kicks = Actor.of("kicker", words.operation("kick", () -> {
            words.or(change, 1);
            if (look == Look.PREPARE) {
                vcpu.request();
            }
            if (vcpu.kick()) {
                words.or(told, 1);
            }
        }));
        Explorer.Model model = new Explorer.Model() {
            @Override
            public Optional<String> lost(long[] end) {
                return end[told] == 1 ? Optional.empty() : Optional.of("the guest runs on without the change");
            }

            @Override
            public String describe(Explorer.Access access) {
                return access.toString();
            }
        };
        return new Explorer(List.of(enters, kicks), memory, model).explore(start);
    }
}
