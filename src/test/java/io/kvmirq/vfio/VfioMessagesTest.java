/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static io.kvmirq.contract.World.eventually;
import static io.kvmirq.vfio.TestDevice.VECTORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.IrqKind;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** MSI-X of a device by the typed calls: the same on the fake and on a real device. */
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.vfio.TestDevice#messages")
class VfioMessagesTest {
    private static final Duration LONG = Duration.ofHours(1);

    @AutoClose
    private final Undo undo = new Undo();

    private final TestDevice hardware;
    private final Kernel kernel;
    private VfioDevice device;

    VfioMessagesTest(TestDevice hardware) {
        this.hardware = hardware;
        hardware.address();
        this.kernel = undo.add(hardware.kernel());
        this.device = undo.add(VfioDevice.open(kernel, hardware.address()));
        hardware.prepare(device);
    }

    /** The next opening of a device that was closed. */
    private void use(VfioDevice opened) {
        device = undo.add(opened);
        hardware.prepare(device);
    }

    /** Disarmed after the device was settled. */
    private ArmedVectors arm(MessageIrqs irqs, List<EventFd> events) {
        ArmedVectors armed = undo.add(irqs.arm(events));
        undo.add(() -> hardware.settle(device));
        return armed;
    }

    private EventFd event() {
        return undo.add(EventFd.create(kernel));
    }

    private List<EventFd> events(int count) {
        return Stream.generate(this::event).limit(count).toList();
    }

    /** The device sends a message, which arrives. */
    private void arrives(int vector, EventFd event) {
        hardware.send(device, vector);
        assertThat(event.await(LONG)).isTrue();
        assertThat(event.drain()).isPositive();
    }

    @Test
    void deviceTellsWhatItHas() {
        DeviceInfo info = device.info();
        assertThat(info.bus()).isEqualTo(DeviceInfo.Bus.PCI);
        assertThat(info.irqs())
                .extracting(IrqInfo::kind)
                .containsExactly(IrqKind.INTX, IrqKind.MSI, IrqKind.MSIX, IrqKind.ERROR, IrqKind.REQUEST);
        assertThat(info.irqs()).extracting(IrqInfo::count).containsExactly(1, 1, VECTORS, 1, 1);
        IrqInfo line = info.irqs().get(0);
        assertThat(line.maskable() && line.automasked()).isTrue();
        assertThat(info.irqs().get(2).noResize()).isIn(!hardware.mayAddVectors(), true);
        assertThat(device.config().size()).isEqualTo(4096);
        assertThat(device.access())
                .isEqualTo(hardware.hasDeviceFiles() ? VfioDevice.Access.CDEV : VfioDevice.Access.GROUP);
        assertThat(device.msix(3, 1).get(0)).hasToString("MSI-X 3 of " + hardware.address());
        assertThat(device.intx()).hasToString("INTx of " + hardware.address());
    }

    @Test
    void eachVectorSignalsItsEventFd() {
        List<EventFd> events = events(VECTORS);
        ArmedVectors armed = arm(device.msix(), events);
        assertThat(armed.enabled()).isEqualTo(VECTORS);
        for (int i = 0; i < VECTORS; i++) {
            arrives(i, events.get(i));
        }
        if (hardware instanceof TestDevice.Fake) { // QEMU's e1000e may repeat a message 128 us later
            assertThat(events).allSatisfy(event -> assertThat(event.drain()).isZero());
        }
    }

    @Test
    void hostIrqIsThatOfTheVector() {
        HostIrqs irqs = new HostInterrupts("""
                        CPU0
             27:          0  IR-PCI-MSI 32768-edge      vfio-msix[0](%1$s)
             28:          0  IR-PCI-MSI 32769-edge      vfio-msix[1](%1$s)
             29:          0  IR-PCI-MSI 32769-edge      vfio-msix[2](0000:ff:1f.7)
            """.formatted(hardware.address()));
        assertThat(device.msix(0, 3).stream().map(irqs::of))
                .containsExactly(Optional.of(new HostIrq(27)), Optional.of(new HostIrq(28)), Optional.empty());
        assertThat(irqs.of(device.intx())).isEmpty();
    }

    /** Linux names the handler of each vector that has an eventfd. */
    @Test
    void armedVectorsHaveHostIrqs() {
        arm(device.msix(), events(VECTORS)).unwire(1);
        HostIrqs irqs =
                new HostInterrupts(hardware.hostFiles().text("proc/interrupts").orElseThrow());
        List<Optional<HostIrq>> found = device.msix().stream().map(irqs::of).toList();
        assertThat(found.get(1)).isEmpty();
        assertThat(found.stream().flatMap(Optional::stream))
                .hasSize(VECTORS - 1)
                .doesNotHaveDuplicates();
    }

    /** Device, VFIO, eventfd, irqfd, route, LAPIC: no thread of ours is on the way. */
    @Test
    void messageReachesAVcpu() {
        if (kernel.isReal()) {
            Machine.irqchipFlaw().ifPresent(flaw -> assumeTrue(false, flaw));
        }
        Vm vm = undo.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        Vcpu vcpu = undo.add(vm.createVcpu(new VcpuId(0)));
        vcpu.x86().enableLapic();
        KvmVfio kvmVfio = undo.add(KvmVfio.create(vm));
        device.close();
        use(VfioDevice.open(kernel, hardware.address(), kvmVfio));
        EventFd event = event();
        InterruptVector vector = new InterruptVector(0x31);
        undo.add(vm.assignIrqfd(event, vm.routes().add(MsiMessage.to(new VcpuId(0), vector))));
        arm(device.msix(3, 1), List.of(event));
        assertThat(vcpu.x86().isRequested(vector)).isFalse();
        hardware.send(device, 3);
        eventually("the message", () -> vcpu.x86().isRequested(vector));
        kvmVfio.close();
    }

    @Test
    void loopbackSignalsWhatIsChosen() {
        List<EventFd> events = events(VECTORS);
        ArmedVectors armed = arm(device.msix(), events);
        armed.triggerIf(1, true, false, true);
        assertThat(events).extracting(EventFd::drain).containsExactly(0L, 1L, 0L, 1L, 0L);
        armed.trigger(0, VECTORS);
        armed.trigger(4);
        assertThat(events).extracting(EventFd::drain).containsExactly(1L, 1L, 1L, 1L, 2L);
        armed.unwire(2);
        armed.trigger(0, VECTORS);
        assertThat(events).extracting(EventFd::drain).containsExactly(1L, 1L, 0L, 1L, 1L);
    }

    /** The MSI-X table keeps the message of a vector that is masked because it has no eventfd. */
    @Test
    void detachedVectorKeepsItsMessageForTheNextEventFd() {
        List<EventFd> events = events(2);
        EventFd next = event();
        ArmedVectors armed = arm(device.msix(0, 2), events);
        armed.unwire(0);
        assertThat(armed.isSet(0)).isFalse();
        hardware.send(device, 0);
        arrives(1, events.get(1));
        armed.set(0, next);
        assertThat(next.await(LONG)).isTrue();
        assertThat(events.get(0).drain()).isZero();
    }

    @Test
    void replacedEventFdIsLetGo() {
        EventFd first = event();
        EventFd second = event();
        ArmedVectors armed = arm(device.msix(0, 1), List.of(first));
        armed.set(0, second);
        arrives(0, second);
        assertThat(first.drain()).isZero();
    }

    /** Before 6.5, and where the IOMMU's driver cannot, vectors beyond the enabled ones need all to be disabled. */
    @Test
    void moreVectorsComeByConsentOrAreAdded() {
        List<EventFd> events = events(4);
        boolean fixed = device.msix().get(0).info().noResize();
        ArmedVectors armed = arm(device.msix(0, 2), events.subList(0, 2));
        if (fixed) {
            assertThatThrownBy(() -> armed.set(3, events.get(3)))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("MSI-X 3 of ")
                    .hasMessageContaining("growLosingInterrupts");
            armed.growLosingInterrupts(2, events.subList(2, 4));
        } else {
            armed.set(3, events.get(3));
            armed.growLosingInterrupts(2, events.subList(2, 3));
        }
        assertThat(armed.enabled()).isEqualTo(4);
        for (int i = 0; i < 4; i++) {
            arrives(i, events.get(i));
        }
    }

    @Test
    void oneKindIsArmedAtATime() {
        EventFd event = event();
        ArmedVectors armed = device.msix(0, 1).arm(List.of(event));
        for (Runnable other : List.<Runnable>of(
                () -> device.intx().arm(event), () -> device.msi(0, 1).arm(List.of(event)), () -> device.msix(1, 1)
                        .arm(List.of(event)))) {
            assertThatThrownBy(other::run)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("cannot be armed while MSI-X is armed: close armed MSI-X of vfio device "
                            + hardware.address());
        }
        armed.close();
        armed.close();
        device.msi(0, 1).arm(List.of(event)).close();
        device.intx().arm(event).close();
    }

    @Test
    void noticesAreArmedBesideMessages() {
        EventFd message = event();
        EventFd asked = event();
        EventFd failed = event();
        try (ArmedVectors armed = device.msix(0, 1).arm(List.of(message));
                ArmedIrq request = device.req().arm(asked);
                ArmedIrq error = device.err().arm(failed)) {
            request.trigger();
            request.triggerIf(false);
            request.triggerIf(true);
            assertThat(asked.drain()).isEqualTo(2);
            error.trigger();
            assertThat(failed.drain()).isEqualTo(1);
            armed.trigger(0);
            assertThat(message.drain()).isEqualTo(1);
            request.unwire();
            assertThatThrownBy(request::trigger).hasMessageContaining("has no eventfd: call set first");
            request.set(asked);
            request.trigger();
            assertThat(asked.drain()).isEqualTo(1);
        }
    }

    /** Closing the device disarms; what was armed, and its eventfds, are closed afterwards without effect. */
    @Test
    void handlesAreClosedInAnyOrder() {
        EventFd event = EventFd.create(kernel);
        ArmedVectors armed = device.msix(0, 1).arm(List.of(event));
        event.close();
        device.close();
        device.close();
        armed.close();
        assertThatThrownBy(() -> armed.trigger(0))
                .hasMessageContaining("is closed: it was used after close(); create or open another");
        assertThatThrownBy(() -> device.msix(0, 1).arm(List.of(event())))
                .hasMessageContaining("is closed: it was used after close(); create or open another");
        use(VfioDevice.open(kernel, hardware.address()));
        EventFd fresh = event();
        arm(device.msix(0, 1), List.of(fresh));
        arrives(0, fresh);
    }

    @Test
    void resetLeavesWhatIsArmed() {
        assertThat(device.info().resettable()).isTrue();
        EventFd event = event();
        ArmedVectors armed = arm(device.msix(0, 1), List.of(event));
        device.reset();
        armed.trigger(0);
        assertThat(event.drain()).isEqualTo(1);
    }

    @Test
    void vectorBeyondTheTableIsRefused() {
        assertThatThrownBy(() -> device.msix(3, 3))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("MSI-X 3-5 of vfio device " + hardware.address())
                .hasMessageEndingWith(" do not exist: the device has MSI-X 0-4");
        assertThatThrownBy(() -> device.msix(5, 1)).hasMessageStartingWith("MSI-X 5 of vfio device ");
        assertThatThrownBy(() -> device.msix(1, 0)).hasMessage("0 vectors of MSI-X: expected at least 1");
        assertThatThrownBy(() -> device.msix(1, Integer.MAX_VALUE)).hasMessageStartingWith("MSI-X 1-2147483647 of ");
        assertThatThrownBy(() -> device.platformIrq(0)).hasMessageContaining("a PCI device has INTx, MSI and MSI-X");
        assertThatThrownBy(() -> device.msix(0, 2).arm(events(1)))
                .hasMessage("1 eventfds for 2 vectors: expected one for each");
    }

    /** A vector is allocated before it gets its eventfd. */
    @Test
    void vectorsAreEnabledBeforeTheyHaveEventFds() {
        EventFd event = event();
        ArmedVectors armed = undo.add(device.msix(0, 2).armSome(List.of(Optional.empty(), Optional.empty())));
        undo.add(() -> hardware.settle(device));
        assertThat(armed.isSet(1)).isFalse();
        armed.set(1, event);
        arrives(1, event);
    }
}
