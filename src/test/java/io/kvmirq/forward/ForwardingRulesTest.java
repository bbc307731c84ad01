/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.NIC;
import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.vector;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.RoutesNow;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Orders;
import io.kvmirq.testing.Warnings;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.lang.reflect.Method;
import java.lang.reflect.Parameter;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The rules from the review of the forwarding control of 2014, each by name; source: {@code [RFC v3 0/8] KVM-VFIO IRQ
 * forward control}, kvm and linux-arm-kernel lists, November 2014.
 */
class ForwardingRulesTest {
    private final ForwardWorld world = new ForwardWorld("6.12");
    private final VfioDevice device = world.device;
    private final Forwarding forwarding = Forwarding.create(world.vm, device);

    @AfterEach
    void nothingIsLeft() {
        world.faults.clear();
        forwarding.close();
        world.closeAndExpectNothingLeft();
    }

    // Errors

    @ParameterizedTest
    @CsvSource({
        "eventfdCreate, EMFILE, forward",
        "routesSet, ENOMEM, routes set",
        "irqfdAssign, EBUSY, irqfd assign",
        "vfioIrqsSet, ENOSPC, vfio set irqs"
    })
    void errorsComeFromWhereTheyArise(String call, String errno, String name) {
        world.faults.fail(call, 1, Errno.parse(errno).orElseThrow());
        KernelException refusal = catchThrowableOfType(
                KernelException.class, () -> forwarding.forward(device.msix().get(0), message(0x30)));
        assertThat(refusal.errno()).isEqualTo(Errno.parse(errno).orElseThrow());
        assertThat(refusal.call()).isEqualTo(name);
        assertThat(forwarding.irqs()).isEmpty();
    }

    @Test
    void duplicateIsEinval() {
        List<ForwardedIrq> irqs = forwarding.forwardAll(device.msix(0, 3), i -> message(0x30 + i));
        world.faults.listen();
        assertThat(refused(Errno.EINVAL, () -> forwarding.forwardAll(device.msix(2, 2), i -> message(0x40 + i))))
                .isEqualTo("forward MSI-X 2 of 0000:3b:00.0: EINVAL (it is forwarded already, MSI-X 2 of 0000:3b:00.0 →"
                        + " gsi 26 (irqfd): reroute it, or close that first)");
        assertThat(world.faults.calls()).isEmpty();
        irqs.get(0).close();
        assertThat(refused(Errno.EINVAL, () -> forwarding.forwardAll(device.msix(0, 2), i -> message(0x40 + i))))
                .startsWith("forward MSI-X 1 of 0000:3b:00.0: EINVAL (it is forwarded already");
    }

    @Test
    void duplicateOfALineIsEinval() {
        forwarding.forward(device.intx(), PIN);
        refused(Errno.EINVAL, () -> forwarding.forward(device.intx(), PIN));
    }

    /** Vectors of the user that were taken over count no more, so the last vector of ours disables MSI-X. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void userClosesUnderneathWhatWasTakenOver(boolean takenFirst) {
        try (EventFd theirs = EventFd.create(world.kernel)) {
            ArmedVectors armed = device.msix(0, 1).arm(List.of(theirs));
            ForwardedIrq taken =
                    forwarding.takeOver(device.msix(0, 1), i -> message(0x30)).get(0);
            armed.close();
            ForwardedIrq ours = forwarding.forward(device.msix().get(1), message(0x31));
            if (takenFirst) {
                taken.close();
                assertThat(device.msix().get(1).inTheWay()).isPresent();
            }
            ours.close();
            assertThat(device.msix().get(1).inTheWay()).isEmpty();
        }
    }

    /** The trigger belongs to the same process: it was armed through the device's handle. */
    @Test
    void triggerThatIsNotOursIsEbusy() {
        try (EventFd theirs = EventFd.create(world.kernel);
                ArmedVectors armed = device.msix(0, 1).arm(List.of(theirs))) {
            world.faults.listen();
            assertThat(refused(
                            Errno.EBUSY, () -> forwarding.forward(device.msix().get(0), message(0x30))))
                    .endsWith("EBUSY (it already has a trigger of this process, " + armed
                            + ": end that, or take it over)");
            assertThat(world.faults.calls()).isEmpty();
        }
        forwarding.forward(device.msix().get(0), message(0x30));
    }

    /** The kernel does not tell which vectors have eventfds. It tells that the index is enabled. */
    @Test
    void triggerOfAnotherProgramIsEbusy() {
        try (EventFd theirs = EventFd.create(world.kernel);
                EventFd alsoTheirs = EventFd.create(world.kernel);
                Fd.Lease number = device.fd().lease();
                ArmedVectors armed = device.msix(0, 2).arm(List.of(theirs, alsoTheirs));
                VfioDevice adopted = VfioDevice.adopt(world.kernel, NIC, number.number(), Ownership.BORROWED);
                Forwarding second = Forwarding.create(world.vm, adopted)) {
            assertThat(refused(Errno.EBUSY, () -> second.forward(adopted.msix().get(0), message(0x30))))
                    .contains("of another program");
            world.hardware.sendMessage(0);
            assertThat(theirs.drain()).isEqualTo(1);
            assertThat(armed.enabled()).isEqualTo(2);
        }
    }

    @Test
    void lineOfAnotherProgramIsEbusy() {
        try (EventFd theirs = EventFd.create(world.kernel);
                Fd.Lease number = device.fd().lease();
                ArmedLine armed = device.intx().arm(theirs);
                VfioDevice adopted = VfioDevice.adopt(world.kernel, NIC, number.number(), Ownership.BORROWED);
                Forwarding second = Forwarding.create(world.vm, adopted)) {
            refused(Errno.EBUSY, () -> second.forward(adopted.intx(), PIN));
            armed.trigger();
            assertThat(theirs.drain()).isEqualTo(1);
        }
    }

    /** EBUSY is for triggers: one that is ended is in nobody's way. */
    @Test
    void adoptedDeviceWithoutTriggersIsForwarded() {
        try (Fd.Lease number = device.fd().lease();
                VfioDevice adopted = VfioDevice.adopt(world.kernel, NIC, number.number(), Ownership.BORROWED);
                Forwarding second = Forwarding.create(world.vm, adopted)) {
            second.forward(adopted.msix().get(0), message(0x30));
            world.hardware.sendMessage(0);
            assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        }
        assertThat(world.hardware.sendMessage(0)).isFalse();
    }

    // References

    /** The VM and the eventfds are held from registration to its end, and by nothing else. */
    @Test
    void referenceGoesWithRegistration() {
        ForwardedIrq irq = forwarding.forward(device.msix().get(0), message(0x30));
        world.vm.close();
        world.hardware.sendMessage(0);
        assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        world.faults.listen();
        irq.close();
        assertThat(world.faults.calls()).containsExactly("vfioIrqsSet", "irqfdDeassign", "fdClose", "fdClose");
    }

    // Tear-down

    static Stream<List<String>> orders() {
        return Orders.of(List.of("irq", "forwarding", "device", "vm", "kernel")).stream();
    }

    private void closeAll(List<String> order, ForwardedIrq irq) {
        for (String text : order) {
            AutoCloseable handle =
                    switch (text) {
                        case "irq" -> irq;
                        case "forwarding" -> forwarding;
                        case "device" -> device;
                        case "vm" -> world.vm;
                        default -> world.kernel;
                    };
            assertThatCode(handle::close).as(text).doesNotThrowAnyException();
        }
    }

    @ParameterizedTest
    @MethodSource("orders")
    void tearDownWorksInAnyOrder(List<String> order) {
        List<ForwardedIrq> irqs = forwarding.forwardAll(device.msix(0, 3), i -> message(0x30 + i));
        closeAll(order, irqs.get(1));
        assertThat(world.hardware.sendMessage(0)).isFalse();
    }

    @ParameterizedTest
    @MethodSource("orders")
    void tearDownOfALineWorksInAnyOrder(List<String> order) {
        ForwardedIrq line = forwarding.forward(device.intx(), PIN);
        world.hardware.requestService();
        closeAll(order, line);
    }

    /** Whatever the kernel refuses on the way down, the next step is taken. */
    @ParameterizedTest
    @CsvSource({"vfioIrqsSet", "irqfdDeassign", "routesSet", "fdClose"})
    void unforwardCannotFail(String call) {
        List<ForwardedIrq> irqs = forwarding.forwardAll(device.msix(0, 2), i -> message(0x30 + i));
        world.faults.failEvery(call, Errno.EIO);
        assertThatCode(irqs.get(0)::close).doesNotThrowAnyException();
        assertThatCode(forwarding::close).doesNotThrowAnyException();
    }

    /** An interrupt that is live changes its mode: held, sent elsewhere, ended, also while it is in the guest. */
    @Test
    void liveInterruptChangesItsMode() {
        ForwardedIrq irq = forwarding.forward(device.msix().get(0), message(0x30));
        world.hardware.sendMessage(0);
        irq.mask();
        world.hardware.sendMessage(0);
        irq.reroute(message(0x31));
        irq.unmask();
        assertThat(world.first.x86().isRequested(vector(0x31))).isTrue();
        world.hardware.sendMessage(0);
        irq.close();
        assertThat(world.hardware.sendMessage(0)).isFalse();
    }

    /**
     * The guest has a line's interrupt in service when its forwarding ends. The line is not stuck: the next user gets
     * it.
     */
    @Test
    void liveLineEndsAndIsNotStuck() {
        ForwardedIrq line = forwarding.forward(device.intx(), PIN);
        world.hardware.requestService();
        line.close();
        try (EventFd event = EventFd.create(world.kernel);
                ArmedLine armed = device.intx().arm(event)) {
            assertThat(event.drain()).isEqualTo(1);
            world.hardware.serve();
            armed.unmask();
            assertThat(event.drain()).isZero();
        }
    }

    // Layers

    /** To the right of forwarding there are the VM, eventfds and GSIs: no method names an index or a subindex. */
    @Test
    void indexOfVfioStaysLeftOfForwarding() {
        for (Class<?> type : List.of(Forwarding.class, ForwardedIrq.class, Mechanism.class, Vm.class)) {
            for (Method method : type.getMethods()) {
                assertThat(method.getName().toLowerCase(Locale.ROOT)).doesNotContain("index");
                assertThat(Arrays.stream(method.getParameters()).map(Parameter::getName))
                        .as(method.toString())
                        .noneMatch(name -> name.contains("ndex"));
            }
        }
    }

    // KVM-VFIO

    @Test
    void fileIsAddedBeforeTheDeviceOpensAndRemovedBeforeItCloses() {
        device.close();
        try (Vm other = Vm.create(world.kernel);
                KvmVfio kvmVfio = KvmVfio.create(other)) {
            other.x86().createIrqchip();
            world.faults.listen();
            try (VfioDevice again = VfioDevice.open(world.kernel, NIC, kvmVfio);
                    Forwarding second = Forwarding.create(other, again)) {
                assertThat(second.warnings()).isEmpty();
                second.forward(again.msix().get(0), message(0x30));
            }
            assertThat(world.faults.calls())
                    .containsSubsequence(
                            "deviceVfioAdd",
                            "VFIO_GROUP_GET_DEVICE_FD",
                            "irqfdAssign",
                            "irqfdDeassign",
                            "deviceVfioRemove",
                            "fdClose");
        }
    }

    @Test
    void withoutKvmVfioItWarnsAndForwards() {
        device.close();
        try (VfioDevice alone = VfioDevice.open(world.kernel, NIC);
                Forwarding second = Forwarding.create(world.vm, alone)) {
            alone.config().enableBusMaster();
            assertThat(second.warnings())
                    .containsExactly("KVM was not given the file of 0000:3b:00.0 before it opened: its interrupts work;"
                            + " mediated devices and non-coherent DMA need VfioDevice.open(kernel, name, kvmVfio)");
            second.forward(alone.msix().get(0), message(0x30));
            world.hardware.sendMessage(0);
            assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        }
    }

    @Test
    void warningInTheLogNamesTheLineOfTheUser() {
        device.close();
        world.kernel.traceHandles(() -> "MyVmm.java:33");
        List<String> said = Warnings.of(() -> {
            try (VfioDevice alone = VfioDevice.open(world.kernel, NIC)) {
                Forwarding.create(world.vm, alone).close();
            }
        });
        assertThat(said)
                .singleElement()
                .asString()
                .startsWith("KVM was not given the file of 0000:3b:00.0 ")
                .endsWith(" (at MyVmm.java:33)");
    }

    // A killed process

    /** The kernel closes descriptors in any order. */
    @Test
    void killedProcessLeavesTheHostRight() {
        forwarding.forwardAll(device.msix(0, 3), i -> message(0x30 + i));
        for (int number = world.lowestFreeDescriptor() - 1; number >= world.firstFreeDescriptor; number--) {
            world.fake.backend().libc().close(number);
        }
        KernelBackend backend = world.fake.backend();
        assertThat(backend.isReal()).isFalse();
        assertThat(world.hardware.sendMessage(0)).isFalse();
        try (Kernel next = Kernel.over(backend);
                Vm vm = Vm.create(next);
                VfioDevice again = VfioDevice.open(next, NIC)) {
            vm.x86().createIrqchip();
            again.config().enableBusMaster();
            try (Forwarding second = Forwarding.create(vm, again)) {
                second.forwardAll(again.msix(0, 8), i -> message(0x30 + i));
                assertThat(world.hardware.sendMessage(7)).isTrue();
            }
        }
    }

    // Bad input

    /** The function is the caller's: it may do anything, and no lock is held. */
    @Test
    void messagesAreAskedBeforeAnythingIsChecked() {
        assertThatThrownBy(() -> forwarding.forwardAll(device.msix(0, 1), i -> {
                    assertThat(Thread.holdsLock(forwarding)).isFalse();
                    forwarding.close();
                    return message(0x30);
                }))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("is closed: it was used after close(); create or open another");
    }

    @Test
    void vmWithoutIrqchipIsExplained() {
        try (Vm bare = Vm.create(world.kernel);
                Forwarding second = Forwarding.create(bare, device)) {
            assertThat(refused(Errno.EINVAL, () -> second.forward(device.msix().get(0), message(0x30))))
                    .startsWith("routes set vm=");
            assertThat(second.irqs()).isEmpty();
        }
    }

    @Test
    void lineOnASplitIrqchipIsExplained() {
        try (Vm split = Vm.create(world.kernel);
                Forwarding second = Forwarding.create(split, device)) {
            split.x86().createSplitIrqchip(24);
            split.routes().edit(edit -> edit.replace(PIN, message(0x30)));
            assertThat(refused(Errno.EINVAL, () -> second.forward(device.intx(), PIN)))
                    .contains("needs the full in-kernel irqchip");
        }
    }

    /** The adopted VM's VMM routed the pin. */
    @Test
    void lineIsForwardedIntoAnAdoptedVmWhoseRoutesAreNotKnown() {
        try (var lease = world.vm.fd().lease();
                Vm adopted = Vm.adopt(world.kernel, lease.number(), Ownership.BORROWED, RoutesNow.UNKNOWN);
                Forwarding unknown = Forwarding.create(adopted, world.device)) {
            ForwardedIrq line = unknown.forward(world.device.intx(), PIN);
            assertThat(line.mechanism()).isEqualTo(Mechanism.RESAMPLE);
        }
    }

    @Test
    void closedHandlesAreExplained() {
        ForwardedIrq irq = forwarding.forward(device.msix().get(0), message(0x30));
        world.vm.close();
        assertThatThrownBy(() -> forwarding.forward(device.msix().get(1), message(0x31)))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageEndingWith("is closed: it was used after close(); create or open another");
        assertThatThrownBy(() -> irq.reroute(message(0x40))).hasMessageContaining("is closed");
        device.close();
        assertThatThrownBy(() -> forwarding.forward(device.msix().get(1), message(0x31)))
                .hasMessage("0000:3b:00.0 is closed: it was used after close(); create or open another");
        forwarding.close();
        assertThatThrownBy(() -> forwarding.forward(device.msix().get(1), message(0x31)))
                .hasMessage(
                        "the forwarding of 0000:3b:00.0 is closed: it was used after close(); create or open another");
    }

    @Test
    void resetWhileForwardedKeepsEverything() {
        forwarding.forwardAll(device.msix(0, 2), i -> message(0x30 + i));
        device.reset();
        device.config().enableBusMaster();
        world.hardware.sendMessage(1);
        assertThat(world.first.x86().isRequested(vector(0x31))).isTrue();
    }

    /** The host waits until the device is closed, and then it is gone. */
    @Test
    void removedDeviceWorksUntilItIsClosed() {
        forwarding.forward(device.msix().get(0), message(0x30));
        assertThat(world.hardware.remove()).isFalse();
        world.hardware.sendMessage(0);
        assertThat(world.first.x86().isRequested(vector(0x30))).isTrue();
        assertThatCode(device::close).doesNotThrowAnyException();
        assertThatCode(forwarding::close).doesNotThrowAnyException();
    }
}
