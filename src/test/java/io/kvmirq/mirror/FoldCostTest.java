/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.testing.Allocations;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** An event costs what it changes: everything else is shared with the snapshot before. */
class FoldCostTest {
    private static final int VECTORS = 2048;
    private static final int VCPUS = 64;
    private static final int WARM_UP = 20_000;
    private static final int COUNTED = 1_000;

    private final Mirror mirror = Mirror.create(MirrorHost.x86(PostingHost.of(Vendor.AMD)));
    private final EventFdId[] names = new EventFdId[VECTORS];

    private static Route route(int number, int vcpu, int vector) {
        return new Route.Msi(new Gsi(24 + number), MsiMessage.to(new VcpuId(vcpu), new InterruptVector(vector)));
    }

    @BeforeEach
    void forwardAll() {
        List<Event> events = new ArrayList<>();
        for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
            events.add(new Event.VcpuAdded(new VcpuId(vcpu)));
        }
        List<Route> routes = new ArrayList<>();
        PciAddress device = new PciAddress(0, 0x3b, 0, 0);
        for (int i = 0; i < VECTORS; i++) {
            names[i] = new EventFdId(1000L + i);
            routes.add(route(i, i % VCPUS, 0x30 + i % 64));
            events.add(new Event.ConsumerAdded(names[i], new Gsi(24 + i)));
            events.add(new Event.ProducerAdded(names[i], new Producer(device, Producer.Kind.MSI_X, i)));
        }
        events.add(Event.RoutesCommitted.of(routes.toArray(Route[]::new)));
        mirror.apply(events);
    }

    /** The interrupts that an event made anew. */
    @SuppressWarnings("ReferenceEquality") // an equal one would be a new one
    private Set<EventFdId> madeBy(Event event) {
        Snapshot before = mirror.now();
        mirror.apply(event);
        Set<EventFdId> made = new HashSet<>();
        for (EventFdId name : names) {
            if (before.of(name).orElse(null) != mirror.now().of(name).orElse(null)) {
                made.add(name);
            }
        }
        return made;
    }

    @Test
    void aCommitOfTheWholeTableMakesOneInterruptAnewIfOneRouteChanged() {
        Route[] table = mirror.now().irqs().stream()
                .flatMap(irq -> irq.routes().stream())
                .toArray(Route[]::new);
        assertThat(table).hasSize(VECTORS);
        table[7] = route(7, 9, 0x99);
        assertThat(madeBy(Event.RoutesCommitted.of(table))).containsExactly(names[7]);
    }

    @Test
    void aScheduleStepMakesTheListOfItsVcpuAnew() {
        Set<EventFdId> list = mirror.now().byVcpu(new VcpuId(3)).stream()
                .map(PredictedIrq::event)
                .collect(Collectors.toSet());
        assertThat(list).hasSize(VECTORS / VCPUS);
        assertThat(madeBy(new Event.VcpuLoaded(new VcpuId(3), new HostApicId(5))))
                .isEqualTo(list);
    }

    @Test
    void anotherVcpuMakesNothingAnewThatIsNotAimedAtIt() {
        assertThat(madeBy(new Event.VcpuAdded(new VcpuId(VCPUS)))).isEmpty();
        assertThat(madeBy(new Event.VcpuRemoved(new VcpuId(3)))).hasSize(VECTORS / VCPUS);
    }

    @Test
    void readingAllocatesNothing() {
        assertThat(read(WARM_UP)).isPositive();
        assertThat(Allocations.leastOf(() -> read(COUNTED)))
                .as("bytes of %d reads", COUNTED)
                .isZero();
    }

    private int read(int times) {
        int posted = 0;
        for (int i = 0; i < times; i++) {
            posted += isPosted(i);
        }
        return posted;
    }

    private int isPosted(int i) {
        EventFdId name = names[i % VECTORS];
        boolean posted = mirror.now().of(name).orElseThrow().posting() instanceof Posting.Posted;
        return posted && mirror.irq(name).orElseThrow().posting() instanceof Posting.Posted ? 1 : 0;
    }
}
