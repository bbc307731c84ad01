/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.EventFd;
import java.util.AbstractList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Consecutive MSI or MSI-X vectors. Immutable.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="armed"}
 */
public final class MessageIrqs extends AbstractList<MessageIrq> {
    private final VfioDevice device;
    private final IrqInfo info;
    private final int index;
    private final int first;
    private final int count;

    MessageIrqs(VfioDevice device, IrqInfo info, int index, int first, int count) {
        this.device = device;
        this.info = info;
        this.index = index;
        this.first = first;
        this.count = count;
    }

    @Override
    public MessageIrq get(int i) {
        if (i < 0 || i >= count) {
            throw new IndexOutOfBoundsException("index " + i + " is not one of these " + count + " vectors of "
                    + device.name() + ": expected 0 to " + (count - 1));
        }
        return new MessageIrq(device, info, index, first + i);
    }

    @Override
    public int size() {
        return count;
    }

    /**
     * Enables MSI or MSI-X and makes each vector signal an eventfd, in one call. The host allocates all vectors from 0
     * to the last one in this list at once, even if the kernel can add vectors later. Vectors below the first one can
     * get eventfds later. To allocate few vectors, arm only vector 0 (with {@link #armSome} if it needs no eventfd),
     * and add vectors with {@link ArmedVectors#set(int,List)}.
     *
     * @param events a different eventfd for each vector
     * @throws VectorsExhaustedException if the host has too few vectors. No vector is enabled then
     * @throws io.kvmirq.KernelException ENOSPC or ENOMEM if vectors cannot be allocated, EINVAL if another program
     *     armed the device's interrupts
     * @throws VectorsDisturbedException instead of KernelException if another program opened the device, because it is
     *     not known which vectors that program armed
     * @throws IllegalArgumentException if an eventfd occurs twice, because the kernel can post only one interrupt per
     *     eventfd
     * @throws IllegalStateException while the device's INTx, MSI or MSI-X is armed
     */
    public ArmedVectors arm(List<EventFd> events) {
        Objects.requireNonNull(events, "events is null");
        EventFd[] each = events.toArray(EventFd[]::new);
        for (int i = 0; i < each.length; i++) {
            if (each[i] == null) {
                throw new NullPointerException("events contains null for vector " + i
                        + ": pass an eventfd, or leave the vector silent with armSome");
            }
        }
        return arm(each);
    }

    /** Like {@link #arm}, but vectors whose element is empty get no eventfd and signal nothing. */
    public ArmedVectors armSome(List<Optional<EventFd>> events) {
        Objects.requireNonNull(events, "events is null");
        return arm(events.stream().map(event -> event.orElse(null)).toArray(EventFd[]::new));
    }

    private ArmedVectors arm(@Nullable EventFd... events) {
        if (events.length != count) {
            throw new IllegalArgumentException(
                    events.length + " eventfds for " + count + " vectors: expected one for each");
        }
        return ArmedVectors.arm(device.interrupts(), index, first, events);
    }
}
