/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kernel.Registration;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Many irqfds at once: virt/kvm/eventfd.c, irqfd_wakeup() at EPOLLHUP, and the flush in kvm_irqfd_deassign(). */
@Contract
class BulkIrqfdContract {
    private static final int MANY = 300;
    private static final Gsi PIN = new Gsi(5);
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(World.VECTOR));

    private final World world;
    private final KernelBackend backend;
    private final Faults faults = new Faults();
    private final Kernel kernel;
    private final int vmNumber;
    private final Vm vm;

    BulkIrqfdContract(World world) {
        this.world = world;
        this.backend = world.kernel();
        this.kernel = Kernel.over(faults.over(backend));
        this.vmNumber = world.fullVm();
        this.vm = Vm.adopt(kernel, vmNumber, Ownership.BORROWED, List.of(), new Gsi(24));
    }

    @AfterEach
    void close() {
        faults.clear();
        vm.close();
        kernel.close();
        world.closeAll();
    }

    private List<EventFd> events(int count) {
        return IntStream.range(0, count).mapToObj(i -> EventFd.create(kernel)).toList();
    }

    private List<Gsi> route(int count) {
        return vm.routes().change(edit -> IntStream.range(0, count)
                .mapToObj(i -> edit.add(MESSAGE))
                .toList());
    }

    private List<String> callsOf(Runnable work) {
        faults.listen();
        work.run();
        return faults.calls();
    }

    private static long count(List<String> calls, String name) {
        return calls.stream().filter(name::equals).count();
    }

    // Assign

    @Test
    void manyVectorsAreAttachedByOneChangeOfTheRoutes() {
        List<EventFd> events = events(MANY);
        List<Irqfd> irqfds = new ArrayList<>();
        List<String> calls = callsOf(() -> irqfds.addAll(vm.assignIrqfds(events, route(MANY))));
        assertThat(vm.routes().commits()).isEqualTo(1);
        assertThat(count(calls, "routesSet")).isEqualTo(1);
        assertThat(count(calls, "irqfdAssign")).isEqualTo(MANY);
        int vcpu = world.vcpuWithLapic(vmNumber);
        events.get(MANY - 1).signal();
        eventually("the vector is requested", () -> world.requested(vcpu, World.VECTOR));
        events.forEach(EventFd::close);
        Irqfd.closeAll(irqfds);
    }

    @Test
    void oneThatIsRefusedUndoesAllBeforeIt() {
        List<EventFd> events = new ArrayList<>(events(5));
        events.add(events.get(1));
        List<Gsi> gsis = route(6);
        refused(Errno.EBUSY, () -> vm.assignIrqfds(events, gsis));
        List<Irqfd> again = vm.assignIrqfds(events.subList(0, 5), gsis.subList(0, 5));
        assertThat(again).extracting(Irqfd::gsi).isEqualTo(gsis.subList(0, 5));
        assertIllegalArgument(
                () -> vm.assignIrqfds(events, gsis.subList(0, 2)),
                "6 eventfds cannot feed 2 GSIs: pass one GSI for each");
        events.forEach(EventFd::close);
        Irqfd.closeAll(again);
    }

    // Close

    /** The irqfds of one pin share its level: it falls with the last of them. */
    @Test
    void closedEventfdsTakeTheirIrqfdsWithThemBeforeCloseAllReturns() {
        List<Irqfd> irqfds = new ArrayList<>();
        List<EventFd> events = events(MANY);
        for (EventFd event : events) {
            try (EventFd resample = EventFd.create(kernel)) {
                irqfds.add(vm.assignLevelIrqfd(event, resample, PIN));
            }
        }
        events.get(0).signal();
        eventually("the pin is high", () -> world.ioapicLine(vmNumber, PIN.number()));
        world.fake().ifPresent(FakeKernel::holdWorkers); // a worker of a real kernel may be late, too
        events.forEach(EventFd::close);
        List<String> calls = callsOf(() -> Irqfd.closeAll(irqfds));
        assertThat(world.ioapicLine(vmNumber, PIN.number()))
                .as("the pin is high")
                .isFalse();
        assertThat(count(calls, "irqfdDeassign")).isEqualTo(1);
        assertThat(count(calls, "fdClose")).isEqualTo(2 * MANY);
        assertThat(callsOf(() -> Irqfd.closeAll(irqfds))).isEmpty();
        assertThatThrownBy(() -> irqfds.get(0).mask()).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void gsisAreFreeAgain() {
        List<EventFd> events = events(3);
        List<Gsi> gsis = route(3);
        List<Irqfd> irqfds = vm.assignIrqfds(events, gsis);
        vm.routes().change(edit -> {
            gsis.forEach(edit::remove);
            return edit;
        });
        assertThat(vm.routes().add(MESSAGE)).isEqualTo(new Gsi(gsis.get(2).number() + 1));
        events.forEach(EventFd::close);
        Irqfd.closeAll(irqfds);
        assertThat(vm.routes().add(MESSAGE)).isEqualTo(gsis.get(0));
    }

    /** Whether an eventfd's irqfd is gone: another can be assigned. */
    private void assertFree(int eventfd) {
        assertOk(backend.irqfdAssign(vmNumber, eventfd, 30));
        assertOk(backend.irqfdDeassign(vmNumber, eventfd, 30));
    }

    @Test
    void eventfdWithADuplicateIsDeassigned() {
        List<EventFd> events = events(3);
        List<Irqfd> irqfds = vm.assignIrqfds(events, route(3));
        int duplicate = world.own(backend.fdDup(Numbers.of(events.get(1).fd())));
        events.forEach(EventFd::close);
        List<String> calls = callsOf(() -> Irqfd.closeAll(irqfds));
        assertFree(duplicate);
        assertThat(count(calls, "irqfdDeassign")).isEqualTo(2);
    }

    @Test
    void adoptedEventfdIsDeassigned() {
        int number = backend.eventfdCreate();
        int duplicate = world.own(backend.fdDup(number));
        EventFd event = EventFd.adopt(kernel, number, Ownership.OWNED);
        int borrowed = world.eventfd();
        EventFd lent = EventFd.adopt(kernel, borrowed, Ownership.BORROWED);
        List<Irqfd> irqfds = vm.assignIrqfds(List.of(event, lent), route(2));
        event.close();
        lent.close();
        Irqfd.closeAll(irqfds);
        assertFree(duplicate);
        assertFree(borrowed);
    }

    @Test
    void eventfdThatIsOpenOrLeasedElsewhereIsDeassigned() {
        List<EventFd> events = events(2);
        List<Irqfd> irqfds = vm.assignIrqfds(events, route(2));
        Fd.Lease lease = events.get(1).fd().lease();
        events.get(1).close();
        List<String> calls = callsOf(() -> Irqfd.closeAll(irqfds));
        assertThat(count(calls, "irqfdDeassign")).isEqualTo(2);
        vm.assignIrqfd(events.get(0), new Gsi(30)).close();
        assertFree(lease.number());
        lease.close();
        events.get(0).close();
    }

    /** An event loop leases it, as VFIO does: its file stays. */
    @Test
    void eventfdThatTheLibraryItselfUsesIsDeassigned() {
        List<EventFd> events = events(2);
        List<Irqfd> irqfds = vm.assignIrqfds(events, route(2));
        try (EventLoop loop = EventLoop.create(kernel);
                Registration registration = loop.register(events.get(0), count -> {})) {
            events.forEach(EventFd::close);
            List<String> calls = callsOf(() -> Irqfd.closeAll(irqfds));
            assertThat(count(calls, "irqfdDeassign")).isEqualTo(2);
            assertThat(count(calls, "fdClose")).isEqualTo(1);
            assertThat(registration.event()).isSameAs(events.get(0));
        }
    }

    @Test
    void maskedIrqfdsNeedNoDeassign() {
        List<EventFd> events = events(3);
        List<Irqfd> irqfds = vm.assignIrqfds(events, route(3));
        irqfds.get(0).mask();
        irqfds.get(2).mask();
        events.forEach(EventFd::close);
        assertThat(count(callsOf(() -> Irqfd.closeAll(irqfds)), "irqfdDeassign"))
                .isEqualTo(1);
    }

    @Test
    void closedVmGoesAfterItsIrqfds() {
        int number = backend.vmCreate(world.kvm(), 0);
        world.createFullIrqchip(number);
        Vm closed = Vm.adopt(kernel, number, Ownership.OWNED, List.of(), new Gsi(24));
        List<EventFd> events = events(3);
        List<Irqfd> irqfds = closed.assignIrqfds(events, List.of(new Gsi(30), new Gsi(31), new Gsi(32)));
        closed.close();
        events.forEach(EventFd::close);
        List<String> calls = callsOf(() -> Irqfd.closeAll(irqfds));
        assertThat(count(calls, "fdClose")).isEqualTo(4);
        assertThat(calls).endsWith("fdClose");
        // A file that another thread opens meanwhile may get the number; it is no VM.
        assertThat(backend.capabilityCheck(number, 0)).isIn(-Errno.EBADF.number(), -Errno.ENOTTY.number());
    }

    @Test
    void irqfdsOfTwoVmsAreClosedTogether() {
        Vm other = Vm.adopt(kernel, world.fullVm(), Ownership.BORROWED, List.of(), new Gsi(24));
        List<EventFd> events = events(4);
        List<Irqfd> irqfds = new ArrayList<>(vm.assignIrqfds(events.subList(0, 2), route(2)));
        irqfds.addAll(other.assignIrqfds(events.subList(2, 4), List.of(new Gsi(30), new Gsi(31))));
        events.forEach(EventFd::close);
        assertThat(count(callsOf(() -> Irqfd.closeAll(irqfds)), "irqfdDeassign"))
                .isEqualTo(1);
        other.close();
    }
}
