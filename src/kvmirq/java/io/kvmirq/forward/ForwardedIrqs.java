/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.vfio.DeviceIrq;
import java.util.List;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A device's forwarded interrupts by number, all of one kind. Changes need the {@link Forwarding}'s lock, but {@link
 * #all} does not.
 */
final class ForwardedIrqs<T> {
    private record Table<T>(@Nullable IrqKind kind, AtomicReferenceArray<@Nullable T> byNumber) {}

    private volatile Table<T> now = new Table<>(null, new AtomicReferenceArray<>(0));

    /** All interrupts, sorted by number. */
    List<T> all() {
        AtomicReferenceArray<@Nullable T> byNumber = now.byNumber;
        return IntStream.range(0, byNumber.length())
                .mapToObj(byNumber::get)
                .flatMap(Stream::ofNullable)
                .toList();
    }

    private boolean isOfOurKind(DeviceIrq irq) {
        return irq.info().kind() == now.kind;
    }

    /** This interrupt's forwarding, or null if there is none. */
    @Nullable
    T of(DeviceIrq irq) {
        return isOfOurKind(irq) ? now.byNumber.get(irq.number()) : null;
    }

    /** @throws KernelException EINVAL if the interrupt is forwarded already */
    void requireNew(DeviceIrq irq) {
        T before = of(irq);
        if (before != null) {
            throw new KernelException(
                    "forward",
                    irq.toString(),
                    Errno.EINVAL,
                    "it is forwarded already, " + before + ": reroute it, or close that first");
        }
    }

    /** @throws IllegalStateException if another kind of the device's interrupts is forwarded */
    void requireOneKind(DeviceIrq irq) {
        List<T> others = isOfOurKind(irq) ? List.of() : all();
        if (!others.isEmpty()) {
            throw new IllegalStateException(irq + " cannot be forwarded while " + others.get(0)
                    + " is forwarded: a device uses one kind at a time, close those first");
        }
    }

    /** Whether any of {@code count} interrupts, from {@code first} on, is forwarded. */
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

    /** Adds interrupts with consecutive numbers. */
    void add(DeviceIrq first, List<? extends T> added) {
        if (!isOfOurKind(first)) {
            int numbers = first.info().kind() == IrqKind.PLATFORM
                    ? first.device().info().irqs().size()
                    : first.info().count();
            now = new Table<>(first.info().kind(), new AtomicReferenceArray<>(numbers));
        }
        for (int i = 0; i < added.size(); i++) {
            now.byNumber.setRelease(first.number() + i, added.get(i));
        }
    }

    void remove(DeviceIrq irq) {
        now.byNumber.set(irq.number(), null);
    }
}
