/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.Errno;
import io.kvmirq.IrqKind;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.IntStream;

/** A device's armed interrupts. This object's monitor locks them all. */
final class Interrupts {
    private final DeviceCalls calls;
    private final DeviceInfo info;
    private final Map<Integer, Armed> armed = new TreeMap<>();
    /** The argument of calls with at most one value. */
    private final ByteBuffer small = Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE + Integer.BYTES);

    /** The argument of calls with a value per interrupt, allocated in advance because disarming must not allocate. */
    private ByteBuffer many = small;

    private boolean closed;
    private long changes;

    private final boolean adopted;

    /** @param adopted whether another program may have armed interrupts */
    Interrupts(DeviceCalls calls, DeviceInfo info, boolean adopted) {
        this.calls = calls;
        this.info = info;
        this.adopted = adopted;
    }

    boolean isAdopted() {
        return adopted;
    }

    IrqInfo info(int index) {
        return info.irqs().get(index);
    }

    /** Rejects a second arming of the index, or of another of INTx, MSI and MSI-X, which the kernel would refuse. */
    synchronized void begin(int index, Armed arming) {
        if (closed) {
            throw new ClosedHandleException(calls.device().toString());
        }
        inTheWay(index).ifPresent(other -> {
            throw new IllegalStateException(info(index).kind().label() + " of " + calls.device()
                    + " cannot be armed while " + other.info().kind().label() + " is armed: close " + other
                    + " first");
        });
        int bytes = KernelBackend.VFIO_IRQS_HEADER_SIZE + info(index).count() * Integer.BYTES;
        if (many.capacity() < bytes) {
            many = Buffers.allocate(bytes);
        }
        armed.put(index, arming);
    }

    synchronized void end(int index) {
        armed.remove(index);
    }

    /** The armed interrupts that prevent an index from being armed. */
    synchronized Optional<Armed> inTheWay(int index) {
        for (Map.Entry<Integer, Armed> other : armed.entrySet()) {
            if (other.getKey() == index
                    || info(index).excludesOthers() && info(other.getKey()).excludesOthers()) {
                return Optional.of(other.getValue());
            }
        }
        return Optional.empty();
    }

    /** The number of VFIO_DEVICE_SET_IRQS calls so far. */
    synchronized long changes() {
        return changes;
    }

    /** Disarms all interrupts and rejects later armings. */
    synchronized void close() {
        closed = true;
        List.copyOf(armed.values()).forEach(Armed::close);
    }

    DeviceCalls calls() {
        return calls;
    }

    // Calls, which return the result of DeviceCalls.setIrqs and are counted by changes()

    /** Attaches eventfds to an index's interrupts, from interrupt {@code start}. */
    synchronized int trigger(int index, int start, int... numbers) {
        for (int i = 0; i < numbers.length; i++) {
            many.putInt(KernelBackend.VFIO_IRQS_HEADER_SIZE + i * Integer.BYTES, numbers[i]);
        }
        int flags = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER | UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD;
        return setIrqs(flags, index, start, numbers.length, many);
    }

    private int setIrqs(int flags, int index, int start, int count, ByteBuffer set) {
        changes++;
        return calls.setIrqs(flags, index, start, count, set);
    }

    /** Masks, unmasks or triggers the interrupts whose element in {@code which} is true. */
    synchronized int act(int action, int index, int start, boolean... which) {
        ByteBuffer set = Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE + which.length);
        for (int i = 0; i < which.length; i++) {
            set.put(KernelBackend.VFIO_IRQS_HEADER_SIZE + i, (byte) (which[i] ? 1 : 0));
        }
        return setIrqs(action | UapiVfio.VFIO_IRQ_SET_DATA_BOOL, index, start, which.length, set);
    }

    /** Masks, unmasks or triggers {@code count} interrupts. TRIGGER with count 0 disables the index. */
    synchronized int act(int action, int index, int start, int count) {
        return setIrqs(action | UapiVfio.VFIO_IRQ_SET_DATA_NONE, index, start, count, small);
    }

    /** Attaches the eventfd that masks or unmasks a line, or detaches it for {@link DeviceCalls#NO_EVENTFD}. */
    synchronized int actBy(int action, int index, int number) {
        small.putInt(KernelBackend.VFIO_IRQS_HEADER_SIZE, number);
        return setIrqs(action | UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD, index, 0, 1, small);
    }

    /** The kind that some program has enabled. {@code likely} is the index to probe first. */
    synchronized Optional<IrqKind> enabledKind(int likely) {
        return IntStream.concat(
                        IntStream.of(likely),
                        IntStream.range(0, info.irqs().size()).filter(index -> index != likely))
                .filter(index -> info(index).excludesOthers() && info(index).count() > 0)
                .filter(this::isEnabled)
                .mapToObj(index -> info(index).kind())
                .findFirst();
    }

    /** Whether any program has enabled an index. If not, a TRIGGER whose only value is false fails with EINVAL. */
    private boolean isEnabled(int index) {
        small.put(KernelBackend.VFIO_IRQS_HEADER_SIZE, (byte) 0);
        int action = UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;
        int result = calls.setIrqs(action | UapiVfio.VFIO_IRQ_SET_DATA_BOOL, index, 0, 1, small);
        if (result != 0 && result != -Errno.EINVAL.number()) {
            throw refused(result, action, index, "");
        }
        return result == 0;
    }

    synchronized void disable(int index) {
        act(UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, 0);
    }

    RuntimeException refused(int result, int action, int index, String range) {
        return calls.refused(result, action, info(index), range);
    }

    @Override
    public String toString() {
        return calls.device().toString();
    }
}
