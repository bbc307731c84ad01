/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.MsiMessage;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import io.kvmirq.vfio.IrqKind;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** A VFIO device on a tape, and the vectors that the VMM set. For one thread. */
final class TapedDevice {
    /** By index of VFIO. */
    private static final List<IrqKind> KINDS = List.of(IrqKind.INTX, IrqKind.MSI, IrqKind.MSIX);

    private static final long NEVER = 0;

    /**
     * A vector of a device.
     *
     * @param eventfd empty if VFIO signals none
     * @param at the call that made it so
     * @param masked by VFIO_IRQ_SET_ACTION_MASK, at this call; 0 if it is not
     * @param had whether it ever had an eventfd
     */
    record Vector(Optional<String> eventfd, long at, long masked, boolean had) {}

    final String file;
    final String name;
    final int pid;
    final String group;
    /** By kind and number. */
    final Map<IrqKind, TreeMap<Integer, Vector>> vectors = new TreeMap<>();

    IrqKind last = IrqKind.MSIX;
    /** The call that closed the device; 0 if none did. */
    long closed = NEVER;

    TapedDevice(String file, String name, int pid, String group) {
        this.file = file;
        this.name = name;
        this.pid = pid;
        this.group = group;
    }

    boolean isOpen() {
        return closed == NEVER;
    }

    /**
     * VFIO_DEVICE_SET_IRQS.
     *
     * @return whether a vector has an eventfd by it
     */
    boolean setIrqs(TapeLine.Call call, ByteBuffer in) {
        int flags = in.getInt(VfioIrqSet.FLAGS);
        int index = in.getInt(VfioIrqSet.INDEX);
        long start = Integer.toUnsignedLong(in.getInt(VfioIrqSet.START));
        long count = Integer.toUnsignedLong(in.getInt(VfioIrqSet.COUNT));
        boolean none = (flags & UapiVfio.VFIO_IRQ_SET_DATA_NONE) != 0;
        if (index < 0 || index >= KINDS.size() || start >= MsiMessage.MOST_VECTORS) {
            return false;
        }
        TreeMap<Integer, Vector> known = vectors.computeIfAbsent(KINDS.get(index), first -> new TreeMap<>());
        if ((flags & UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER) == 0) {
            boolean mask = (flags & UapiVfio.VFIO_IRQ_SET_ACTION_MASK) != 0;
            if (none) {
                known.replaceAll((number, old) -> number >= start && number - start < count
                        ? new Vector(old.eventfd(), old.at(), mask ? call.number() : NEVER, old.had())
                        : old);
            }
            return false;
        }
        boolean built = false;
        if (none && count == 0) {
            known.replaceAll((number, old) ->
                    old.eventfd().isPresent() ? new Vector(Optional.empty(), call.number(), NEVER, true) : old);
        } else if ((flags & UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD) != 0) {
            last = KINDS.get(index);
            for (int i = 0; i < count && VfioIrqSet.DATA + (i + 1) * Integer.BYTES <= in.limit(); i++) {
                int at = VfioIrqSet.DATA + i * Integer.BYTES;
                int number = in.getInt(at);
                Optional<String> eventfd = Optional.ofNullable(call.names().get(String.valueOf(at)))
                        .or(() -> number < 0 ? Optional.empty() : Optional.of("descriptor " + number));
                boolean had = eventfd.isPresent()
                        || Optional.ofNullable(known.get((int) start + i))
                                .filter(Vector::had)
                                .isPresent();
                known.put((int) start + i, new Vector(eventfd, call.number(), NEVER, had));
                built |= eventfd.isPresent();
            }
        }
        return built;
    }
}
