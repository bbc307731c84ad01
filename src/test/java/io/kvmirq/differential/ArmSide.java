/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Set;

/** vCPUs of arm64, and values of 64 bits as attributes have them, on one of the kernels compared. */
final class ArmSide {
    private static final int ROOM = 4096;
    private static final int VALUE_AT = 64;
    /** Size of a vector register. */
    private static final int VALUE_SIZE = 16;

    /** The counters of the virtual and the physical timer. */
    private static final Set<Long> COUNTERS = Set.of(0x6030_0000_0013_df1aL, 0x6030_0000_0013_df01L);

    /** A table of devices, one of collections, a ring of commands and a table of pending LPIs, their properties. */
    private static final int TABLES = 4 * 0x1_0000;

    static final long TABLES_AT = 0x4000_0000L;
    static final int COLLECTIONS = 0x1_0000;
    static final int RING = 0x2_0000;
    static final int PROPERTIES = 0x3_0000;
    private static final int SLOT = 5;
    /** LPIs with priorities, of which each second one is enabled. */
    private static final long PRIORITIES = 0xa0a1_a0a1_a0a1_a0a1L;

    private final Libc libc;
    private final long tables;
    private final ByteBuffer memory = Buffers.allocate(ROOM);
    private final long address;

    ArmSide(Libc libc) {
        this.libc = libc;
        this.address = libc.addressOf(memory);
        this.tables = Machine.isX86()
                ? 0
                : libc.mmap(TABLES, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        reset();
    }

    /** The tables are empty. */
    void reset() {
        if (tables != 0) {
            libc.view(tables, TABLES).put(0, new byte[TABLES]);
            libc.view(tables + PROPERTIES, Long.BYTES)
                    .order(ByteOrder.nativeOrder())
                    .putLong(0, PRIORITIES);
        }
    }

    void close() {
        if (tables != 0) {
            libc.munmap(tables, TABLES);
        }
    }

    Answer make(int fd, Call call) {
        memory.put(0, new byte[ROOM]);
        return switch (call.operation()) {
            case VCPU_INIT -> {
                memory.putInt(UapiArm64.KvmVcpuInit.TARGET, call.intAt(1))
                        .putInt(UapiArm64.KvmVcpuInit.FEATURES, call.intAt(2));
                yield Answer.of(libc.ioctl(fd, UapiArm64.KVM_ARM_VCPU_INIT, address));
            }
            case FINALIZE -> Answer.of(libc.ioctl(fd, UapiArm64.KVM_ARM_VCPU_FINALIZE, valueAt(call.at(1))));
            case LIST_REGISTERS -> list(fd, call.at(1));
            case GET_REGISTER -> getRegister(fd, call);
            case SET_REGISTER -> register(fd, UapiArm64.KVM_SET_ONE_REG, call);
            case SIGNALS -> {
                memory.putInt(0, call.intAt(1)).putLong(Uapi.KvmSignalMask.SIZE, call.at(2));
                yield Answer.of(libc.ioctl(fd, Uapi.KVM_SET_SIGNAL_MASK, address));
            }
            case GET_VALUE -> attribute(fd, Uapi.KVM_GET_DEVICE_ATTR, call, Long.BYTES);
            case SET_VALUE -> attribute(fd, Uapi.KVM_SET_DEVICE_ATTR, call, 0);
            case TABLES -> {
                Structs.put(memory, 0, "kvm_userspace_memory_region", SLOT, 0, TABLES_AT, TABLES, tables);
                yield Answer.of(libc.ioctl(fd, Uapi.KVM_SET_USER_MEMORY_REGION, address));
            }
            case COMMAND -> {
                ByteBuffer ring =
                        libc.view(tables + RING, VALUE_AT * ItsCommand.SIZE).order(ByteOrder.nativeOrder());
                for (int word = 1; word <= 3; word++) {
                    ring.putLong(call.intAt(0) * ItsCommand.SIZE + (word - 1) * Long.BYTES, call.at(word));
                }
                yield Answer.of(0);
            }
            default -> throw new IllegalArgumentException(call.toString());
        };
    }

    /** Puts a value in memory, and says where. */
    private long valueAt(long value) {
        memory.putLong(VALUE_AT, value);
        return value == Side.NOWHERE ? Side.NOWHERE : address + VALUE_AT;
    }

    private Answer shown(int result, int size) {
        byte[] value = new byte[size];
        memory.get(VALUE_AT, value);
        return Answer.of(result, ByteBuffer.wrap(value), size);
    }

    /** Room for more than there is reads as such, so the most that is asked for fits. */
    private Answer list(int fd, long room) {
        memory.putLong(Uapi.KvmRegList.N, room);
        return Answer.of(libc.ioctl(fd, Uapi.KVM_GET_REG_LIST, address), memory, ROOM);
    }

    private Answer register(int fd, long request, Call call) {
        long at = valueAt(call.at(2));
        memory.putLong(Uapi.KvmOneReg.ID, call.at(1)).putLong(Uapi.KvmOneReg.ADDR, at);
        return Answer.of(libc.ioctl(fd, request, address));
    }

    /** A counter goes on counting. */
    private Answer getRegister(int fd, Call call) {
        Answer answer = register(fd, UapiArm64.KVM_GET_ONE_REG, call);
        return COUNTERS.contains(call.at(1)) ? answer : shown((int) answer.result(), VALUE_SIZE);
    }

    private Answer attribute(int fd, long request, Call call, int output) {
        Structs.put(memory, 0, "kvm_device_attr", 0, call.at(1), call.at(2), valueAt(call.at(3)));
        return shown(libc.ioctl(fd, request, address), output);
    }
}
