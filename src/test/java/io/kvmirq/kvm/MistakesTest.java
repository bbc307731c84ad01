/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kernel.Registration;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.testing.Warnings;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The rows of the table of mistakes in src/docs/library.md, in its order: the kernel accepts them, the library says so. */
class MistakesTest {
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));

    /** The end of each warning, where handles are traced. */
    private static final String AT = " (at MyVmm.java:33)";

    /** A VM with an irqchip, and what is warned of while {@code mistake} is made in it, without the line of the user. */
    private static List<String> warnings(Kernels on, Consumer<Vm> mistake) {
        List<String> said = Warnings.of(() -> {
            try (Kernel kernel = on.open();
                    Vm vm = Vm.create(kernel)) {
                kernel.traceHandles(() -> "MyVmm.java:33");
                vm.x86().createIrqchip();
                mistake.accept(vm);
            }
        });
        assertThat(said).allSatisfy(text -> assertThat(text).endsWith(AT));
        return said.stream()
                .map(text -> text.substring(0, text.length() - AT.length()))
                .toList();
    }

    @OnBothKernels
    void routeIsRemovedUnderAnIrqfd(Kernels on) {
        assertThat(warnings(on, vm -> {
                    for (int again = 0; again < 2; again++) {
                        try (EventFd event = EventFd.create(vm.kernel())) {
                            Gsi gsi = vm.routes().add(MESSAGE);
                            Irqfd irqfd = vm.assignIrqfd(event, gsi);
                            vm.routes().edit(edit -> edit.remove(gsi).replace(gsi, MESSAGE));
                            vm.routes().remove(gsi);
                            event.signal();
                            irqfd.close();
                        }
                    }
                }))
                .singleElement()
                .asString()
                .matches(
                        "gsi 24 of vm \\(fd \\d+\\) has an irqfd but no longer a route, so its signals are lost forever"
                                + ": close or mask the irqfd before removing the route");
    }

    @OnBothKernels
    void routeIsRemovedWhileItsIrqfdIsMaskedOrClosed(Kernels on) {
        assertThat(warnings(on, vm -> {
                    try (EventFd event = EventFd.create(vm.kernel())) {
                        Gsi gsi = vm.routes().add(MESSAGE);
                        Irqfd irqfd = vm.assignIrqfd(event, gsi);
                        irqfd.mask();
                        vm.routes().remove(gsi);
                        vm.routes().replace(gsi, MESSAGE);
                        irqfd.unmask();
                        irqfd.close();
                        vm.routes().remove(gsi);
                    }
                }))
                .isEmpty();
    }

    @OnBothKernels
    void irqfdIsOnAGsiWithoutRoute(Kernels on) {
        assertThat(warnings(on, vm -> {
                    try (EventFd event = EventFd.create(vm.kernel());
                            Irqfd irqfd = vm.assignIrqfd(event, new Gsi(40))) {
                        event.signal();
                        vm.routes().remove(vm.routes().add(MESSAGE)); // another route is not this irqfd's loss
                        vm.routes().replace(irqfd.gsi(), MESSAGE);
                    }
                }))
                .singleElement()
                .asString()
                .contains("is on gsi 40, which has no route, so its signals are lost forever");
    }

    @OnBothKernels
    void levelIrqfdIsOnAGsiOfAMessage(Kernels on) {
        assertThat(warnings(on, vm -> {
                    try (EventFd event = EventFd.create(vm.kernel());
                            EventFd resample = EventFd.create(vm.kernel())) {
                        vm.assignLevelIrqfd(event, resample, new Gsi(11)).close();
                        vm.assignLevelIrqfd(event, resample, vm.routes().add(MESSAGE))
                                .close();
                    }
                }))
                .singleElement()
                .asString()
                .contains("is on gsi 24, which raises a message", "its resample eventfd is never signalled");
    }

    @OnBothKernels
    void messageIsToAVcpuBeyondTheIdsOfTheVm(Kernels on) {
        MsiMessage far = MsiMessage.to(new VcpuId(300), new InterruptVector(0x31));
        String truncated = " is to vcpu 300, but goes to vcpu 44, because KVM reads 8 bits of the id: call"
                + " X86Vm.use32BitApicIds first";
        assertThat(warnings(on, vm -> {
                    try (Vcpu wrong = vm.createVcpu(new VcpuId(44));
                            EventFd event = EventFd.create(vm.kernel())) {
                        wrong.x86().enableLapic();
                        assertThatThrownBy(() -> vm.signal(far))
                                .isInstanceOf(IllegalStateException.class)
                                .hasMessageEndingWith(truncated);
                        vm.routes().add(far);
                        Irqfd irqfd = vm.assignIrqfd(event, vm.routes().add(far));
                        event.signal();
                        eventually("the signal", () -> wrong.x86().isRequested(new InterruptVector(0x31)));
                        irqfd.close();
                        vm.x86().use32BitApicIds();
                        vm.routes().add(far);
                        assertThat(vm.signal(far)).isEqualTo(MsiOutcome.NOT_ACCEPTED);
                    }
                }))
                .singleElement()
                .asString()
                .endsWith(truncated);
    }

    @OnBothKernels
    void messageIsToTheVcpuWhoseIdIsTheBroadcast(Kernels on) {
        VcpuId last = new VcpuId(255);
        InterruptVector vector = new InterruptVector(0x32);
        MsiMessage toAll = new MsiMessage(0xfeef_f000L, 0x31);
        assertThatThrownBy(() -> MsiMessage.to(last, vector))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("APIC id 255 is the broadcast");
        assertThat(warnings(on, vm -> {
                    try (Vcpu zero = inX2apicMode(vm, new VcpuId(0));
                            Vcpu named = inX2apicMode(vm, last)) {
                        assertThat(vm.signal(toAll)).isEqualTo(new MsiOutcome(2));
                        for (Runnable flag :
                                List.<Runnable>of(vm.x86()::use32BitApicIds, vm.x86()::disableBroadcastQuirk)) {
                            assertThatThrownBy(() -> vm.x86().x2apicMessage(last, vector))
                                    .isInstanceOf(IllegalStateException.class)
                                    .hasMessageStartingWith("a message in x2APIC format to vcpu 255 of vm")
                                    .hasMessageEndingWith(
                                            "call X86Vm.use32BitApicIds and X86Vm.disableBroadcastQuirk first");
                            flag.run();
                        }
                        assertThat(vm.signal(vm.x86().x2apicMessage(last, vector)))
                                .isEqualTo(new MsiOutcome(1));
                        assertThat(named.x86().isRequested(vector)).isTrue();
                        assertThat(zero.x86().isRequested(vector)).isFalse();
                        assertThat(vm.x86().x2apicMessage(new VcpuId(300), vector))
                                .isEqualTo(MsiMessage.to(new VcpuId(300), vector));
                    }
                }))
                .isEmpty();
    }

    private static Vcpu inX2apicMode(Vm vm, VcpuId id) {
        Vcpu vcpu = vm.createVcpu(id);
        vcpu.x86().useHostCpuid();
        X86SystemRegisters registers = vcpu.x86().systemRegisters();
        registers.set(X86SystemRegisters.Name.APIC_BASE, registers.get(X86SystemRegisters.Name.APIC_BASE) | 1 << 10);
        vcpu.x86().setSystemRegisters(registers);
        vcpu.x86().enableLapic();
        return vcpu;
    }

    private static void adopt(Vm vm, Consumer<Fd.Lease> use) {
        try (Fd.Lease number = vm.fd().lease()) {
            use.accept(number);
        }
    }

    @OnBothKernels
    void adoptedVmLosesTheRoutesThatWereNotNamed(Kernels on) {
        assertThat(warnings(
                        on,
                        vm -> adopt(vm, number -> {
                            Vm adopted =
                                    Vm.adopt(vm.kernel(), number.number(), Ownership.BORROWED, List.of(), new Gsi(24));
                            adopted.routes().add(MESSAGE);
                            adopted.routes().add(MESSAGE);
                            adopted.close();
                            assertThat(vm.x86().setLine(new Gsi(4), true)).isEqualTo(LineOutcome.IGNORED);
                        })))
                .singleElement()
                .asString()
                .endsWith("was adopted with no routes, and this change has removed any that it had: pass them to"
                        + " Vm.adopt, or RoutesNow.NONE");
    }

    @OnBothKernels
    void adoptedVmKeepsTheRoutesThatAreNamed(Kernels on) {
        assertThat(warnings(
                        on,
                        vm -> adopt(vm, number -> {
                            Vm adopted = Vm.adopt(
                                    vm.kernel(), number.number(), Ownership.BORROWED, RoutesNow.OF_FULL_IRQCHIP);
                            assertThat(adopted.routes().add(MESSAGE)).isEqualTo(new Gsi(24));
                            assertThat(adopted.routes().of(new Gsi(4)))
                                    .contains(new Route.Pin(new Gsi(4), Route.Chip.IOAPIC, 4));
                            adopted.close();
                            assertThat(vm.x86().setLine(new Gsi(4), true)).isNotEqualTo(LineOutcome.IGNORED);
                            Vm none = Vm.adopt(vm.kernel(), number.number(), Ownership.BORROWED, RoutesNow.NONE);
                            assertThat(none.routes().add(MESSAGE)).isEqualTo(new Gsi(24));
                            none.close();
                            Vm unknown = Vm.adopt(vm.kernel(), number.number(), Ownership.BORROWED, RoutesNow.UNKNOWN);
                            assertThatThrownBy(() -> unknown.routes().add(MESSAGE))
                                    .isInstanceOf(IllegalStateException.class)
                                    .hasMessageContaining("are not known, and a change would remove them all");
                            try (EventFd event = EventFd.create(vm.kernel())) {
                                unknown.assignIrqfd(event, new Gsi(24)).close();
                            }
                            unknown.close();
                        })))
                .isEmpty();
    }

    private enum Reading {
        DRAIN,
        AWAIT,
        LOOP,
        RESUMED_LOOP;

        void of(EventFd event, EventLoop loop) {
            switch (this) {
                case DRAIN -> assertThat(event.drain()).isZero();
                case AWAIT -> assertThat(event.await(Duration.ZERO)).isFalse();
                case LOOP -> loop.register(event, count -> {}).close();
                case RESUMED_LOOP -> {
                    try (Registration registration = loop.registerPaused(event, count -> {})) {
                        registration.resume();
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void eventfdOfAnIrqfdIsRead(Reading reading) {
        assertThat(warnings(Kernels.FAKE, vm -> {
                    try (EventFd event = EventFd.create(vm.kernel());
                            EventLoop loop = EventLoop.create(vm.kernel())) {
                        Irqfd irqfd = vm.assignIrqfd(event, vm.routes().add(MESSAGE));
                        event.signal();
                        irqfd.mask();
                        reading.of(event, loop);
                        irqfd.unmask();
                        reading.of(event, loop);
                        reading.of(event, loop);
                        irqfd.close();
                        reading.of(event, loop);
                    }
                }))
                .singleElement()
                .asString()
                .contains("feeds an irqfd, so KVM consumes each signal first");
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void eventfdOfALoopIsGivenToAnIrqfd(boolean paused) {
        List<String> said = warnings(Kernels.FAKE, vm -> {
            try (EventFd event = EventFd.create(vm.kernel());
                    EventLoop loop = EventLoop.create(vm.kernel());
                    Registration registration = loop.register(event, count -> {})) {
                if (paused) {
                    registration.pause();
                }
                vm.assignIrqfd(event, vm.routes().add(MESSAGE)).close();
            }
        });
        assertThat(said).hasSize(paused ? 0 : 1).allMatch(text -> text.contains("feeds an irqfd, so KVM consumes"));
    }

    /** With two-dimensional paging, kernels since 6.10 run the vCPU, and its first instruction fails. */
    @Test
    void vcpuRunsWithoutMemory() {
        try (Kernel kernel = Kernels.REAL.open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTERNAL_ERROR);
        } catch (KernelException e) {
            assertThat(e.errno()).isEqualTo(Errno.ENOSPC);
            assertThat(e).hasMessageEndingWith("ENOSPC (the VM has no memory)");
        }
    }
}
