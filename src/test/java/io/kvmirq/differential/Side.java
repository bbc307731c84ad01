/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.contract.TestDevice.Place;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.IntStream;

/** One of the kernels compared, and what has been opened on it. For one thread. */
final class Side implements AutoCloseable {
    /** An address that is no memory, and the lowest of a page that never is. */
    static final long NOWHERE = -4096;

    private static final int ROOM = 4096;
    private static final int MOST_EVENTS = 4;
    private static final long ARENA = 16 * 4096;
    private static final int IRQCHIP_SIZE = Uapi.KvmIrqchip.CHIP + 512;
    private static final ByteBuffer[] PATHS = {Buffers.cString("/dev/kvm"), Buffers.cString("/dev/kvm-missing")};

    private final Libc libc;
    private final TreeSet<Integer> open = new TreeSet<>();
    private final ByteBuffer memory = Buffers.allocate(ROOM);
    private final long address;
    private final ByteBuffer routes = Buffers.allocate(Uapi.KvmIrqRouting.SIZE + 4097 * Uapi.KvmIrqRoutingEntry.SIZE);
    private final long routesAddress;
    private final long arena;
    private final GuestRun guest;
    private final ProgramRun program;
    private final VcpuSide processor;
    private final ArmSide arm;
    private final VfioSide vfio;
    /** The VM each vCPU was made from, by number. */
    private final Map<Integer, Integer> vms = new HashMap<>();

    Side(Libc libc, List<Place> places) {
        this.libc = libc;
        this.address = libc.addressOf(memory);
        this.routesAddress = libc.addressOf(routes);
        this.arena = libc.mmap(ARENA, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        this.guest = new GuestRun(libc);
        this.program = new ProgramRun(libc, guest.cpuid(), guest.runSize());
        this.processor = new VcpuSide(libc, program);
        this.arm = new ArmSide(libc);
        this.vfio = new VfioSide(libc, arena, places);
    }

    /** Closes what is open, latest number first. */
    void reset() {
        open.descendingSet().forEach(libc::close);
        open.clear();
        vms.clear();
        // The tables of an ITS may be saved there.
        libc.view(arena, (int) ARENA).put(0, new byte[(int) ARENA]);
        arm.reset();
        guest.reset();
        program.reset();
    }

    @Override
    public void close() {
        reset();
        libc.munmap(arena, ARENA);
        guest.close();
        arm.close();
        program.close();
    }

    Answer make(Call call) {
        int fd = call.intAt(0);
        if (call.operation().isVfio()) {
            return call.operation().opensVfio() ? opened(fd, vfio.open(call)) : vfio.make(fd, call);
        }
        if (call.operation().isOfArm64()) {
            return arm.make(fd, call);
        }
        return switch (call.operation()) {
            case OPEN -> opened(fd, libc.open(PATHS[call.intAt(1)], Uapi.O_RDWR | Uapi.O_CLOEXEC));
            case CLOSE -> close(fd);
            case DUP -> duplicate(fd, call.intAt(1));
            case EPOLL -> opened(fd, libc.epollCreate(Uapi.EPOLL_CLOEXEC));
            case EPOLL_CTL -> {
                zeroed(Epoll.SIZE).putInt(Epoll.EVENTS, call.intAt(3)).putLong(Epoll.DATA, call.at(2));
                yield Answer.of(libc.epollCtl(fd, call.intAt(1), call.intAt(2), address));
            }
            case EVENTFD -> opened(fd, libc.eventfd(call.intAt(1), call.intAt(2) | Uapi.O_NONBLOCK | Uapi.O_CLOEXEC));
            case WRITE -> {
                memory.putLong(0, call.at(1));
                yield Answer.of(libc.write(fd, address, call.at(2)));
            }
            case READ -> Answer.of(libc.read(fd, address, call.at(1)), memory, Long.BYTES);
            case READ_NOWAIT -> readNoWait(fd, call.at(1));
            case POLL -> poll(fd, call);
            case EPOLL_WAIT -> {
                zeroed(MOST_EVENTS * Epoll.SIZE);
                yield Answer.of(libc.epollWait(fd, address, call.intAt(1), 0), memory, MOST_EVENTS * Epoll.SIZE);
            }
            default -> call.operation().isOfProcessor() ? processor.make(fd, call) : kvm(fd, call);
        };
    }

    private Answer kvm(int fd, Call call) {
        return switch (call.operation()) {
            case CREATE_VM -> opened(fd, libc.ioctl(call.intAt(1), Uapi.KVM_CREATE_VM, call.at(2)));
            case CREATE_VCPU -> {
                vms.put(fd, call.intAt(1));
                yield opened(fd, libc.ioctl(call.intAt(1), Uapi.KVM_CREATE_VCPU, call.at(2)));
            }
            case RUN -> guest.run(fd, vms.getOrDefault(fd, -1));
            case LOAD -> program.load(fd, vms.getOrDefault(fd, -1), call);
            case CONTINUE -> program.run(fd, call);
            case GET_MP_STATE -> ask(fd, Uapi.KVM_GET_MP_STATE, Integer.BYTES);
            case SET_MP_STATE -> {
                memory.putInt(0, call.intAt(1));
                yield ask(fd, Uapi.KVM_SET_MP_STATE, 0);
            }
            case CREATE_DEVICE -> createDevice(fd, call);
            case CHECK_EXTENSION -> Answer.of(libc.ioctl(fd, Uapi.KVM_CHECK_EXTENSION, call.at(1)));
            case CREATE_IRQCHIP -> Answer.of(libc.ioctl(fd, Uapi.KVM_CREATE_IRQCHIP, 0));
            case SPLIT_IRQCHIP -> enable(fd, Uapi.KVM_CAP_SPLIT_IRQCHIP, call.intAt(2), call.at(1));
            case X2APIC_API -> enable(fd, Uapi.KVM_CAP_X2APIC_API, call.intAt(2), call.at(1));
            case ENABLE_CAP -> enable(fd, call.intAt(1), call.intAt(2), 0);
            case ROUTING -> route(fd, call);
            case IRQ_LINE -> line(fd, Uapi.KVM_IRQ_LINE, call);
            case IRQ_LINE_STATUS -> line(fd, Uapi.KVM_IRQ_LINE_STATUS, call);
            case GET_IRQCHIP -> getIrqchip(fd, call.intAt(1));
            case SET_IRQCHIP -> setIrqchip(fd, call);
            case GET_LAPIC -> ask(fd, Uapi.KVM_GET_LAPIC, Uapi.KvmLapicState.SIZE);
            case SET_LAPIC -> setLapic(fd, call);
            case SET_ATTR -> attribute(fd, Uapi.KVM_SET_DEVICE_ATTR, call);
            case HAS_ATTR -> attribute(fd, Uapi.KVM_HAS_DEVICE_ATTR, call);
            case GET_ATTR -> attribute(fd, Uapi.KVM_GET_DEVICE_ATTR, call);
            case IOCTL -> Answer.of(libc.ioctl(fd, call.at(1), call.at(2)));
            default -> structure(fd, call);
        };
    }

    private Answer structure(int fd, Call call) {
        return switch (call.operation()) {
            case IRQFD -> {
                fill("kvm_irqfd", call.at(1), call.at(2), call.at(3), call.at(4));
                yield ask(fd, Uapi.KVM_IRQFD, 0);
            }
            case IOEVENTFD -> {
                fill("kvm_ioeventfd", call.at(5), call.at(2), call.at(3), call.at(1), call.at(4));
                yield ask(fd, Uapi.KVM_IOEVENTFD, 0);
            }
            case SIGNAL_MSI -> {
                fill("kvm_msi", call.at(1), call.at(2), call.at(3), call.at(4));
                yield ask(fd, Uapi.KVM_SIGNAL_MSI, 0);
            }
            case MEMORY -> {
                long user = call.at(5) == NOWHERE ? NOWHERE : arena + call.at(5);
                fill("kvm_userspace_memory_region", call.at(1), call.at(2), call.at(3), call.at(4), user);
                yield ask(fd, Uapi.KVM_SET_USER_MEMORY_REGION, 0);
            }
            default -> throw new IllegalArgumentException(call.toString());
        };
    }

    // Descriptors

    private Answer opened(int to, int fd) {
        if (fd < 0) {
            return Answer.of(fd);
        }
        int moved = keep(libc.fcntl(fd, Uapi.F_DUPFD_CLOEXEC, to));
        libc.close(fd);
        return Answer.of(moved);
    }

    private Answer duplicate(int to, int of) {
        if (vms.containsKey(of)) {
            vms.put(to, vms.get(of));
        }
        return Answer.of(keep(libc.fcntl(of, Uapi.F_DUPFD_CLOEXEC, to)));
    }

    private int keep(int fd) {
        if (fd >= 0) {
            open.add(fd);
        }
        return fd;
    }

    private Answer close(int fd) {
        open.remove(fd);
        return Answer.of(libc.close(fd));
    }

    private Answer createDevice(int to, Call call) {
        fill("kvm_create_device", call.at(2), -1, call.at(3));
        int result = libc.ioctl(call.intAt(1), Uapi.KVM_CREATE_DEVICE, address);
        int fd = memory.getInt(Uapi.KvmCreateDevice.FD);
        return result < 0 || fd < 0 ? Answer.of(result) : opened(to, fd);
    }

    private Answer readNoWait(int fd, long length) {
        zeroed(Long.BYTES + Uapi.Iovec.SIZE)
                .putLong(Long.BYTES + Uapi.Iovec.IOV_BASE, address)
                .putLong(Long.BYTES + Uapi.Iovec.IOV_LEN, length);
        return Answer.of(libc.preadv2(fd, address + Long.BYTES, 1, -1, Uapi.RWF_NOWAIT), memory, Long.BYTES);
    }

    private Answer poll(int fd, Call call) {
        zeroed(Uapi.Pollfd.SIZE + Uapi.Timespec.SIZE)
                .putInt(Uapi.Pollfd.FD, fd)
                .putShort(Uapi.Pollfd.EVENTS, (short) call.at(1))
                .putLong(Uapi.Pollfd.SIZE + Uapi.Timespec.TV_NSEC, call.at(2));
        return Answer.of(libc.ppoll(address, 1, address + Uapi.Pollfd.SIZE), memory, Uapi.Pollfd.SIZE);
    }

    // Structures

    private ByteBuffer zeroed(int length) {
        for (int i = 0; i < length; i += Integer.BYTES) {
            memory.putInt(i, 0);
        }
        return memory;
    }

    private void fill(String tag, long... values) {
        Structs.put(zeroed(UapiTable.struct(tag).size()), 0, tag, values);
    }

    private Answer ask(int fd, long request, int output) {
        return Answer.of(libc.ioctl(fd, request, address), memory, output);
    }

    private Answer enable(int fd, int capability, int flags, long argument) {
        fill("kvm_enable_cap", capability, flags, argument);
        return ask(fd, Uapi.KVM_ENABLE_CAP, 0);
    }

    private Answer route(int fd, Call call) {
        routes.putInt(Uapi.KvmIrqRouting.NR, call.intAt(1)).putInt(Uapi.KvmIrqRouting.FLAGS, call.intAt(2));
        int at = Uapi.KvmIrqRouting.SIZE;
        for (int i = Operation.ROUTE_AT; i < call.arguments().size(); i += Operation.ROUTE_SIZE) {
            long[] fields = IntStream.range(i, i + Operation.ROUTE_SIZE)
                    .mapToLong(call::at)
                    .toArray();
            Structs.put(routes, at, "kvm_irq_routing_entry", fields);
            at += Uapi.KvmIrqRoutingEntry.SIZE;
        }
        Answer answer = Answer.of(libc.ioctl(fd, Uapi.KVM_SET_GSI_ROUTING, routesAddress));
        for (int i = 0; i < at; i += Integer.BYTES) {
            routes.putInt(i, 0);
        }
        return answer;
    }

    private Answer line(int fd, long request, Call call) {
        fill("kvm_irq_level", call.at(1), call.at(2));
        return ask(fd, request, Uapi.KvmIrqLevel.SIZE);
    }

    private Answer getIrqchip(int fd, int chip) {
        zeroed(IRQCHIP_SIZE).putInt(Uapi.KvmIrqchip.CHIP_ID, chip);
        return ask(fd, Uapi.KVM_GET_IRQCHIP, Uapi.KvmIrqchip.CHIP + KernelBackend.IRQCHIP_STATE_SIZE);
    }

    private Answer setIrqchip(int fd, Call call) {
        getIrqchip(fd, call.intAt(1));
        int at = Uapi.KvmIrqchip.CHIP + call.intAt(2);
        if (call.intAt(1) == 2) {
            memory.putLong(at, call.at(3));
        } else {
            memory.put(at, (byte) call.at(3));
        }
        return ask(fd, Uapi.KVM_SET_IRQCHIP, 0);
    }

    private Answer setLapic(int fd, Call call) {
        zeroed(Uapi.KvmLapicState.SIZE);
        ask(fd, Uapi.KVM_GET_LAPIC, 0);
        memory.putInt(call.intAt(1), call.intAt(2));
        return ask(fd, Uapi.KVM_SET_LAPIC, 0);
    }

    private Answer attribute(int fd, long request, Call call) {
        long value = call.at(3) == NOWHERE ? NOWHERE : address + Uapi.KvmDeviceAttr.SIZE;
        fill("kvm_device_attr", 0, call.at(1), call.at(2), value);
        memory.putLong(Uapi.KvmDeviceAttr.SIZE, Integer.toUnsignedLong(call.intAt(3)));
        return ask(fd, request, 0);
    }
}
