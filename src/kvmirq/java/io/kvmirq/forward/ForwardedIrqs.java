/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.IrqKind;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The forwarded interrupts of one device, which are of one kind, by number. Changes need the lock of the {@link
 * Forwarding}; {@link #all} needs none.
 */
final class ForwardedIrqs {
    private record Table(@Nullable IrqKind kind, AtomicReferenceArray<@Nullable ForwardedIrq> byNumber) {}

    private volatile Table now = new Table(null, new AtomicReferenceArray<>(0));

    /** In the order of their numbers. */
    List<ForwardedIrq> all() {
        AtomicReferenceArray<@Nullable ForwardedIrq> byNumber = now.byNumber;
        return IntStream.range(0, byNumber.length())
                .mapToObj(byNumber::get)
                .flatMap(Stream::ofNullable)
                .toList();
    }

    private boolean isOfOurKind(DeviceIrq irq) {
        return irq.info().kind() == now.kind;
    }

    /** The forwarding of this interrupt; null if there is none. */
    @Nullable
    ForwardedIrq of(DeviceIrq irq) {
        return isOfOurKind(irq) ? now.byNumber.get(irq.number()) : null;
    }

    /** One that keeps this interrupt from being forwarded, since a device uses one kind at a time. */
    Optional<ForwardedIrq> ofAnotherKind(DeviceIrq irq) {
        return isOfOurKind(irq) ? Optional.empty() : all().stream().findFirst();
    }

    /** Whether this interrupt or one of those that follow it is forwarded. */
    boolean hasAny(DeviceIrq first, int count) {
        if (isOfOurKind(first)) {
            for (int i = 0; i < count; i++) {
                if (now.byNumber.get(first.number() + i) != null) {
                    return true;
                }
            }
        }
        return false;
    }

    /** Interrupts with consecutive numbers. */
    void add(DeviceIrq first, List<ForwardedIrq> added) {
        if (!isOfOurKind(first)) {
            int numbers = first.info().kind() == IrqKind.PLATFORM
                    ? first.device().info().irqs().size()
                    : first.info().count();
            now = new Table(first.info().kind(), new AtomicReferenceArray<>(numbers));
        }
        for (int i = 0; i < added.size(); i++) {
            now.byNumber.setRelease(first.number() + i, added.get(i));
        }
    }

    /** Idempotent. */
    void remove(ForwardedIrq removed) {
        if (of(removed.irq()) == removed) {
            now.byNumber.set(removed.irq().number(), null);
        }
    }
}
