/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiPredicate;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;

/** vCPUs in threads of their own: pauses, ends, failures. */
class VcpuThreadsTest {
    private static final int VCPUS = Integer.getInteger("kvmirq.test.pause.vcpus", 4);
    private static final int PAUSES = Integer.getInteger("kvmirq.test.pauses", 200);
    private static final int DOORBELL = 0x90;
    private static final InterruptVector VECTOR = new InterruptVector(0x40);

    private static final String COUNTS = "loop: inc word [0x600]; jmp loop";
    private static final String READS = "loop: in al, 0xe0; out 0xe1, al; jmp loop";
    private static final String HALTS = "sti; idle: hlt; jmp idle";

    private final Undo parts = new Undo();
    private List<Vcpu> vcpus;
    private final Queue<String> failures = new ConcurrentLinkedQueue<>();
    private Vm vm;
    private AssembledGuest guest;

    private void open(Kernels kernels, int count, String code) {
        Kernel kernel = parts.add(kernels.open());
        vm = parts.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        guest = parts.add(new AssembledGuest(vm, count, code));
        vcpus = new ArrayList<>(guest.vcpus);
        for (Vcpu vcpu : vcpus) {
            vcpu.setState(VcpuState.RUNNABLE);
            vcpu.x86().useHostCpuid();
            vcpu.x86().enableX2apic();
        }
    }

    @AfterEach
    void close() {
        parts.close();
    }

    /** The handler of an interrupt writes to port 0xe1. */
    private void handle(int vector) {
        guest.handle(vector, "out 0xe1, al; iret");
    }

    private VcpuThreads.Owner owner(BiPredicate<Vcpu, VcpuExit> exited) {
        return new VcpuThreads.Owner() {
            @Override
            public boolean exited(Vcpu vcpu, VcpuExit exit) {
                return exited.test(vcpu, exit);
            }

            @Override
            public void failed(Vcpu vcpu, Throwable failure) {
                failures.add(vcpu.id() + ": " + failure.getMessage());
            }
        };
    }

    /** Answers reads, until the guest is stopped. */
    private static boolean answer(Vcpu vcpu, VcpuExit exit) {
        if (exit.reason() == VcpuExit.Reason.IO && !exit.isWrite()) {
            exit.answer('k');
        }
        return true;
    }

    @OnBothKernels
    void pausedGuestDoesNothing(Kernels kernels) {
        open(kernels, 1, COUNTS);
        try (VcpuThreads threads = VcpuThreads.start(vcpus, owner(VcpuThreadsTest::answer))) {
            for (int i = 0; i < 5; i++) {
                int before = guest.memory.getShort(0x600);
                while (guest.memory.getShort(0x600) == before) {
                    Thread.onSpinWait();
                }
                threads.pause();
                threads.pause();
                short counted = guest.memory.getShort(0x600);
                vcpus.get(0).moveHere();
                assertThat(vcpus.get(0).x86().registers().get(X86Registers.Name.RIP))
                        .isBetween((long) AssembledGuest.START, AssembledGuest.START + 4L);
                assertThat(guest.memory.getShort(0x600)).isEqualTo(counted);
                threads.resume();
            }
        }
    }

    /** As after a triple fault of both: none waits for the other. */
    @OnBothKernels
    void ownersMayCloseAtOnce(Kernels kernels) throws InterruptedException {
        open(kernels, 2, READS);
        CountDownLatch both = new CountDownLatch(2);
        AtomicReference<VcpuThreads> threads = new AtomicReference<>();
        threads.set(VcpuThreads.startPaused(vcpus, owner((vcpu, exit) -> {
            both.countDown();
            while (both.getCount() > 0) {
                Thread.onSpinWait();
            }
            threads.get().close();
            return true;
        })));
        threads.get().resume();
        threads.get().join();
        assertThat(failures).isEmpty();
    }

    @OnBothKernels
    void vcpuOfOtherThreadsIsRefused(Kernels kernels) throws InterruptedException {
        open(kernels, 2, READS);
        VcpuThreads.Owner owner = owner((vcpu, exit) -> false);
        List<Vcpu> first = vcpus.subList(0, 1);
        try (VcpuThreads threads = VcpuThreads.startPaused(first, owner)) {
            assertThatThrownBy(() -> VcpuThreads.start(List.of(vcpus.get(1), vcpus.get(0)), owner))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage(vcpus.get(0) + " already has a thread of another VcpuThreads: close that one first");
            VcpuThreads.startPaused(vcpus.subList(1, 2), owner).close(); // the refused call left it free
            threads.resume();
            threads.join();
            VcpuThreads.start(first, owner).close(); // a reboot
        }
        assertThat(failures).isEmpty();
    }

    @OnBothKernels
    void threadsHaveTheNamesOfQemu(Kernels kernels) throws InterruptedException {
        open(kernels, 2, READS);
        Set<String> names = ConcurrentHashMap.newKeySet();
        CountDownLatch both = new CountDownLatch(2);
        parts.add(VcpuThreads.start(vcpus, owner((vcpu, exit) -> {
            if (names.add(Thread.currentThread().getName())) {
                both.countDown();
            }
            return answer(vcpu, exit);
        })));
        both.await();
        assertThat(names).containsExactlyInAnyOrder("CPU 0/KVM", "CPU 1/KVM");
    }

    /** A snapshot refuses a vCPU whose access is incomplete. */
    @OnBothKernels
    void accessIsCompleteInAPause(Kernels kernels) {
        open(kernels, 2, READS);
        try (VcpuThreads threads = VcpuThreads.startPaused(vcpus, owner(VcpuThreadsTest::answer))) {
            for (int i = 0; i < 20; i++) {
                threads.resume();
                threads.pause();
                vcpus.forEach(Vcpu::moveHere);
                VmParts all = new VmParts(vm);
                vcpus.forEach(vcpu -> all.vcpu(vcpu.id(), vcpu));
                assertThat(VmSnapshot.take(all).text()).isNotEmpty();
            }
        }
    }

    /** Each vCPU answers its interrupts through a doorbell, while all are paused at random moments. */
    @OnBothKernels
    void noInterruptIsLostThroughPauses(Kernels kernels) throws InterruptedException {
        open(kernels, VCPUS, HALTS);
        guest.handle(VECTOR.number(), "pushad; out 0x90, al;" + GuestAssembler.EOI + "popad; iret");
        EventFd rung = parts.add(EventFd.create(vm.kernel()));
        parts.add(vm.assignIoEventFd(IoAddress.port(DOORBELL, 1), rung));
        List<MaskableVector> vectors = MaskableVector.createAll(
                vm, vcpus.stream().map(vcpu -> MsiMessage.to(vcpu.id(), VECTOR)).toList());
        parts.add(() -> MaskableVector.closeAll(vectors));
        AtomicBoolean ended = new AtomicBoolean();
        long sent = 0;
        long answered = 0;
        try (VcpuThreads threads = VcpuThreads.start(vcpus, owner(VcpuThreadsTest::answer))) {
            Thread pauser = new Thread(() -> {
                Random random = new Random(1);
                for (int i = 0; i < PAUSES; i++) {
                    threads.pause();
                    threads.resume();
                    for (int spins = random.nextInt(5000); spins > 0; spins--) {
                        Thread.onSpinWait();
                    }
                }
                ended.set(true);
            });
            pauser.start();
            while (!ended.get() || sent < PAUSES) {
                vectors.forEach(MaskableVector::signal);
                sent += VCPUS;
                while (answered < sent) {
                    rung.await();
                    answered += rung.drain();
                }
            }
            pauser.join();
        }
        assertThat(failures).isEmpty();
        assertThat(answered).isEqualTo(sent).isPositive();
        System.out.println(kernels + ": " + PAUSES + " pauses of " + VCPUS + " vCPUs, " + sent + " interrupts, 0 lost");
    }

    @OnBothKernels
    void handlerThatDoesNotReturnIsNamed(Kernels kernels) throws InterruptedException {
        open(kernels, 2, READS);
        CountDownLatch entered = new CountDownLatch(1);
        CountDownLatch hold = new CountDownLatch(1);
        try (VcpuThreads threads = VcpuThreads.start(vcpus, owner((vcpu, exit) -> {
            if (vcpu.id().number() == 1) {
                entered.countDown();
                awaitOf(hold);
            }
            return answer(vcpu, exit);
        }))) {
            entered.await();
            assertThatThrownBy(() -> threads.pause(Duration.ofMillis(20)))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageStartingWith(
                            "CPU 1/KVM is not paused after 20 ms: its handler has not returned from the exit IO of port 0xe0");
            hold.countDown();
            threads.pause();
            threads.resume();
        } finally {
            hold.countDown();
        }
    }

    private static void awaitOf(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @OnBothKernels
    void failureOfOneVcpuEndsTheGuestAndIsToldOnce(Kernels kernels) throws InterruptedException {
        open(kernels, 3, READS);
        VcpuThreads threads = parts.add(VcpuThreads.start(vcpus, owner((vcpu, exit) -> {
            throw new IllegalStateException("nothing is at " + exit);
        })));
        threads.join();
        assertThat(failures).singleElement().asString().contains("nothing is at IO of port 0xe0");
        assertThat(threads.failure().orElseThrow()).hasMessageStartingWith("nothing is at IO of port 0xe0");
        assertThatThrownBy(threads::pause)
                .hasMessage("the guest has ended: java.lang.IllegalStateException: "
                        + failures.peek().replaceFirst("^vcpu \\d: ", "") + ": its vCPUs cannot be paused");
        threads.close();
    }

    @OnBothKernels
    void failuresOfAllVcpusAtOnceAreToldOnce(Kernels kernels) throws InterruptedException {
        open(kernels, 4, READS);
        for (int i = 0; i < 300; i++) {
            failures.clear();
            CyclicBarrier all = new CyclicBarrier(vcpus.size());
            try (VcpuThreads threads = VcpuThreads.start(vcpus, owner((vcpu, exit) -> {
                answer(vcpu, exit);
                try {
                    all.await();
                } catch (InterruptedException | BrokenBarrierException e) {
                    throw new IllegalStateException(e);
                }
                throw new IllegalStateException("no device");
            }))) {
                threads.join();
            }
            assertThat(failures).hasSize(1);
        }
    }

    @OnBothKernels
    void ownerEndsTheGuest(Kernels kernels) throws InterruptedException {
        open(kernels, 2, READS);
        VcpuThreads threads = parts.add(
                VcpuThreads.start(vcpus, owner((vcpu, exit) -> vcpu.id().number() == 0)));
        threads.join();
        assertThat(failures).isEmpty();
        vcpus.get(0).moveHere(); // they are free
    }

    /** A vCPU thread that waits for itself would wait for ever. */
    private void refusesInItsOwnThread(Kernels kernels, Consumer<VcpuThreads> call, String name)
            throws InterruptedException {
        open(kernels, 1, READS);
        List<VcpuThreads> made = new ArrayList<>();
        VcpuThreads threads = parts.add(VcpuThreads.startPaused(vcpus, owner((vcpu, exit) -> {
            call.accept(made.get(0));
            return true;
        })));
        made.add(threads);
        threads.resume();
        threads.join();
        assertThat(failures)
                .containsExactly("vcpu 0: CPU 0/KVM cannot " + name + " itself: call " + name
                        + " from a thread that runs no vCPU");
    }

    @OnBothKernels
    void vcpuCannotPauseItself(Kernels kernels) throws InterruptedException {
        refusesInItsOwnThread(kernels, VcpuThreads::pause, "pause");
    }

    @OnBothKernels
    void vcpuCannotJoinItself(Kernels kernels) throws InterruptedException {
        refusesInItsOwnThread(
                kernels,
                threads -> {
                    try {
                        threads.join();
                    } catch (InterruptedException e) {
                        throw new IllegalStateException(e);
                    }
                },
                "join");
    }

    @OnBothKernels
    void vcpuGetsOneThread(Kernels kernels) {
        open(kernels, 1, HALTS);
        List<Vcpu> twice = List.of(vcpus.get(0), vcpus.get(0));
        assertThatThrownBy(() -> VcpuThreads.start(twice, owner(VcpuThreadsTest::answer)))
                .hasMessageEndingWith(" is listed twice: list each vCPU once");
    }

    /** The second processor waits in the kernel, and then runs the guest's code at its page. */
    @OnBothKernels
    void processorIsStartedByTheVmm(Kernels kernels) throws InterruptedException {
        open(kernels, 1, HALTS);
        VcpuId second = new VcpuId(1);
        vcpus.add(parts.add(vm.createVcpu(second)));
        assertThatThrownBy(() -> vm.x86().startProcessor(second, 3))
                .hasMessageContaining("accepted no INIT: enable a LAPIC of the VM after its creation");
        try (Vm empty = Vm.create(vm.kernel())) {
            empty.x86().createIrqchip();
            assertThatThrownBy(() -> empty.x86().startProcessor(second, 3)).hasMessageContaining("accepted no INIT");
        }
        assertThatThrownBy(() -> vm.x86().startProcessor(second, 256))
                .hasMessage("page 256: a processor starts in the first MiB, in page 0 to 255");
        vcpus.get(0).x86().enableLapic();
        guest.memory.put(0x3000, GuestAssembler.bytes("out 0xe1, al"));
        Queue<String> exits = new ConcurrentLinkedQueue<>();
        VcpuThreads threads = parts.add(VcpuThreads.start(vcpus, owner((vcpu, exit) -> {
            exits.add(vcpu.id() + ": " + exit);
            return false;
        })));
        vm.x86().startProcessor(second, 3);
        threads.join();
        assertThat(exits).containsExactly("vcpu 1: IO of port 0xe1, 1 × 1 bytes written");
    }

    @OnBothKernels
    void pausedVcpuGetsAnNmi(Kernels kernels) throws InterruptedException {
        open(kernels, 1, HALTS);
        handle(2);
        AtomicBoolean handled = new AtomicBoolean();
        VcpuThreads threads = parts.add(VcpuThreads.start(vcpus, owner((vcpu, exit) -> {
            handled.set(exit.port() == 0xe1);
            return false;
        })));
        threads.pause();
        vcpus.get(0).moveHere();
        vcpus.get(0).x86().injectNmi();
        threads.resume();
        threads.join();
        assertThat(handled).isTrue();
    }

    /** The vCPU's own thread is in the handler, and may inject. */
    @OnBothKernels
    void handlerOfAHaltInjectsAnInterrupt(Kernels kernels) throws InterruptedException {
        Kernel kernel = parts.add(kernels.open());
        vm = parts.add(Vm.create(kernel));
        guest = parts.add(new AssembledGuest(vm, HALTS));
        vcpus = guest.vcpus;
        handle(VECTOR.number());
        Queue<VcpuExit.Reason> exits = new ConcurrentLinkedQueue<>();
        VcpuThreads threads = parts.add(VcpuThreads.start(vcpus, owner((vcpu, exit) -> {
            exits.add(exit.reason());
            if (exit.reason() == VcpuExit.Reason.HLT) {
                vcpu.x86().injectInterrupt(VECTOR);
            }
            return exit.reason() == VcpuExit.Reason.HLT;
        })));
        threads.join();
        assertThat(failures).isEmpty();
        assertThat(exits).containsExactly(VcpuExit.Reason.HLT, VcpuExit.Reason.IO);
    }

    @OnBothKernels
    void closeEndsAVcpuThatHalts(Kernels kernels) {
        open(kernels, 2, HALTS);
        VcpuThreads threads = VcpuThreads.start(vcpus, owner(VcpuThreadsTest::answer));
        threads.close();
        threads.close();
        assertThat(failures).isEmpty();
        vcpus.forEach(Vcpu::moveHere);
    }
}
