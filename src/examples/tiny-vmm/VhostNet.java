/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.Consumer;

/**
 * A network card by virtio-pci, modern, with one queue for each direction. The host's kernel moves the packets between the
 * queues and a TAP interface (vhost-net): the guest's doorbells wake it, and it signals the card's vectors. This process sees
 * neither. Source: Virtual I/O Device Version 1.2, 4.1 and 5.1; linux/vhost.h.
 */
final class VhostNet implements EmulatedFunction.Registers, AutoCloseable {
    private static final int QUEUES = 2, MOST_ENTRIES = 256, SLOT = 16;
    // The parts of BAR 0; BAR 2 has the table of MSI-X
    private static final int COMMON = 0, ISR = 0x1000, CONFIG = 0x2000, NOTIFY = 0x3000, BAR = 0x4000;
    private static final int DRIVER_OK = 4, FEATURES_OK = 8, NO_VECTOR = 0xffff;
    private static final long VERSION_1 = 1L << 32, HAS_ADDRESS = 1L << 5;
    private static final byte[] ADDRESS = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    private static final long SET_OWNER = 0xaf01, SET_FEATURES = 0x4008af00L, SET_MEMORY = 0x4008af03L;
    private static final long SET_SIZE = 0x4008af10L, SET_RINGS = 0x4028af11L, SET_BASE = 0x4008af12L;
    private static final long SET_KICK = 0x4008af20L, SET_CALL = 0x4008af21L, SET_BACKEND = 0x4008af30L;
    private static final long TUN_NAME = 0x400454caL, TUN_HEADER = 0x400454d8L;
    private static final short TAP_WITH_HEADER = 0x5002;

    private static final class Queue {
        int size = MOST_ENTRIES, vector = NO_VECTOR, enabled;
        final long[] rings = new long[3]; // descriptors, available, used
    }

    private final GuestMemory memory;
    private final Libc libc;
    private final Deque<Runnable> parts = new ArrayDeque<>(); // their ends, the last first
    private final int vhost, tap;
    private final EventFd[] bells = new EventFd[QUEUES];
    private final EmulatedVectors vectors;
    private Queue[] queues = {new Queue(), new Queue()};
    private int featuresAt, driverFeaturesAt, chosen, status, configVector = NO_VECTOR;
    private long features;
    private boolean isRunning;

    /**
     * @param name of the TAP interface, which is made if there is none
     * @param warned receives what the guest did wrong
     */
    VhostNet(Platform platform, GuestMemory memory, String name, Consumer<String> warned) {
        Platform.require(name.matches("[A-Za-z0-9._-]{1,15}"), "--net %s: expected a name of up to 15 letters", name);
        this.memory = memory;
        libc = platform.vm.kernel().libc();
        try {
            vhost = open("/dev/vhost-net");
            tap = open("/dev/net/tun");
            ByteBuffer interfaceName = bytes(40);
            for (int i = 0; i < name.length(); i++) {
                interfaceName.put(i, (byte) name.charAt(i));
            }
            ask(tap, TUN_NAME, interfaceName.putShort(16, TAP_WITH_HEADER));
            ask(tap, TUN_HEADER, bytes(4).putInt(0, 12));
            ask(vhost, SET_OWNER, bytes(8));
            for (int i = 0; i < QUEUES; i++) {
                bells[i] = EventFd.create(platform.vm.kernel());
                parts.push(bells[i]::close);
            }
            vectors = EmulatedVectors.create(platform.vm, QUEUES + 1);
            parts.push(vectors::close);
            EmulatedFunction.Builder builder = EmulatedFunction.builder(platform.bus, SLOT, platform.vm, this)
                    .ids(0x1af4, 0x1041)
                    .type(0x020000)
                    .bar(0, BAR)
                    .bar(2, 0x1000)
                    .vendorCapability(part(1, COMMON, 0x1000))
                    .vendorCapability(part(2, NOTIFY, 0x1000, 4))
                    .vendorCapability(part(3, ISR, 0x1000))
                    .vendorCapability(part(4, CONFIG, 0x1000))
                    .msix(vectors, 2, 0, 0x800)
                    .warned(warned);
            for (int i = 0; i < QUEUES; i++) {
                builder.doorbell(0, NOTIFY + 4L * i, 2, bells[i]);
            }
            parts.push(builder.build()::close);
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /** The body of the capability that says where a part of the registers is. */
    private static byte[] part(int kind, int at, int... lengthAndMore) {
        ByteBuffer body = ByteBuffer.allocate(9 + 4 * lengthAndMore.length).order(ByteOrder.LITTLE_ENDIAN);
        body.put((byte) kind).putInt(0).putInt(at);
        for (int word : lengthAndMore) {
            body.putInt(word);
        }
        return body.array();
    }

    private int open(String path) {
        int fd = libc.open(
                bytes(path.length() + 1).put(0, path.getBytes(StandardCharsets.US_ASCII)),
                0x80002); // O_RDWR, O_CLOEXEC
        Platform.require(fd >= 0, "%s cannot be opened: %s", path, fd < 0 ? Errno.ofResult(fd) : "");
        parts.push(() -> libc.close(fd));
        return fd;
    }

    private void ask(int fd, long request, ByteBuffer argument) {
        int result = libc.ioctl(fd, request, libc.addressOf(argument));
        String why = result < 0 ? Errno.ofResult(result).toString() : "";
        Platform.require(result >= 0, "request 0x%x of the network card is refused: %s", request, why);
        Reference.reachabilityFence(argument);
    }

    private static ByteBuffer bytes(int length) {
        return ByteBuffer.allocateDirect(length).order(ByteOrder.nativeOrder());
    }

    private static ByteBuffer ofQueue(int queue, int value) {
        return bytes(8).putInt(0, queue).putInt(4, value);
    }

    /** The kernel keeps the eventfd. */
    private void give(long request, int queue, EventFd event) {
        try (Fd.Lease lease = event.fd().lease()) {
            ask(vhost, request, ofQueue(queue, lease.number()));
        }
    }

    /** The address here of a ring, all of which is in the guest's memory. */
    private long place(long ring, int length) {
        return libc.addressOf(memory.mapping().view(ring - memory.guestAddress(), length));
    }

    /** The driver has set all up: the kernel gets the memory, the rings, and the eventfds of both ends. */
    private void start() {
        isRunning = true;
        ask(vhost, SET_FEATURES, bytes(8).putLong(0, features & VERSION_1));
        ByteBuffer regions = bytes(40).putInt(0, 1).putLong(8, memory.guestAddress());
        long host = libc.addressOf(memory.mapping().view(0, Long.BYTES));
        ask(vhost, SET_MEMORY, regions.putLong(16, memory.mapping().length()).putLong(24, host));
        for (int i = 0; i < QUEUES; i++) {
            Queue queue = queues[i];
            int size = queue.size;
            if (queue.enabled == 0) {
                continue;
            }
            ask(vhost, SET_SIZE, ofQueue(i, size));
            ask(vhost, SET_BASE, ofQueue(i, 0));
            ByteBuffer places = bytes(40).putInt(0, i).putLong(8, place(queue.rings[0], 16 * size));
            places.putLong(16, place(queue.rings[2], 6 + 8 * size)).putLong(24, place(queue.rings[1], 6 + 2 * size));
            ask(vhost, SET_RINGS, places);
            give(SET_KICK, i, bells[i]);
            if (queue.vector <= QUEUES) {
                give(SET_CALL, i, vectors.event(queue.vector));
            } else {
                ask(vhost, SET_CALL, ofQueue(i, -1));
            }
            ask(vhost, SET_BACKEND, ofQueue(i, tap));
        }
    }

    private void stop() {
        for (int i = 0; isRunning && i < QUEUES; i++) {
            ByteBuffer none = ofQueue(i, -1);
            libc.ioctl(vhost, SET_BACKEND, libc.addressOf(none)); // refused where there is none
            Reference.reachabilityFence(none);
        }
        isRunning = false;
    }

    @Override
    public synchronized void reset() {
        stop();
        queues = new Queue[] {new Queue(), new Queue()};
        status = 0;
        features = 0;
        configVector = NO_VECTOR;
    }

    @Override
    public synchronized long read(int bar, long at, int size) {
        if (bar != 0) {
            return 0;
        }
        if (at >= CONFIG && at < CONFIG + ADDRESS.length) {
            return ADDRESS[(int) at - CONFIG] & 0xff;
        }
        Queue queue = queues[Math.min(chosen, QUEUES - 1)];
        boolean isQueue = chosen < QUEUES;
        return switch ((int) at) {
            case 0 -> featuresAt;
            case 4 -> featuresAt == 0 ? HAS_ADDRESS : featuresAt == 1 ? VERSION_1 >>> 32 : 0;
            case 8 -> driverFeaturesAt;
            case 12 -> driverFeaturesAt == 0 ? features & 0xffffffffL : features >>> 32;
            case 16 -> configVector;
            case 18 -> QUEUES;
            case 20 -> status;
            case 22 -> chosen;
            case 24 -> isQueue ? queue.size : 0;
            case 26 -> isQueue ? queue.vector : NO_VECTOR;
            case 28 -> isQueue ? queue.enabled : 0;
            case 30 -> chosen;
            default -> at >= 32 && at < 56 ? queue.rings[(int) (at - 32) / 8] >>> 8 * (at & 4) : 0;
        };
    }

    @Override
    public synchronized void write(int bar, long at, int size, long value) {
        int number = (int) value;
        long half = value & 0xffffffffL;
        if (bar == 0 && at >= 24 && at < 56 && chosen < QUEUES) {
            write(queues[chosen], (int) at, size, number, half);
        }
        switch (bar == 0 ? (int) at : -1) {
            case 0 -> featuresAt = number;
            case 8 -> driverFeaturesAt = number;
            case 12 -> {
                if (driverFeaturesAt == 0) {
                    features = features & ~0xffffffffL | half & HAS_ADDRESS;
                } else if (driverFeaturesAt == 1) {
                    features = features & 0xffffffffL | half << 32 & VERSION_1;
                }
            }
            case 16 -> configVector = number;
            case 20 -> setStatus(number);
            case 22 -> chosen = number & 0xffff;
            default -> {}
        }
    }

    private static void write(Queue queue, int at, int size, int number, long half) {
        switch (at) {
            case 24 -> queue.size = Integer.bitCount(number) == 1 && number <= MOST_ENTRIES ? number : queue.size;
            case 26 -> queue.vector = number & 0xffff;
            case 28 -> queue.enabled = number & 1;
            default -> {
                if (at >= 32 && size == 4) {
                    int ring = (at - 32) / 8, shift = 8 * (at & 4);
                    queue.rings[ring] = queue.rings[ring] & ~(0xffffffffL << shift) | half << shift;
                }
            }
        }
    }

    /** Without the one feature that it needs, the driver sees its FEATURES_OK refused. */
    private void setStatus(int now) {
        if (now == 0) {
            reset();
        }
        status = (features & VERSION_1) == 0 ? now & ~FEATURES_OK : now;
        if ((status & DRIVER_OK) != 0 && !isRunning) {
            start();
        }
    }

    @Override
    public void close() {
        parts.forEach(Runnable::run);
    }
}
