/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.recording.Faults;
import io.kvmirq.testing.Kernels;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Memory slots and what is mapped behind them, on the real kernel and on the fake. */
class GuestMemoryTest {
    private static final int PAGE = 4096;

    /** The guest still has the memory: unmapping it would let the guest write to what is mapped there next. */
    @ParameterizedTest
    @EnumSource
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

    @ParameterizedTest
    @EnumSource
    void slotsAreUsedAgainAndTheirShortageHasAnExceptionOfItsOwn(Kernels kernels) {
        Faults fewSlots = new Faults().shorten("capabilityCheck", 2, 3);
        try (Kernel kernel = Kernel.over(fewSlots.over(kernels.backend()), Kernel.DEVICE);
                Vm vm = Vm.create(kernel)) {
            List<GuestMemory> memories = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                memories.add(vm.addMemory((long) i * PAGE, PAGE));
            }
            for (int round = 0; round < 50; round++) {
                assertThatThrownBy(() -> vm.addMemory(3 * PAGE, PAGE))
                        .isInstanceOf(MemorySlotsExhaustedException.class)
                        .hasMessage("no memory slot of " + vm + " is free: all 3 that this kernel gives a VM are used;"
                                + " close guest memory first");
                memories.remove(round % 3).close();
                memories.add(vm.addMemory((long) (3 + round) * PAGE, PAGE));
            }
            memories.forEach(GuestMemory::close);
        }
    }

    @ParameterizedTest
    @EnumSource
    void refusedMemoryUsesNoSlot(Kernels kernels) {
        Faults oneSlot = new Faults().shorten("capabilityCheck", 2, 1);
        try (Kernel kernel = Kernel.over(oneSlot.over(kernels.backend()), Kernel.DEVICE);
                Vm vm = Vm.create(kernel)) {
            for (int i = 0; i < 3; i++) {
                assertThatThrownBy(() -> vm.addMemory(1, PAGE)).isInstanceOf(KernelException.class);
                assertThatThrownBy(() -> vm.addMemory(0, 0)).isInstanceOf(KernelException.class);
            }
            vm.addMemory(0, PAGE).close();
        }
    }

    /** The kernel kept the slot: it is not given to other memory, and a second close changes nothing. */
    @ParameterizedTest
    @EnumSource
    void slotThatTheKernelKeepsIsNotUsedAgain(Kernels kernels) {
        Faults faults =
                new Faults().shorten("capabilityCheck", 2, 2).fail("KVM_SET_USER_MEMORY_REGION", 2, Errno.ENOMEM);
        try (Kernel kernel = Kernel.over(faults.over(kernels.backend()), Kernel.DEVICE);
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
}
