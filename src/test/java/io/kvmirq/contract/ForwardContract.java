/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.eventually;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.MessageGuest;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Interrupts of a device that the library forwards, seen at vCPUs that do not run. The device itself sends them. */
@VfioContract
class ForwardContract {
    private static final int VECTORS = 5;
    private static final int PIN = 10;
    private static final int CHOICES_EACH = 12;

    private final VfioWorld vfio;
    private final World world;
    private final Undo made = new Undo();
    private final List<Runnable> quiet = new ArrayList<>();
    private final Kernel kernel;

    ForwardContract(VfioWorld vfio) {
        this.vfio = vfio;
        this.world = vfio.world;
        this.kernel = made.add(Kernel.over(vfio.kernel()));
    }

    @AfterEach
    void close() {
        quiet.forEach(Runnable::run);
        made.close();
        vfio.closeAll();
    }

    /** A guest, a device that its KVM knows, and what the device does. */
    private final class Pair {
        final MessageGuest guest;
        final VfioDevice device;
        final Hardware hardware;
        final Forwarding forwarding;

        Pair(TestDevice which) {
            PciAddress address = vfio.address(which);
            guest = MessageGuest.of(kernel, world.kernel().libc(), GuestIts.EVENTS / 2, made);
            device = made.add(VfioDevice.open(kernel, address, made.add(KvmVfio.create(guest.vm))));
            hardware = vfio.hardwareOf(which, Numbers.of(device.fd()));
            device.config().enableMemory();
            device.config().enableBusMaster();
            hardware.start();
            quiet.add(() -> {
                if (hardware.isCounting() && !device.fd().isClosed()) {
                    device.reset();
                }
            });
            forwarding = made.add(Forwarding.create(guest.vm, device));
        }

        List<ForwardedIrq> all() {
            return forwarding.forwardAll(device.msix(0, VECTORS), guest::message);
        }

        void arrives(int choice) {
            eventually("message " + choice + " is pending", () -> guest.arrived(choice));
        }
    }

    private Pair messages() {
        assumeFalse(hasVlpis(), "a vLPI's pending bit cannot be read without GICv4.1");
        return new Pair(E1000E);
    }

    private boolean hasVlpis() {
        return world.fake().isEmpty() && Machine.hasVlpis();
    }

    @Test
    void everyVectorArrivesAndABatchIsOneCallOfEachKind() {
        Pair pair = messages();
        long commits = pair.guest.vm.routes().commits();
        long changes = pair.device.irqChanges();
        pair.all();
        assertThat(pair.guest.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(pair.device.irqChanges() - changes).isEqualTo(1);
        for (int i = 0; i < VECTORS; i++) {
            assertThat(pair.guest.arrived(i)).isFalse();
            pair.hardware.send(i);
            pair.arrives(i);
        }
        pair.device.reset();
        pair.forwarding.close();
        assertThat(pair.guest.vm.routes().commits() - commits).isEqualTo(2);
        assertThat(pair.device.irqChanges() - changes).isEqualTo(2);
    }

    @Test
    void maskedVectorArrivesOnce() {
        Pair pair = messages();
        ForwardedIrq irq = pair.all().get(2);
        irq.mask();
        pair.hardware.send(2);
        eventually("the message waits", () -> irq.event().awaitNanos(0));
        assertThat(pair.guest.arrived(2)).isFalse();
        irq.unmask();
        pair.arrives(2);
        // QEMU's e1000e repeats a message when its host is busy.
        if (world.fake().isPresent()) {
            irq.mask();
            pair.hardware.send(2);
            pair.hardware.send(2);
            irq.unmask();
            pair.arrives(2);
            assertThat(pair.guest.arrived(2)).isFalse();
        }
    }

    @Test
    void reroutedVectorArrivesByItsNewMessage() {
        Pair pair = messages();
        List<ForwardedIrq> irqs = pair.all();
        irqs.get(1).reroute(pair.guest.message(20));
        pair.hardware.send(1);
        pair.arrives(20);
        irqs.get(1).reroute(pair.guest.message(21));
        pair.hardware.send(1);
        pair.arrives(21);
        assertThat(pair.guest.arrived(1)).isFalse();
    }

    @Test
    void oneOfABatchEndsAndIsForwardedAgain() {
        Pair pair = messages();
        List<ForwardedIrq> irqs = pair.all();
        irqs.get(1).close();
        pair.hardware.send(0);
        pair.arrives(0);
        pair.forwarding.forward(pair.device.msix().get(1), pair.guest.message(30));
        pair.hardware.send(1);
        pair.arrives(30);
    }

    @Test
    void duplicateIsRefusedAndNothingChanges() {
        Pair pair = messages();
        pair.all();
        refused(Errno.EINVAL, () -> pair.forwarding.forward(pair.device.msix().get(4), pair.guest.message(30)));
        pair.hardware.send(4);
        pair.arrives(4);
    }

    /** Another program has wired the device. Its triggers are asked for, taken over by their eventfds, and left. */
    @Test
    void deviceThatIsWiredIsTakenOver() {
        Pair pair = messages();
        List<EventFd> events = new ArrayList<>();
        for (int i = 0; i < VECTORS; i++) {
            events.add(made.add(EventFd.create(kernel)));
        }
        ArmedVectors armed = made.add(pair.device.msix(0, VECTORS).arm(events));
        int second = world.own(world.kernel().fdDup(Numbers.of(pair.device.fd())));
        VfioDevice adopted = made.add(VfioDevice.adopt(kernel, pair.device.name(), second, Ownership.BORROWED));
        try (Forwarding forwarding = Forwarding.create(pair.guest.vm, adopted)) {
            refused(Errno.EBUSY, () -> forwarding.forward(adopted.msix().get(0), pair.guest.message(0)));
            pair.hardware.send(1);
            eventually("the message waits", () -> events.get(1).awaitNanos(0));
            forwarding.takeOver(adopted.msix(0, VECTORS), events, pair.guest::message);
            pair.arrives(1);
            pair.hardware.send(0);
            pair.arrives(0);
        }
        assertThat(armed.enabled()).isEqualTo(VECTORS);
        pair.hardware.send(3);
        eventually("the owner of the triggers gets the message", () -> events.get(3)
                .awaitNanos(0));
    }

    private static void tellsWhetherItIsEnabled(DeviceIrq irq, Runnable enable, List<DeviceIrq> others) {
        assertThat(irq.enabledKind()).isEmpty();
        enable.run();
        assertThat(irq.enabledKind()).contains(irq.info().kind());
        others.forEach(
                other -> assertThat(other.enabledKind()).contains(irq.info().kind()));
    }

    @Test
    void kernelTellsWhichKindOfInterruptsIsEnabled() {
        Pair pair = new Pair(EDU);
        EventFd event = made.add(EventFd.create(kernel));
        DeviceIrq msi = pair.device.msi(0, 1).get(0);
        DeviceIrq intx = pair.device.intx();
        tellsWhetherItIsEnabled(msi, () -> made.add(pair.device.msi(0, 1).arm(List.of(event))), List.of(intx));
        msi.inTheWay().orElseThrow().close();
        tellsWhetherItIsEnabled(intx, () -> made.add(pair.device.intx().arm(event)), List.of(msi));
        assertThat(event.drain()).as("asking signals nothing").isZero();
    }

    @Test
    void kernelTellsWhetherMsixIsEnabled() {
        Pair pair = new Pair(E1000E);
        EventFd event = made.add(EventFd.create(kernel));
        tellsWhetherItIsEnabled(
                pair.device.msix().get(3),
                () -> made.add(pair.device.msix(0, 1).arm(List.of(event))),
                List.of(pair.device.intx()));
        assertThat(event.drain()).as("asking signals nothing").isZero();
    }

    /** Then the device is at once free for others. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5, 6})
    void handlesAreClosedInAnyOrder(int seed) {
        Pair pair = new Pair(E1000E);
        List<AutoCloseable> handles = Arrays.asList(pair.all().get(1), pair.forwarding, pair.device, pair.guest.vm);
        Collections.shuffle(handles, new Random(seed));
        for (AutoCloseable handle : handles) {
            assertThatCode(handle::close).as("%s of %s", handle, handles).doesNotThrowAnyException();
        }
        Pair next = new Pair(E1000E);
        ForwardedIrq irq = next.all().get(4);
        next.hardware.send(4);
        if (!hasVlpis()) {
            next.arrives(4);
        }
        assertThat(irq.isMasked()).isFalse();
    }

    /** INTx of edu: the guest's EOI unmasks the line as long as the device asserts it. */
    @Test
    void lineComesAgainAfterEachEoiUntilTheDeviceIsServed() {
        world.assumeX86();
        assumeFalse(world.isArm64(), "needs a guest of x86");
        PciAddress edu = vfio.address(EDU);
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            int number = Numbers.of(vm.fd());
            RealModeGuest guest = RealModeGuest.answering(world, number);
            Gsi gsi = new Gsi(PIN);
            vm.routes().edit(edit -> edit.remove(gsi).add(new Route.Pin(gsi, Route.Chip.IOAPIC, PIN)));
            world.redirect(number, PIN, World.LEVEL | World.VECTOR);
            VfioDevice device = made.add(VfioDevice.open(kernel, edu, made.add(KvmVfio.create(vm))));
            Hardware hardware = vfio.hardwareOf(EDU, Numbers.of(device.fd()));
            device.config().enableMemory();
            device.config().enableBusMaster();
            try (Forwarding forwarding = Forwarding.create(vm, device)) {
                ForwardedIrq line = forwarding.forward(device.intx(), gsi);
                assertThat(line.mechanism()).isEqualTo(Mechanism.RESAMPLE);
                hardware.request();
                for (int i = 0; i < 3; i++) {
                    eventually("the pin is high", () -> world.ioapicLine(number, PIN));
                    if (i == 1) {
                        line.mask();
                        line.unmask();
                        eventually("the pin is high again", () -> world.ioapicLine(number, PIN));
                    }
                    guest.runTo(RealModeGuest.IN_SERVICE);
                    if (i == 2) {
                        hardware.serve();
                    }
                    guest.runTo(RealModeGuest.ENDED);
                }
                line.close();
                assertThat(world.ioapicLine(number, PIN)).isFalse();
            }
        }
    }

    /** Messages are on their way while their vector is masked, rerouted and unmasked. */
    @Test
    void noneOfManyIsLost() {
        Pair pair = messages();
        List<ForwardedIrq> irqs = pair.all();
        Random random = new Random(1);
        int[] choice = {0, 1, 2, 3, 4};
        int fired = world.fake().isPresent() ? 2_000 : Integer.getInteger("kvmirq.test.forward.fired", 20_000);
        int changes = 0;
        for (int i = 0; i < fired; i++) {
            int vector = random.nextInt(VECTORS);
            int former = choice[vector];
            ForwardedIrq irq = irqs.get(vector);
            int change = random.nextInt(8);
            if (change == 0) {
                irq.mask();
            }
            pair.hardware.send(vector);
            if (change <= 1) {
                choice[vector] = 10 + vector * CHOICES_EACH + random.nextInt(CHOICES_EACH);
                irq.reroute(pair.guest.message(choice[vector]));
            } else if (change == 2) {
                irq.mask();
            }
            irq.unmask();
            changes += change <= 2 ? 1 : 0;
            int now = choice[vector];
            eventually("message " + former + " or " + now + " is pending", () -> {
                boolean before = pair.guest.arrived(former);
                return pair.guest.arrived(now) || before;
            });
        }
        System.out.println("forward: " + fired + " fired by " + vfio + "'s device, " + changes
                + " of them while masked or rerouted, 0 lost");
    }

    /** The host's counter of a vector. */
    private static long counted(int vector) throws IOException {
        for (String row : Files.readAllLines(Path.of("/proc/interrupts"))) {
            if (row.contains("vfio-msix[" + vector + "]")) {
                return Arrays.stream(row.replaceFirst("^.*?:", "").strip().split("\\s+", -1))
                        .takeWhile(word -> word.matches("\\d+"))
                        .mapToLong(Long::parseLong)
                        .sum();
            }
        }
        throw new AssertionError("/proc/interrupts has no vfio-msix[" + vector + "]");
    }

    /** GICv4 delivers an event that the guest's ITS has mapped; of another one the host takes each message. */
    @Test
    void hostCountsNoMessageThatIsAVlpi() throws IOException {
        assumeTrue(hasVlpis(), "needs an arm64 kernel with kvm-arm.vgic_v4_enable=1: make lab LAB=arm-gicv4");
        Pair pair = new Pair(E1000E);
        firstIsAVlpi(pair);
        long vlpi = counted(0);
        long other = counted(1);
        final int messages = 20;
        for (int i = 0; i < messages; i++) {
            sendVlpi(pair);
        }
        System.out.println("forward: " + messages + " messages each: vfio-msix[0] of a mapped event counted "
                + (counted(0) - vlpi) + ", vfio-msix[1] of an unmapped one " + (counted(1) - other));
        assertThat(counted(0)).isEqualTo(vlpi);
    }

    /** Vector 0 for an event that the guest's ITS has mapped, and vector 1 for another one. */
    private static List<ForwardedIrq> firstIsAVlpi(Pair pair) {
        final int unmapped = GuestIts.EVENTS - 1;
        return pair.forwarding.forwardAll(pair.device.msix(0, 2), i -> pair.guest.message(i == 0 ? 0 : unmapped));
    }

    /** The message of vector 1 follows that of vector 0, and the host counts it. */
    private static void sendVlpi(Pair pair) throws IOException {
        long before = counted(1);
        pair.hardware.send(0);
        pair.hardware.send(1);
        // QEMU's e1000e repeats a message when its host is busy.
        eventually("the host has counted the message", () -> {
            try {
                return counted(1) > before;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /** Nobody can read whether a vLPI was pending, and nobody has told this forwarding of the host. */
    @Test
    void pendingVlpiWaitsInTheEventfdOfAMaskedVector() throws IOException {
        assumeTrue(hasVlpis(), "needs an arm64 kernel with kvm-arm.vgic_v4_enable=1: make lab LAB=arm-gicv4");
        Pair pair = new Pair(E1000E);
        ForwardedIrq irq = firstIsAVlpi(pair).get(0);
        sendVlpi(pair);
        assertThat(irq.event().awaitNanos(0)).as("the host sees no vLPI").isFalse();
        irq.mask();
        assertThat(irq.event().awaitNanos(0)).as("signalled again").isTrue();
    }

    /** HW of an LPI is the proof that it is forwarded. It goes with the irqfd. */
    @Test
    void debugfsShowsWhichLpisAreVlpis() throws IOException {
        assumeTrue(hasVlpis(), "needs an arm64 kernel with kvm-arm.vgic_v4_enable=1: make lab LAB=arm-gicv4");
        Pair pair = new Pair(E1000E);
        KvmDebugfs debugfs = new KvmDebugfs(world, pair.guest.vm);
        List<ForwardedIrq> irqs = firstIsAVlpi(pair);
        assertThat(VgicState.parse(debugfs.read("vgic-state")).vlpis())
                .extracting(VgicState.Interrupt::id)
                .containsExactly(GuestIts.lpi(0));
        if (world.isSince(6, 16)) {
            String translations = debugfs.read("vgic-its-state@" + Long.toHexString(GuestIts.ITS));
            System.out.println(translations);
            assertThat(ItsState.parse(translations).devices())
                    .flatExtracting(ItsState.Device::translations)
                    .filteredOn(ItsState.Translation::isVlpi)
                    .extracting(ItsState.Translation::event)
                    .containsExactly(0L);
        }
        irqs.get(0).mask();
        assertThat(VgicState.parse(debugfs.read("vgic-state")).vlpis()).isEmpty();
        irqs.get(0).unmask();
        assertThat(VgicState.parse(debugfs.read("vgic-state")).vlpis()).hasSize(1);
    }
}
