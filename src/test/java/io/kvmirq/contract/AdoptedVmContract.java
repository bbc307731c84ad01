/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A VMM in a jail has the descriptor of its VM, and no node of the KVM device. */
@Contract
class AdoptedVmContract {
    private static final Gsi LINE = new Gsi(5);
    private static final List<Route> PINS = List.of(new Route.Pin(LINE, Route.Chip.IOAPIC, 5));

    private final World world;
    private final KernelBackend binding;

    AdoptedVmContract(World world) {
        this.world = world;
        this.binding = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    @Test
    void vmWithoutANodeIsAskedItself() {
        int number = world.fullVm();
        try (Kernel kernel = Kernel.over(binding, Path.of("/nowhere/kvm"));
                Vm vm = Vm.adopt(kernel, number, Ownership.BORROWED, PINS, new Gsi(24))) {
            assertThat(vm.x86().setLine(LINE, true)).isNotNull();
            vm.routes().edit(edit -> edit.remove(LINE).add(new Route.Pin(LINE, Route.Chip.IOAPIC, 6)));
            assertThatThrownBy(vm::arm64).hasMessage(vm + " is x86_64 and has no arm64 parts: call Vm.x86()");
        }
    }
}
