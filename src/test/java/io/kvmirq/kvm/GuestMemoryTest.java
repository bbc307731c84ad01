/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.lang.ref.Reference;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Memory slots and what is mapped behind them, on the real kernel and on the fake. */
class GuestMemoryTest {
    private static final int PAGE = 4096;

    @Test
    void memoryIsFoundFromItsFirstByteToItsLast() {
        try (Kernel kernel = Kernels.FAKE.open();
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(2 * PAGE, 2 * PAGE)) {
            assertThat(vm.hasMemory(0, 2 * PAGE)).as("below %s", memory).isFalse();
            assertThat(vm.hasMemory(0, 2 * PAGE + 1)).isTrue();
            assertThat(vm.hasMemory(4 * PAGE - 1, 1)).isTrue();
            assertThat(vm.hasMemory(4 * PAGE, PAGE)).isFalse();
        }
    }

    /** The guest still has the memory: unmapping it would let the guest write to what is mapped there next. */
    @OnBothKernels
    void nothingThatAMappingOffersUnmapsTheGuestsMemory(Kernels kernels) throws IllegalAccessException {
        try (Kernel kernel = kernels.open();
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, PAGE)) {
            for (Method method : Mapping.class.getDeclaredMethods()) {
                if (Modifier.isPublic(method.getModifiers())
                        && !Modifier.isStatic(method.getModifiers())
                        && method.getParameterCount() == 0) {
                    try {
                        method.invoke(memory.mapping());
                    } catch (InvocationTargetException e) {
                        throw new AssertionError(e);
                    }
                }
            }
            memory.mapping().putInt(0, 7);
            assertThat(memory.mapping().getInt(0)).isEqualTo(7);
        }
    }

    @OnBothKernels
    void slotsAreUsedAgainAndTheirShortageHasAnExceptionOfItsOwn(Kernels kernels) {
        Faults fewSlots = new Faults().shorten("capabilityCheck", 2, 3);
        try (Kernel kernel = Kernel.over(fewSlots.over(kernels.backend()));
                Vm vm = Vm.create(kernel)) {
            List<GuestMemory> memories = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                memories.add(vm.addMemory((long) i * PAGE, PAGE));
            }
            for (int round = 0; round < 50; round++) {
                assertThatThrownBy(() -> vm.addMemory(3 * PAGE, PAGE))
                        .isInstanceOf(MemorySlotsExhaustedException.class)
                        .hasMessage(
                                "no memory slot of " + vm + " is free: all 3 that this kernel allows for a VM are used;"
                                        + " close guest memory first");
                memories.remove(round % 3).close();
                memories.add(vm.addMemory((long) (3 + round) * PAGE, PAGE));
            }
            memories.forEach(GuestMemory::close);
        }
    }

    @OnBothKernels
    void refusedMemoryUsesNoSlot(Kernels kernels) {
        Faults oneSlot = new Faults().shorten("capabilityCheck", 2, 1);
        try (Kernel kernel = Kernel.over(oneSlot.over(kernels.backend()));
                Vm vm = Vm.create(kernel)) {
            for (int i = 0; i < 3; i++) {
                assertThatThrownBy(() -> vm.addMemory(1, PAGE)).isInstanceOf(KernelException.class);
            }
            vm.addMemory(0, PAGE).close();
        }
    }

    /** The kernel kept the slot: it is not given to other memory, and a second close changes nothing. */
    @OnBothKernels
    void slotThatTheKernelKeepsIsNotUsedAgain(Kernels kernels) {
        Faults faults =
                new Faults().shorten("capabilityCheck", 2, 2).fail("KVM_SET_USER_MEMORY_REGION", 2, Errno.ENOMEM);
        try (Kernel kernel = Kernel.over(faults.over(kernels.backend()));
                Vm vm = Vm.create(kernel)) {
            GuestMemory kept = vm.addMemory(0, PAGE);
            kept.close();
            kept.close();
            try (GuestMemory other = vm.addMemory(PAGE, PAGE)) {
                other.mapping().putInt(0, 1);
                assertThatThrownBy(() -> vm.addMemory(2 * PAGE, PAGE))
                        .isInstanceOf(MemorySlotsExhaustedException.class);
            }
        }
    }

    // Memory of a caller

    private static final String NAME = "kvmirq-guest-memory-test";
    private static final int AT = AssembledGuest.SIZE;
    private static final int PORT = 0x82;

    private static String stores(int value) {
        return "mov eax, " + value + "; mov [0xf800], al; out 0x82, al;";
    }

    /** A VM whose guest has code, and a vCPU that runs it. */
    private static final class Running implements AutoCloseable {
        private final Vm vm;
        private final AssembledGuest code;
        private final Vcpu vcpu;

        Running(Kernel kernel, String text) {
            vm = Vm.create(kernel);
            code = new AssembledGuest(vm, text);
            vcpu = code.vcpu;
        }

        void runToPort() {
            VcpuExit exit = vcpu.run();
            assertThat(exit.reason()).isEqualTo(VcpuExit.Reason.IO);
            assertThat(exit.port()).isEqualTo(PORT);
        }

        @Override
        public void close() {
            code.close();
            vm.close();
        }
    }

    private static List<List<Integer>> orders(List<Integer> left) {
        if (left.isEmpty()) {
            return List.of(List.of());
        }
        List<List<Integer>> all = new ArrayList<>();
        for (Integer first : left) {
            List<Integer> others = new ArrayList<>(left);
            others.remove(first);
            for (List<Integer> rest : orders(others)) {
                List<Integer> order = new ArrayList<>(List.of(first));
                order.addAll(rest);
                all.add(order);
            }
        }
        return all;
    }

    /** Mappings of a memory file of that name in this process. */
    private static long mapped(String name) throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
            return lines.filter(line -> line.contains("/memfd:" + name + " ")).count();
        }
    }

    /** What a user closes, in each order: the guest goes on writing to the memory that it has. */
    @OnBothKernels
    void nothingThatIsClosedTakesMemoryFromTheGuest(Kernels kernels) throws IOException {
        for (List<Integer> order : orders(List.of(0, 1, 2))) {
            String name = NAME + order.toString().replaceAll("\\D", "");
            try (Kernel kernel = kernels.open();
                    Running guest = new Running(kernel, stores(1) + stores(2) + stores(3) + stores(4));
                    MemoryFile file = MemoryFile.create(kernel, name, 2 * PAGE);
                    Mapping.Owner owner = file.map();
                    Mapping.Owner witness = file.map()) {
                GuestMemory memory = guest.vm.addMemory(AT, owner.mapping());
                List<Runnable> closes = List.of(file::close, owner::close, guest.vm::close);
                for (int i = 0; i < closes.size(); i++) {
                    guest.runToPort();
                    assertThat(witness.mapping().getByte(0x800)).isEqualTo((byte) (i + 1));
                    closes.get(order.get(i)).run();
                }
                guest.runToPort();
                assertThat(witness.mapping().getByte(0x800)).isEqualTo((byte) 4);
                assertThatThrownBy(() -> memory.mapping().getByte(0)).isInstanceOf(ClosedHandleException.class);
                if (kernels == Kernels.REAL) {
                    assertThat(mapped(name)).as("the guest's and the witness's").isEqualTo(2);
                    memory.close();
                    assertThat(mapped(name)).as("the witness's").isEqualTo(1);
                } else {
                    memory.close();
                }
                assertThat(kernel.openHandles()).noneMatch(handle -> handle.startsWith("memory file"));
            }
        }
    }

    /** The slot goes first: then the memory is its owner's alone. */
    @OnBothKernels
    void memoryOfTwoSlotsIsMappedUntilBothAreGone(Kernels kernels) throws IOException {
        try (Kernel kernel = kernels.open();
                Vm first = Vm.create(kernel);
                Vm second = Vm.create(kernel);
                MemoryFile file = MemoryFile.create(kernel, NAME, PAGE)) {
            Mapping.Owner owner = file.map();
            GuestMemory region = first.addMemory(0, owner.mapping());
            GuestMemory two = first.addMemory(PAGE, owner.mapping());
            GuestMemory other = second.addReadOnlyMemory(0, owner.mapping());
            region.close();
            owner.mapping().putInt(0, 5);
            assertThat(two.mapping().getInt(0)).isEqualTo(5);
            owner.close();
            two.close();
            if (kernels == Kernels.REAL) {
                assertThat(mapped(NAME)).isEqualTo(1);
            }
            other.close();
            if (kernels == Kernels.REAL) {
                assertThat(mapped(NAME)).isZero();
            }
            assertThatThrownBy(() -> first.addMemory(0, owner.mapping())).isInstanceOf(ClosedHandleException.class);
        }
    }

    /** The guest still has what the kernel keeps. */
    @Test
    void memoryOfASlotThatTheKernelKeepsStaysMapped() throws IOException {
        Faults faults = new Faults().fail("KVM_SET_USER_MEMORY_REGION", 2, Errno.ENOMEM);
        try (Kernel kernel = Kernel.over(faults.over(Kernels.REAL.backend()));
                Vm vm = Vm.create(kernel);
                MemoryFile file = MemoryFile.create(kernel, NAME + "-kept", PAGE)) {
            try (Mapping.Owner owner = file.map()) {
                vm.addMemory(0, owner.mapping()).close();
            }
            assertThat(mapped(NAME + "-kept")).isEqualTo(1);
            assertThat(kernel.openHandles()).noneMatch(handle -> handle.startsWith("mapping"));
        }
    }

    @OnBothKernels
    void writesToReadOnlyMemoryReachTheVmm(Kernels kernels) {
        try (Kernel kernel = kernels.open();
                Running guest = new Running(kernel, stores(0x5a));
                Mapping.Owner owner = Mapping.anonymous(kernel, PAGE);
                GuestMemory memory = guest.vm.addReadOnlyMemory(AT, owner.mapping())) {
            memory.mapping().putByte(0x800, (byte) 7);
            VcpuExit exit = guest.vcpu.run();
            assertThat(exit.reason()).isEqualTo(VcpuExit.Reason.MMIO);
            assertThat(exit.address()).isEqualTo(0xf800);
            assertThat(exit.data()).isEqualTo(0x5a);
            assertThat(memory.mapping().getByte(0x800)).isEqualTo((byte) 7);
            guest.runToPort();
        }
    }

    // Refusals

    @OnBothKernels
    void rangeThatIsRefusedIsNamedWithItsCause(Kernels kernels) {
        try (Kernel kernel = kernels.open();
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0x4000, 4 * PAGE)) {
            for (long at : new long[] {0x1000, 0x4000, 0x7000}) {
                assertThatThrownBy(() -> vm.addMemory(at, 4 * PAGE))
                        .hasMessageContaining(" address=0x" + Long.toHexString(at)
                                + " size=16384: EEXIST (the slot overlaps memory" + " that the guest already has");
            }
            assertThatThrownBy(() -> vm.addMemory(-PAGE, 2 * PAGE))
                    .hasMessageContaining(" address=0xfffffffffffff000 size=8192: EINVAL (the slot ends beyond 2^64");
            vm.addMemory(0x8000, PAGE).close();
            assertThat(memory)
                    .hasToString("guest memory of 16384 bytes at 0x4000 in slot "
                            + memory.toString().replaceAll(".* in slot (\\d+) .*", "$1") + " of " + vm);
        }
    }

    // Dirty log

    @OnBothKernels
    void logHasThePagesThatTheGuestWrote(Kernels kernels) {
        try (Kernel kernel = kernels.open();
                Running guest = new Running(kernel, stores(1) + stores(2) + stores(3) + stores(4));
                GuestMemory memory = guest.vm.addMemory(AT, 100 * PAGE)) {
            guest.runToPort();
            DirtyLog log = memory.logDirtyPages();
            assertThat(log.count()).isZero();
            log.take();
            assertThat(log.next(0)).as("written before").isEqualTo(-1);
            guest.runToPort();
            memory.mapping().putInt(70 * PAGE, 1);
            assertThat(log.next(0)).as("not taken yet").isEqualTo(-1);
            log.take();
            assertThat(log.count()).isEqualTo(1);
            assertThat(log.isDirty(PAGE - 1)).isTrue();
            assertThat(log.isDirty(PAGE)).isFalse();
            assertThat(log.isDirty(70 * PAGE)).as("written by the VMM").isFalse();
            assertThat(log.next(0)).isZero();
            assertThat(log.next(PAGE)).isEqualTo(-1);
            assertThat(log.next(100 * PAGE)).isEqualTo(-1);
            assertThatThrownBy(() -> log.isDirty(100 * PAGE)).isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> log.next(-1)).isInstanceOf(IndexOutOfBoundsException.class);
            log.take();
            assertThat(log.count()).isZero();
            log.close();
            guest.runToPort();
            try (DirtyLog next = memory.logDirtyPages()) {
                guest.runToPort();
                next.take();
                assertThat(next.count()).isEqualTo(1);
            }
        }
    }

    @OnBothKernels
    void memoryHasOneLogAtATime(Kernels kernels) {
        try (Kernel kernel = kernels.open();
                Vm vm = Vm.create(kernel);
                GuestMemory other = vm.addMemory(PAGE, PAGE)) {
            GuestMemory memory = vm.addMemory(0, PAGE);
            DirtyLog log = memory.logDirtyPages();
            assertThatThrownBy(memory::logDirtyPages)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage(memory + " has a dirty log already: close that one first");
            other.logDirtyPages().close();
            log.close();
            log.close();
            assertThatThrownBy(log::take).isInstanceOf(IllegalStateException.class);
            DirtyLog second = memory.logDirtyPages();
            log.close();
            second.take();
            memory.close();
            assertThatThrownBy(second::take).isInstanceOf(IllegalStateException.class);
            assertThatThrownBy(memory::logDirtyPages).isInstanceOf(IllegalStateException.class);
            second.close();
        }
    }

    /** A log that cannot begin or end leaves the memory as it was. */
    @OnBothKernels
    void logThatFailsLeavesTheMemory(Kernels kernels) {
        Faults faults = new Faults()
                .fail("KVM_SET_USER_MEMORY_REGION", 2, Errno.ENOMEM)
                .fail("KVM_SET_USER_MEMORY_REGION", 4, Errno.ENOMEM);
        try (Kernel kernel = Kernel.over(faults.over(kernels.backend()));
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, PAGE)) {
            assertThatThrownBy(memory::logDirtyPages).isInstanceOf(KernelException.class);
            memory.logDirtyPages().close();
            memory.logDirtyPages().take();
        }
    }

    /** What KVM writes on its own, its clock, far above what fits a buffer. */
    @Test
    void logOfALongSlotHasWhatKvmWrites() {
        long gib = 1L << 30;
        long clock = 4 * gib + 7 * PAGE;
        try (Kernel kernel = Kernels.REAL.open();
                Running guest = new Running(kernel, stores(1) + "hlt");
                GuestMemory memory = guest.vm.addMemory(4 * gib, 5 * gib);
                DirtyLog log = memory.logDirtyPages();
                Fd.Lease vcpu = guest.vcpu.fd().lease()) {
            assumeTrue(!guest.vm.isArm64(), "needs x86");
            ByteBuffer msrs = Buffers.allocate(8 + 16).putInt(0, 1).putInt(8, KVM_SYSTEM_TIME_NEW);
            msrs.putLong(16, 4 * gib + clock | 1);
            Libc libc = Kernels.REAL.backend().libc();
            assertThat(libc.ioctl(vcpu.number(), Uapi.KVM_SET_MSRS, libc.addressOf(msrs)))
                    .isEqualTo(1);
            assertThat(guest.vcpu.run().reason()).isNotNull();
            log.take();
            assertThat(log.next(0)).isEqualTo(clock);
            assertThat(log.isDirty(clock)).isTrue();
            assertThat(log.count()).isEqualTo(1);
            Reference.reachabilityFence(msrs);
        }
    }

    private static final int KVM_SYSTEM_TIME_NEW = 0x4b564d01;
}
