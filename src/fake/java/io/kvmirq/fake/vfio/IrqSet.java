/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import java.util.function.ToIntFunction;

/** A checked {@code struct vfio_irq_set}; {@code data} has a byte or descriptor for each interrupt, or is empty. */
record IrqSet(int index, int start, int count, int flags, ByteBuffer data) {
    private static final long MAX_U32 = 0xffff_ffffL;

    /**
     * Checks a structure and its data. Returns a negative errno, or the result of {@code call}. {@code interrupts} maps
     * an index to the number of its interrupts.
     */
    static int read(
            KernelOfFile host, int indexes, IntUnaryOperator interrupts, long address, ToIntFunction<IrqSet> call) {
        return host.copied(address, VfioIrqSet.SIZE, header -> {
            Optional<Answer> refused = refuses(indexes, interrupts, header);
            if (refused.isPresent()) {
                return host.refuse(refused);
            }
            int count = header.getInt(VfioIrqSet.COUNT);
            int bytes = count * width(header.getInt(VfioIrqSet.FLAGS));
            return bytes == 0
                    ? call.applyAsInt(parse(header, ByteBuffer.allocate(0)))
                    : host.copied(address + VfioIrqSet.DATA, bytes, data -> call.applyAsInt(parse(header, data)));
        });
    }

    static int onEvent(KernelOfFile host, int fd, ToIntFunction<EventFile> call) {
        FakeFile file = host.file(fd);
        if (file instanceof EventFile event) {
            return call.applyAsInt(event);
        }
        return host.refuse(file == null ? VfioIrqAnswer.VFIO_IRQS_FD : VfioIrqAnswer.VFIO_IRQS_NOT_AN_EVENTFD);
    }

    private static IrqSet parse(ByteBuffer header, ByteBuffer data) {
        return new IrqSet(
                header.getInt(VfioIrqSet.INDEX),
                header.getInt(VfioIrqSet.START),
                header.getInt(VfioIrqSet.COUNT),
                header.getInt(VfioIrqSet.FLAGS),
                data);
    }

    private static Optional<Answer> refuses(int indexes, IntUnaryOperator counts, ByteBuffer header) {
        long argsz = Integer.toUnsignedLong(header.getInt(VfioIrqSet.ARGSZ));
        int index = header.getInt(VfioIrqSet.INDEX);
        long start = Integer.toUnsignedLong(header.getInt(VfioIrqSet.START));
        long count = Integer.toUnsignedLong(header.getInt(VfioIrqSet.COUNT));
        int flags = header.getInt(VfioIrqSet.FLAGS);
        if (Integer.compareUnsigned(index, indexes) >= 0) {
            return Optional.of(VfioIrqAnswer.VFIO_IRQS_INDEX);
        }
        int known = UapiVfio.VFIO_IRQ_SET_DATA_TYPE_MASK | UapiVfio.VFIO_IRQ_SET_ACTION_TYPE_MASK;
        if (argsz < VfioIrqSet.SIZE || count >= MAX_U32 - start || (flags & ~known) != 0) {
            return Optional.of(VfioIrqAnswer.VFIO_IRQS_HEADER);
        }
        int interrupts = counts.applyAsInt(index);
        if (start >= interrupts || start + count > interrupts) {
            return Optional.of(VfioIrqAnswer.VFIO_IRQS_RANGE);
        }
        int width = width(flags);
        return width < 0 || argsz - VfioIrqSet.SIZE < count * width
                ? Optional.of(VfioIrqAnswer.VFIO_IRQS_DATA)
                : Optional.empty();
    }

    /** The bytes of data for each interrupt; -1 if there is not exactly one kind of data. */
    private static int width(int flags) {
        return switch (flags & UapiVfio.VFIO_IRQ_SET_DATA_TYPE_MASK) {
            case UapiVfio.VFIO_IRQ_SET_DATA_NONE -> 0;
            case UapiVfio.VFIO_IRQ_SET_DATA_BOOL -> 1;
            case UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD -> Integer.BYTES;
            default -> -1;
        };
    }

    int action() {
        return flags & UapiVfio.VFIO_IRQ_SET_ACTION_TYPE_MASK;
    }

    boolean isNone() {
        return (flags & UapiVfio.VFIO_IRQ_SET_DATA_NONE) != 0;
    }

    boolean isEventfd() {
        return (flags & UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD) != 0;
    }

    /** The descriptor for interrupt {@code start + i}. */
    int fd(int i) {
        return data.getInt(i * Integer.BYTES);
    }

    /** Whether interrupt {@code start + i} is selected: by VFIO_IRQ_SET_DATA_NONE or a nonzero byte. */
    boolean isChosen(int i) {
        return isNone() || data.get(i) != 0;
    }
}
