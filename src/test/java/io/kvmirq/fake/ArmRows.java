/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;

/** The other half of src/test/native/armprobe.c: does the same rows on a fake kernel and words results the same. */
final class ArmRows {
    private static final int MEMORY = 2 << 20;

    private final FakeKernel kernel;
    private final long memory;
    private final Map<String, Integer> descriptors = new LinkedHashMap<>();

    ArmRows(FakeKernel kernel) {
        this.kernel = kernel;
        this.memory = kernel.libc()
                .mmap(MEMORY, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        begin();
    }

    /** Closes everything and opens /dev/kvm as K. */
    void begin() {
        descriptors.values().forEach(kernel.libc()::close);
        descriptors.clear();
        descriptors.put("K", kernel.libc().open(Buffers.cString("/dev/kvm"), 0));
    }

    // Words

    private static long number(String word) {
        if (!Character.isUpperCase(word.charAt(0))) {
            boolean hexadecimal = word.startsWith("0x");
            return hexadecimal ? Long.parseUnsignedLong(word.substring(2), 16) : Long.parseLong(word);
        }
        // What both have is another number on arm64.
        return Stream.of(UapiArm64.class, Uapi.class)
                .flatMap(where -> Stream.of(where.getFields()))
                .filter(field -> field.getName().equals(word))
                .map(field -> {
                    try {
                        return ((Number) field.get(null)).longValue();
                    } catch (IllegalAccessException e) {
                        throw new AssertionError(e);
                    }
                })
                .findFirst()
                .orElseThrow(() -> new AssertionError("no number " + word));
    }

    private static int narrow(String word) {
        return (int) number(word);
    }

    private int descriptor(String name) {
        return name.equals("-1") ? -1 : Objects.requireNonNull(descriptors.get(name), name);
    }

    private static String result(long value) {
        return value < 0 ? new Errno((int) -value).toString() : Long.toString(value);
    }

    private String opened(String name, int fd) {
        if (fd < 0) {
            return result(fd);
        }
        descriptors.put(name, fd);
        return "fd";
    }

    private int ioctl(String on, long request, ByteBuffer structure) {
        int done = kernel.libc().ioctl(descriptor(on), request, kernel.libc().addressOf(structure));
        Reference.reachabilityFence(structure);
        return done;
    }

    // Rows

    /** @return what follows the row's {@code " = "} */
    String perform(String[] row) {
        return switch (row[0]) {
            case "number" -> "0x" + Long.toHexString(number(row[1]));
            case "ioctl" -> result(kernel.libc().ioctl(descriptor(row[1]), number(row[2]), number(row[3])));
            case "cap" -> result(kernel.libc().ioctl(descriptor(row[1]), Uapi.KVM_CHECK_EXTENSION, number(row[2])));
            case "vm" -> opened(row[1], kernel.libc().ioctl(descriptor("K"), Uapi.KVM_CREATE_VM, number(row[2])));
            case "vcpu" ->
                opened(row[1], kernel.libc().ioctl(descriptor(row[2]), Uapi.KVM_CREATE_VCPU, number(row[3])));
            case "eventfd" -> opened(row[1], kernel.libc().eventfd(narrow(row[2]), Uapi.O_NONBLOCK | Uapi.O_CLOEXEC));
            case "close" -> result(kernel.libc().close(Objects.requireNonNull(descriptors.remove(row[1]), row[1])));
            case "put" -> put(row);
            case "take" -> take(row);
            case "init", "preferred" -> vcpu(row);
            case "device" -> device(row);
            case "set", "get", "has" -> attribute(row);
            case "irqfd", "ioeventfd" -> registration(row);
            case "routes" -> routes(row);
            case "line", "status", "msi" -> interrupt(row);
            case "memory", "enable" -> structure(row);
            default -> throw new AssertionError("no operation " + row[0]);
        };
    }

    private String put(String[] row) {
        ByteBuffer count = Buffers.allocate(Long.BYTES).putLong(0, number(row[2]));
        long done = kernel.libc().write(descriptor(row[1]), kernel.libc().addressOf(count), Long.BYTES);
        Reference.reachabilityFence(count);
        return result(done);
    }

    private String take(String[] row) {
        ByteBuffer count = Buffers.allocate(Long.BYTES);
        long done = kernel.libc().read(descriptor(row[1]), kernel.libc().addressOf(count), Long.BYTES);
        return done < 0 ? result(done) : Long.toUnsignedString(count.getLong(0));
    }

    private String vcpu(String[] row) {
        ByteBuffer init = Buffers.allocate(UapiArm64.KvmVcpuInit.SIZE);
        if (row[0].equals("preferred")) {
            int done = ioctl(row[1], UapiArm64.KVM_ARM_PREFERRED_TARGET, init);
            return done < 0 ? result(done) : Integer.toUnsignedString(init.getInt(UapiArm64.KvmVcpuInit.TARGET));
        }
        init.putInt(UapiArm64.KvmVcpuInit.TARGET, narrow(row[2]));
        for (int i = 3; i < row.length; i++) {
            init.putInt(UapiArm64.KvmVcpuInit.FEATURES + (i - 3) * Integer.BYTES, narrow(row[i]));
        }
        return result(ioctl(row[1], UapiArm64.KVM_ARM_VCPU_INIT, init));
    }

    private String device(String[] row) {
        ByteBuffer create = Structs.of("kvm_create_device", number(row[3]), -1, number(row[4]));
        int done = ioctl(row[2], Uapi.KVM_CREATE_DEVICE, create);
        int fd = create.getInt(Uapi.KvmCreateDevice.FD);
        return done == 0 && fd != -1 ? opened(row[1], fd) : result(done);
    }

    private String attribute(String[] row) {
        ByteBuffer value = Buffers.allocate(Long.BYTES);
        boolean nowhere = row.length > 4 && row[4].equals("null");
        if (row.length > 4 && !nowhere) {
            value.putLong(0, number(row[4]));
        }
        long address = nowhere ? 0 : kernel.libc().addressOf(value);
        ByteBuffer attribute = Structs.of("kvm_device_attr", 0, number(row[2]), number(row[3]), address);
        long request =
                switch (row[0]) {
                    case "set" -> Uapi.KVM_SET_DEVICE_ATTR;
                    case "get" -> Uapi.KVM_GET_DEVICE_ATTR;
                    default -> Uapi.KVM_HAS_DEVICE_ATTR;
                };
        int done = ioctl(row[1], request, attribute);
        Reference.reachabilityFence(value); // else it may be collected before the call, which is EFAULT
        return done == 0 && row[0].equals("get") ? "0x" + Long.toHexString(value.getLong(0)) : result(done);
    }

    private String registration(String[] row) {
        if (row[0].equals("irqfd")) {
            int resample = row.length > 5 ? descriptor(row[5]) : 0;
            ByteBuffer irqfd = Structs.of("kvm_irqfd", descriptor(row[2]), number(row[3]), number(row[4]), resample);
            return result(ioctl(row[1], Uapi.KVM_IRQFD, irqfd));
        }
        ByteBuffer ioeventfd = Structs.of(
                "kvm_ioeventfd", number(row[6]), number(row[3]), number(row[4]), descriptor(row[2]), number(row[5]));
        return result(ioctl(row[1], Uapi.KVM_IOEVENTFD, ioeventfd));
    }

    /** An entry is gsi:type:flags:chip:pin, or gsi:type:flags:address:data:device. */
    private String routes(String[] row) {
        int count = row.length - 4;
        ByteBuffer table = Buffers.allocate(Uapi.KvmIrqRouting.SIZE + count * Uapi.KvmIrqRoutingEntry.SIZE)
                .putInt(Uapi.KvmIrqRouting.NR, narrow(row[2]))
                .putInt(Uapi.KvmIrqRouting.FLAGS, narrow(row[3]));
        for (int i = 0; i < count; i++) {
            String[] fields = row[4 + i].split(":", -1);
            int at = Uapi.KvmIrqRouting.SIZE + i * Uapi.KvmIrqRoutingEntry.SIZE;
            table.putInt(at + Uapi.KvmIrqRoutingEntry.GSI, narrow(fields[0]))
                    .putInt(at + Uapi.KvmIrqRoutingEntry.TYPE, narrow(fields[1]))
                    .putInt(at + Uapi.KvmIrqRoutingEntry.FLAGS, narrow(fields[2]));
            if (narrow(fields[1]) == Uapi.KVM_IRQ_ROUTING_MSI) {
                table.putLong(at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO, number(fields[3]))
                        .putInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_DATA, narrow(fields[4]))
                        .putInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_DEVID, narrow(fields[5]));
            } else {
                table.putInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP, narrow(fields[3]))
                        .putInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN, narrow(fields[4]));
            }
        }
        return result(ioctl(row[1], Uapi.KVM_SET_GSI_ROUTING, table));
    }

    private String interrupt(String[] row) {
        if (row[0].equals("msi")) {
            long address = number(row[2]);
            ByteBuffer msi = Structs.of(
                    "kvm_msi", address, address >>> Integer.SIZE, number(row[3]), number(row[4]), number(row[5]));
            return result(ioctl(row[1], Uapi.KVM_SIGNAL_MSI, msi));
        }
        boolean status = row[0].equals("status");
        ByteBuffer level = Structs.of("kvm_irq_level", number(row[2]), number(row[3]));
        int done = ioctl(row[1], status ? Uapi.KVM_IRQ_LINE_STATUS : Uapi.KVM_IRQ_LINE, level);
        return done == 0 && status ? "0x" + Integer.toHexString(level.getInt(Uapi.KvmIrqLevel.IRQ)) : result(done);
    }

    private String structure(String[] row) {
        if (row[0].equals("enable")) {
            ByteBuffer capability = Structs.of("kvm_enable_cap", number(row[2]), number(row[3]), number(row[4]));
            return result(ioctl(row[1], Uapi.KVM_ENABLE_CAP, capability));
        }
        ByteBuffer region = Structs.of(
                "kvm_userspace_memory_region", number(row[2]), number(row[3]), number(row[4]), number(row[5]), memory);
        return result(ioctl(row[1], Uapi.KVM_SET_USER_MEMORY_REGION, region));
    }
}
