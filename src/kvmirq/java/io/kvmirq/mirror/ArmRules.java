/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.mirror.ItsMappings.Mapping;
import io.kvmirq.mirror.PredictedListRegister.Eoi;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Predicts an interrupt on arm64. KVM decides whether to map a vLPI only once, when it connects producer and consumer.
 * See {@link io.kvmirq.arch.gic.model.VlpiMapping}.
 */
final class ArmRules {
    static final Posting LOST = new Posting.NotPosted(
            "KVM maps a vLPI only when the irqfd is assigned, and the route or the LPI has changed since",
            "remove the irqfd and assign it again");

    private static final Posting UNMAPPED = refused(VlpiObstacle.UNMAPPED);

    /** Applies to {@link VlpiKernel#BY_ROUTE}. */
    private static final String STALE = "the LPI belongs to an old route, whose vLPI kernels before 6.16 keep;"
            + " remove the irqfd before the route changes, then assign it again";

    private ArmRules() {}

    /**
     * The reason why KVM does not map a message's LPI to a vLPI when it connects producer and consumer. Empty if it
     * does.
     */
    static Optional<Posting> obstacle(MirrorHost.Arm64 host, ItsMappings vm, List<Route> routes) {
        if (!host.gicv4().orElse(true)) {
            return Optional.of(refused(VlpiObstacle.NO_GICV4));
        }
        MsiMessage message = ItsMappings.message(routes);
        if (message == null) {
            return Optional.of(row(PostingObstacle.NOT_ONE_MESSAGE));
        }
        if (message.deviceId().isEmpty()) {
            return Optional.of(refused(VlpiObstacle.NO_DEVICE_ID));
        }
        if (vm.lacksIts(message.address())) {
            return Optional.of(refused(VlpiObstacle.NO_ITS));
        }
        Mapping mapping = vm.mapping(message);
        if (mapping == null) {
            return Optional.of(new Posting.Unknown(unmapped(message)));
        }
        if (mapping.lpi() == 0) {
            return Optional.of(UNMAPPED);
        }
        if (vm.owner(mapping.lpi()) != null && host.kernel() == VlpiKernel.BY_HOST_IRQ) {
            return Optional.of(refused(VlpiObstacle.TAKEN));
        }
        return host.gicv4().isPresent()
                ? Optional.empty()
                : Optional.of(new Posting.Unknown("the host does not show whether KVM uses GICv4"));
    }

    /**
     * Why the LPI is not mapped to a vLPI after the guest changed its event while producer and consumer were connected.
     */
    static Posting unmapped(EventFdEnds ends) {
        return ends.obstacle().isEmpty()
                ? LOST
                : ends.obstacle().get() instanceof Posting.Unknown
                        ? UNMAPPED
                        : ends.obstacle().get();
    }

    /**
     * Whether KVM connects the two ends. Before 6.16, it does not connect an irqfd whose event has no LPI, and ignores
     * later changes to the event.
     */
    static boolean isConnected(MirrorHost.Arm64 host, EventFdEnds ends) {
        return ends.isPaired()
                && !(host.kernel() == VlpiKernel.BY_ROUTE && ends.obstacle().equals(Optional.of(UNMAPPED)));
    }

    static Prediction predict(
            MirrorHost.Arm64 host, ItsMappings vm, EventFdEnds ends, Optional<Producer> producer, List<Route> routes) {
        MsiMessage message = ItsMappings.message(routes);
        Mapping mapping = vm.mapping(message);
        long aim = message == null || message.deviceId().isEmpty()
                ? Prediction.ANY
                : ItsMappings.key(message.deviceId().getAsInt(), message.data());
        boolean known = producer.equals(ends.producer());
        Mapping sent = known ? vm.sent(ends.event()) : null;
        if (sent != null) {
            Optional<String> note = sent.equals(mapping) && ends.isPaired() ? Optional.empty() : Optional.of(STALE);
            Posting posted = new Posting.Posted(new Posting.ToLpi(sent.lpi(), sent.vcpu()), note);
            return new Prediction(
                    posted, new Known.Predicted<>(sent.vcpu()), Known.none(), Known.none(), Known.none(), aim);
        }
        Known<PredictedListRegister> listed =
                message == null ? spi(ends, routes) : lpi(message, mapping, vm.lacksIts(message.address()));
        Posting posting = !host.gicv4().orElse(true)
                ? refused(VlpiObstacle.NO_GICV4)
                : producer.filter(source -> source.kind().isMessage()).isEmpty()
                        ? row(PostingObstacle.NO_PRODUCER)
                        : ends.consumer().isEmpty()
                                ? row(PostingObstacle.NO_CONSUMER)
                                : known
                                        ? ends.obstacle().orElseGet(() -> lost(vm, mapping))
                                        : row(PostingObstacle.EVENTFD_TAKEN);
        return new Prediction(
                posting,
                Prediction.without(posting),
                Known.none(),
                posting instanceof Posting.Unknown ? listed.then(list -> Prediction.without(posting)) : listed,
                Known.none(),
                aim);
    }

    /** The prediction after the vLPI was lost, possibly to another host interrupt, which only old kernels allow. */
    private static Posting lost(ItsMappings vm, @Nullable Mapping mapping) {
        return mapping != null && vm.owner(mapping.lpi()) != null ? refused(VlpiObstacle.TAKEN) : LOST;
    }

    private static String unmapped(MsiMessage message) {
        return "only the guest knows the LPI of event " + Integer.toUnsignedString(message.data()) + " of device 0x"
                + Integer.toHexString(message.deviceId().getAsInt());
    }

    /** @param lost whether no known ITS has the message's doorbell */
    private static Known<PredictedListRegister> lpi(MsiMessage message, @Nullable Mapping mapping, boolean lost) {
        if (mapping != null) {
            return mapping.lpi() == 0
                    ? Known.none()
                    : new Known.Predicted<>(new PredictedListRegister(mapping.lpi(), Eoi.NONE));
        }
        return lost || message.deviceId().isEmpty() ? Known.none() : new Known.Unknown<>(unmapped(message));
    }

    static Known<PredictedListRegister> spi(EventFdEnds ends, List<Route> routes) {
        if (routes.isEmpty()) {
            return ends.consumer().isPresent() ? Prediction.unrouted() : Known.none();
        }
        boolean level = ends.consumer().flatMap(Consumer::resample).isPresent();
        return routes.size() == 1 && routes.get(0) instanceof Route.Pin pin && pin.chip() == Route.Chip.VGIC
                ? new Known.Predicted<>(new PredictedListRegister(
                        Spi.FIRST + pin.pin(), ends.direct() ? Eoi.PHYSICAL : level ? Eoi.MAINTENANCE : Eoi.NONE))
                : Known.none();
    }

    private static Posting refused(VlpiObstacle refusal) {
        return new Posting.NotPosted(refusal.text(), refusal.remedy());
    }

    private static Posting row(PostingObstacle row) {
        return new Posting.NotPosted(row.text(), row.remedy());
    }
}
