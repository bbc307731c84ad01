/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.StringJoiner;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/** The structure an ioctl points to, in words, each with a space before it. */
final class StructText {
    private static final int MAX_RAW = 32;

    private final int routeLimit;

    StructText(int routeLimit) {
        this.routeLimit = routeLimit;
    }

    /** @param bytes of {@code call}, before or after it */
    String of(UapiTable.Struct struct, TapeLine.Call call, ByteBuffer bytes) {
        IntFunction<String> fds = at -> call.names().getOrDefault(String.valueOf(at), String.valueOf(bytes.getInt(at)));
        if (bytes.limit() < struct.size()) {
            return " (" + bytes.limit() + " bytes of struct " + struct.tag() + ", which has " + struct.size() + ")";
        }
        return switch (struct.tag()) {
            case "kvm_irqfd" -> irqfd(bytes, fds);
            case "kvm_ioeventfd" -> ioeventfd(bytes, fds);
            case "kvm_msi" -> msi(bytes);
            case "kvm_irq_level" -> line(bytes);
            case "kvm_irq_routing" -> routes(bytes);
            case "kvm_enable_cap" -> capability(bytes);
            case "kvm_create_device" ->
                " type=" + Names.deviceType(bytes.getInt(Uapi.KvmCreateDevice.TYPE))
                        + Names.flags(flags(bytes, Uapi.KvmCreateDevice.FLAGS), Names.CREATE_DEVICE);
            case "kvm_device_attr" -> attribute(call, bytes);
            case "kvm_userspace_memory_region" -> memory(call, bytes);
            case "kvm_irqchip" -> " " + Names.chip(bytes.getInt(Uapi.KvmIrqchip.CHIP_ID));
            case "kvm_cpuid2" -> " nent=" + bytes.getInt(Uapi.KvmCpuid2.NENT);
            default -> fields(struct, bytes);
        };
    }

    /** A structure we have no table of. */
    static String raw(ByteBuffer bytes) {
        byte[] head = new byte[Math.min(bytes.limit(), MAX_RAW)];
        bytes.get(0, head);
        return " [" + HexFormat.of().formatHex(head) + (bytes.limit() > MAX_RAW ? "…" : "") + "]";
    }

    private static long flags(ByteBuffer bytes, int at) {
        return Integer.toUnsignedLong(bytes.getInt(at));
    }

    private static String irqfd(ByteBuffer bytes, IntFunction<String> fds) {
        long flags = flags(bytes, Uapi.KvmIrqfd.FLAGS);
        String resample =
                (flags & Uapi.KVM_IRQFD_FLAG_RESAMPLE) == 0 ? "" : " resamplefd=" + fds.apply(Uapi.KvmIrqfd.RESAMPLEFD);
        return " fd=" + fds.apply(Uapi.KvmIrqfd.FD) + " gsi="
                + Integer.toUnsignedString(bytes.getInt(Uapi.KvmIrqfd.GSI)) + Names.flags(flags, Names.IRQFD)
                + resample;
    }

    private static String ioeventfd(ByteBuffer bytes, IntFunction<String> fds) {
        long flags = flags(bytes, Uapi.KvmIoeventfd.FLAGS);
        String match = (flags & Uapi.KVM_IOEVENTFD_FLAG_DATAMATCH) == 0
                ? ""
                : " datamatch=" + Names.hex(bytes.getLong(Uapi.KvmIoeventfd.DATAMATCH));
        return " fd=" + fds.apply(Uapi.KvmIoeventfd.FD) + " addr="
                + Names.hex(bytes.getLong(Uapi.KvmIoeventfd.ADDR)) + " len=" + bytes.getInt(Uapi.KvmIoeventfd.LEN)
                + Names.flags(flags, Names.IOEVENTFD) + match;
    }

    private static String msi(ByteBuffer bytes) {
        return message(
                bytes,
                Uapi.KvmMsi.ADDRESS_LO,
                Uapi.KvmMsi.ADDRESS_HI,
                Uapi.KvmMsi.DATA,
                flags(bytes, Uapi.KvmMsi.FLAGS),
                Uapi.KvmMsi.DEVID);
    }

    private static String message(ByteBuffer bytes, int low, int high, int data, long flags, int device) {
        long address = (long) bytes.getInt(high) << 32 | flags(bytes, low);
        String devid = (flags & Uapi.KVM_MSI_VALID_DEVID) == 0 ? "" : " devid=" + Names.hex(flags(bytes, device));
        return " msi " + Names.hex(address) + "/" + Names.hex(flags(bytes, data)) + Names.flags(flags, Names.MSI)
                + devid;
    }

    private static String line(ByteBuffer bytes) {
        return " gsi=" + Integer.toUnsignedString(bytes.getInt(Uapi.KvmIrqLevel.IRQ)) + " level="
                + bytes.getInt(Uapi.KvmIrqLevel.LEVEL);
    }

    /** Messages first: nobody looks for the pins, and there are many. */
    private String routes(ByteBuffer bytes) {
        long claimed = flags(bytes, Uapi.KvmIrqRouting.NR);
        int held = (bytes.limit() - Uapi.KvmIrqRouting.SIZE) / Uapi.KvmIrqRoutingEntry.SIZE;
        long shown = Math.min(Math.min(claimed, held), routeLimit);
        StringJoiner entries = new StringJoiner(", ", shown == 0 ? "" : ": ", "");
        IntStream.range(0, (int) Math.min(claimed, held))
                .map(i -> Uapi.KvmIrqRouting.SIZE + i * Uapi.KvmIrqRoutingEntry.SIZE)
                .boxed()
                .sorted(Comparator.comparing(at -> !isMessage(bytes, at)))
                .limit(shown)
                .forEach(at -> entries.add(route(bytes, at)));
        String rest = shown == claimed ? "" : (shown == 0 ? "" : ",") + " … " + (claimed - shown) + " more";
        return " " + claimed + (claimed == 1 ? " route" : " routes")
                + Names.flags(flags(bytes, Uapi.KvmIrqRouting.FLAGS), Names.NONE) + entries + rest;
    }

    private static boolean isMessage(ByteBuffer bytes, int at) {
        return bytes.getInt(at + Uapi.KvmIrqRoutingEntry.TYPE) == Uapi.KVM_IRQ_ROUTING_MSI;
    }

    private static String route(ByteBuffer bytes, int at) {
        String gsi = Integer.toUnsignedString(bytes.getInt(at + Uapi.KvmIrqRoutingEntry.GSI)) + "→";
        int type = bytes.getInt(at + Uapi.KvmIrqRoutingEntry.TYPE);
        long flags = flags(bytes, at + Uapi.KvmIrqRoutingEntry.FLAGS);
        if (type == Uapi.KVM_IRQ_ROUTING_IRQCHIP) {
            return gsi + Names.chip(bytes.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP)) + ":"
                    + bytes.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN) + Names.flags(flags, Names.NONE);
        }
        if (isMessage(bytes, at)) {
            return gsi
                    + message(
                                    bytes,
                                    at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO,
                                    at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_HI,
                                    at + Uapi.KvmIrqRoutingEntry.U_MSI_DATA,
                                    flags,
                                    at + Uapi.KvmIrqRoutingEntry.U_MSI_DEVID)
                            .strip();
        }
        return gsi + "type " + type;
    }

    private static String capability(ByteBuffer bytes) {
        int words = (Uapi.KvmEnableCap.SIZE - Uapi.KvmEnableCap.ARGS) / Long.BYTES;
        int used = Math.min(words, 4);
        while (used > 1 && bytes.getLong(Uapi.KvmEnableCap.ARGS + (used - 1) * Long.BYTES) == 0) {
            used--;
        }
        StringJoiner arguments = new StringJoiner(",", " args=", "");
        for (int i = 0; i < used; i++) {
            arguments.add(Names.hex(bytes.getLong(Uapi.KvmEnableCap.ARGS + i * Long.BYTES)));
        }
        return " cap=" + Names.capability(flags(bytes, Uapi.KvmEnableCap.CAP))
                + Names.flags(flags(bytes, Uapi.KvmEnableCap.FLAGS), Names.NONE) + arguments;
    }

    private static String attribute(TapeLine.Call call, ByteBuffer bytes) {
        String flags = Names.flags(flags(bytes, Uapi.KvmDeviceAttr.FLAGS), Names.NONE);
        int group = bytes.getInt(Uapi.KvmDeviceAttr.GROUP);
        long attribute = bytes.getLong(Uapi.KvmDeviceAttr.ATTR);
        if (group != Uapi.KVM_DEV_VFIO_FILE
                || call.data().filter(data -> data.limit() == Integer.BYTES).isEmpty()) {
            return " group=" + group + " attr=" + Long.toUnsignedString(attribute) + flags;
        }
        String verb = attribute == Uapi.KVM_DEV_VFIO_FILE_ADD
                ? "ADD"
                : attribute == Uapi.KVM_DEV_VFIO_FILE_DEL ? "DEL" : "attr=" + Long.toUnsignedString(attribute);
        return " VFIO_FILE " + verb + flags + " fd="
                + call.names()
                        .getOrDefault(
                                "data", String.valueOf(call.data().orElseThrow().getInt(0)));
    }

    private static String memory(TapeLine.Call call, ByteBuffer bytes) {
        String user = call.names().getOrDefault(String.valueOf(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR), "");
        return " slot=" + Names.hex(flags(bytes, Uapi.KvmUserspaceMemoryRegion.SLOT))
                + Names.flags(flags(bytes, Uapi.KvmUserspaceMemoryRegion.FLAGS), Names.NONE) + " guest_phys_addr="
                + Names.hex(bytes.getLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR)) + " memory_size="
                + Names.hex(bytes.getLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE))
                + (user.isEmpty() ? "" : " userspace_addr=" + user);
    }

    /** By the table, without what is longer than a number. */
    private static String fields(UapiTable.Struct struct, ByteBuffer bytes) {
        StringBuilder text = new StringBuilder();
        for (UapiTable.Field field : struct.fields()) {
            switch (field.size()) {
                case 2 -> append(text, field, Short.toUnsignedLong(bytes.getShort(field.offset())));
                case 4 -> append(text, field, flags(bytes, field.offset()));
                case 8 -> append(text, field, bytes.getLong(field.offset()));
                default -> {}
            }
        }
        return text.toString();
    }

    private static void append(StringBuilder text, UapiTable.Field field, long value) {
        text.append(' ').append(field.path()).append('=').append(Names.hex(value));
    }
}
