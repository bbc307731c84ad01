/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.arch.gic.VlpiObstacle;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A part of an interrupt's path that {@code kvmirq decide --without} removes. */
enum MissingPart {
    /** x86: an irqchip in the kernel. */
    LAPICS,
    /** A driver that offers the interrupt to KVM. */
    PRODUCER,
    /** An irqfd that listens to the eventfd. */
    CONSUMER,
    /** An eventfd without another producer or consumer. */
    OWN_EVENTFD,
    /** The one route of the GSI. */
    ROUTE,
    /** AMD: the device's domain of VFIO. */
    VFIO_DOMAIN,
    /** arm64: the device id in the route. */
    DEVICE_ID(VlpiObstacle.NO_DEVICE_ID),
    /** arm64: an ITS at the address of the message. */
    ITS(VlpiObstacle.NO_ITS),
    /** arm64: the guest's mapping of the event. */
    MAPPING(VlpiObstacle.UNMAPPED),
    /** arm64: an LPI that no other host interrupt uses. */
    OWN_LPI(VlpiObstacle.TAKEN);

    private final @Nullable VlpiObstacle vlpi;

    MissingPart() {
        this.vlpi = null;
    }

    MissingPart(VlpiObstacle vlpi) {
        this.vlpi = vlpi;
    }

    /** The obstacle on arm64 if the part is missing. */
    Optional<VlpiObstacle> vlpi() {
        return Optional.ofNullable(vlpi);
    }

    boolean isOfX86() {
        return this == LAPICS || this == VFIO_DOMAIN;
    }

    /** The name on the command line, such as {@code own-eventfd}. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
}
