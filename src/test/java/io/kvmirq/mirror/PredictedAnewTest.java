/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A mirror predicts an interrupt again only after an event that may change it. After random events each interrupt is
 * predicted anew, which must change nothing: an index that lost an eventfd, or a step that forgot one, leaves a stale one.
 */
class PredictedAnewTest {
    private static final int PROGRAMS = 150;
    private static final int STEPS = 60;
    private static final List<Integer> FEW = List.of(0, 1);
    private static final List<Integer> ODD = List.of(0, 1, 2, 9, 255, 300, 600);
    private static final long ITS = 0x808_0000L;
    private static final List<PciAddress> DEVICES =
            List.of(PciAddress.parse("0000:3b:00.0"), PciAddress.parse("0000:3c:00.0"));

    private static final Map<String, MirrorHost> HOSTS = Map.of(
            "intel 6.12",
            MirrorHost.x86(PostingHost.of(Vendor.INTEL)
                    .withKernel(LinuxVersion.parse("6.12").orElseThrow())),
            "intel 6.17",
            MirrorHost.x86(PostingHost.of(Vendor.INTEL)),
            "amd 6.12",
            MirrorHost.x86(PostingHost.of(Vendor.AMD), AvicKernel.UP_TO_6_16),
            "amd 6.17",
            MirrorHost.x86(PostingHost.of(Vendor.AMD), AvicKernel.FROM_6_17),
            "amd 6.17 without x2AVIC_EXT",
            MirrorHost.x86(PostingHost.of(Vendor.AMD).without(PostingHost.Feature.X2AVIC_EXT), AvicKernel.FROM_6_17),
            "arm64 6.12",
            MirrorHost.arm64(true, VlpiKernel.BY_ROUTE),
            "arm64 6.16",
            MirrorHost.arm64(true, VlpiKernel.BY_HOST_IRQ));

    private Choices random = Choices.of(67);
    /** The ids of vCPUs: in half of the programs only two, so that most messages are posted. */
    private List<Integer> ids = FEW;

    private <T> T any(List<T> of) {
        return of.get(random.nextInt(of.size()));
    }

    private EventFdId event() {
        return new EventFdId(1 + random.nextInt(3));
    }

    private Gsi gsi() {
        return new Gsi(24 + random.nextInt(3));
    }

    private VcpuId vcpu() {
        return new VcpuId(any(ids));
    }

    private Producer producer() {
        return new Producer(
                any(DEVICES), random.nextInt(4) == 0 ? Producer.Kind.INTX : Producer.Kind.MSI_X, random.nextInt(2));
    }

    private Route route(Gsi gsi, boolean arm) {
        if (arm) {
            return new Route.Msi(gsi, MsiMessage.toIts(ITS, random.nextInt(2), random.nextInt(3)));
        }
        long logical = random.nextInt(3) == 0 ? 4 : 0;
        long destination = ids.equals(FEW) ? any(ids) + logical / 4 : any(List.of(0, 9, 255, 300, 600, 5000, 0x1_0002));
        int lowest = random.nextInt(4) == 0 ? 1 << 8 : 0;
        return new Route.Msi(
                gsi,
                new MsiMessage(
                        0xfee00000L | (destination & 0xff) << 12 | logical | destination >>> 8 << 40,
                        lowest | 0x41 + random.nextInt(3)));
    }

    private Event lapic(VcpuId vcpu) {
        boolean odd = random.nextInt(5) == 0;
        long base = odd ? any(List.of(0L, 0xfee00800L, 0xfee00c00L)) : 0xfee00800L;
        LapicSample sample = LapicSample.of(
                vcpu,
                base,
                vcpu.number() << 24,
                1 << 24 + (odd ? random.nextInt(8) : vcpu.number() % 8),
                LapicPage.DFR_FLAT,
                odd ? 0xff : 0x1ff,
                Instant.ofEpochSecond(random.nextInt(9)));
        return new Event.LapicSampled(vcpu, sample);
    }

    private Event next(boolean arm) {
        EventFdId event = event();
        Gsi gsi = gsi();
        VcpuId vcpu = vcpu();
        return switch (random.nextInt(arm ? 13 : 26)) {
            case 0, 1 -> new Event.ConsumerAdded(event, gsi);
            case 2 -> new Event.ConsumerRemoved(event, gsi);
            case 3, 4 -> new Event.ProducerAdded(event, producer());
            case 5 -> new Event.ProducerRemoved(event, producer());
            case 6, 7 -> Event.RoutesCommitted.of(route(gsi, arm));
            case 8 -> Event.RoutesCommitted.without(gsi);
            case 9 ->
                new Event.DeliveryChanged(
                        event, any(List.of(DeliveryPath.KERNEL, DeliveryPath.MASKED, DeliveryPath.USERSPACE)));
            case 10 ->
                arm
                        ? new Event.EventMapped(
                                ITS,
                                random.nextInt(2),
                                random.nextInt(3),
                                8192 + random.nextInt(2),
                                new VcpuId(random.nextInt(2)))
                        : new Event.DomainChanged(any(DEVICES), random.nextBoolean());
            case 11 ->
                arm
                        ? new Event.EventUnmapped(ITS, random.nextInt(2), random.nextInt(3))
                        : random.nextInt(3) == 0 ? new Event.VcpuRemoved(vcpu) : new Event.VcpuAdded(vcpu);
            case 12 -> random.nextBoolean() ? new Event.LineForwarded(event) : new Event.LineUnforwarded(event);
            case 13, 14 -> new Event.VcpuAdded(vcpu);
            case 15 ->
                new Event.Inhibited(random.nextInt(4) != 0 ? Set.of() : Set.of(any(List.of(InhibitReason.values()))));
            case 16 -> new Event.GuestEntered(vcpu);
            case 17 -> new Event.VcpuLoaded(vcpu, new HostApicId(random.nextInt(4)));
            case 18 -> new Event.VcpuPreempted(vcpu);
            case 19 -> new Event.VcpuBlocked(vcpu);
            case 20 -> new Event.VcpuLeft(vcpu);
            case 21 -> new Event.VcpuUnseen(vcpu);
            case 22 -> new Event.LapicUnseen(vcpu);
            case 23 -> random.nextInt(9) == 0 ? new Event.ApicIdsWidened() : new Event.BroadcastQuirkDisabled();
            default -> lapic(vcpu);
        };
    }

    /** The stored ends of each eventfd, with their predictions. */
    private static Map<Long, EventFdEnds> all(State state) {
        Map<Long, EventFdEnds> all = new TreeMap<>();
        IntStream.rangeClosed(1, 3)
                .mapToObj(number -> state.at(new EventFdId(number)))
                .filter(ends -> !ends.isEmpty())
                .forEach(ends -> all.put(ends.event().number(), ends));
        return all;
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "intel 6.12",
                "intel 6.17",
                "amd 6.12",
                "amd 6.17",
                "amd 6.17 without x2AVIC_EXT",
                "arm64 6.12",
                "arm64 6.16"
            })
    void interruptThatIsPredictedAnewIsAsBefore(String host) {
        boolean arm = host.startsWith("arm64");
        Search.run(host, 0, PROGRAMS, choices -> {
            random = choices;
            ids = random.nextBoolean() ? ODD : FEW;
            State state = new State(Optional.ofNullable(HOSTS.get(host)).orElseThrow());
            while (random.step(STEPS)) {
                Event event = next(arm);
                random.note(event.toString());
                state.fold(event);
                Map<Long, EventFdEnds> before = all(state);
                before.values().forEach(state::predict);
                assertThat(all(state).toString())
                        .as("predicted anew after %s", event)
                        .isEqualTo(before.toString());
            }
            remove(state);
            assertThat(all(state)).isEmpty();
            assertThat(state.hasLogicalMessage())
                    .as("LAPICs are asked for without a message")
                    .isFalse();
        });
    }

    /** All irqfds and armed vectors are gone. */
    private static void remove(State state) {
        all(state).values().forEach(ends -> {
            state.fold(new Event.LineUnforwarded(ends.event()));
            ends.others().forEach(producer -> state.fold(new Event.ProducerRemoved(ends.event(), producer)));
            ends.producer().ifPresent(producer -> state.fold(new Event.ProducerRemoved(ends.event(), producer)));
            ends.consumer().ifPresent(irqfd -> state.fold(new Event.ConsumerRemoved(ends.event(), irqfd.gsi())));
        });
    }
}
