/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.path.Known;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A kernel's BTF with the types that probes need, at the offsets of Debian's 6.1 unless a test changes one. */
public final class KvmBtf {
    private static final int INT = 1;
    private static final int LONG = 2;
    private static final int PTR_EVENTFD = 3;
    private static final int PTR_KVM = 4;
    private static final int PTR_CONTEXT = 11;
    private static final int CONTEXT = 12;
    private static final int LIST = 16;
    private static final int HEADER = 24;

    private final StringBuilder strings = new StringBuilder("\0");
    private final ByteBuffer types = ByteBuffer.allocate(4096).order(ByteOrder.nativeOrder());
    private final Map<String, Integer> offsets = new HashMap<>(Map.ofEntries(
            Map.entry("eventfd", 184),
            Map.entry("gsi", 116),
            Map.entry("inject", 120),
            Map.entry("ctx", 1040),
            Map.entry("irq_entry", 48),
            Map.entry("id", 44),
            Map.entry("wait", 8),
            Map.entry("userspace_pid", 40408)));
    private final Map<String, Integer> functions = new HashMap<>(Map.of(
            "irqfd_wakeup",
            4,
            "kvm_arch_set_irq_inatomic",
            5,
            "irqfd_inject",
            1,
            "kvm_set_irq",
            5,
            "vfio_msihandler",
            2,
            "vfio_intx_handler",
            2));
    private int context = PTR_CONTEXT;
    private final Map<String, List<Integer>> contextMembers = new HashMap<>(Map.of("trigger", List.of(PTR_EVENTFD, 0)));

    /** Moves a member. */
    public KvmBtf at(String member, int offset) {
        offsets.put(member, offset);
        return this;
    }

    /** Leaves a function out, as a compiler does that inlined it. */
    public KvmBtf without(String function) {
        functions.remove(function);
        return this;
    }

    /** The handler of INTx gets the context, as in Linux 6.12. */
    public KvmBtf withDeviceOfContext() {
        context = LONG;
        contextMembers.put("vdev", List.of(PTR_KVM, 0));
        contextMembers.put("trigger", List.of(PTR_EVENTFD, 8));
        return this;
    }

    /** The contexts of a device are no array. */
    public KvmBtf withoutArrayOfContexts() {
        context = LONG;
        return this;
    }

    /** Has the VGIC of arm64. */
    public KvmBtf withVgic() {
        functions.put("vgic_queue_irq_unlock", 3);
        return this;
    }

    /** The types of a module. Those of its kernel are none. */
    public Known<Btf> types() {
        type("int", INT, 0, 4);
        types.putInt(32);
        type("long", INT, 0, 8);
        types.putInt(64);
        type("", 2, 0, 5);
        type("", 2, 0, 6);
        struct("eventfd_ctx", Map.of("id", List.of(INT, offsets.get("id"))));
        struct("kvm", Map.of("userspace_pid", List.of(INT, offsets.get("userspace_pid"))));
        struct("msi", Map.of("address_lo", List.of(INT, 0), "address_hi", List.of(INT, 4), "data", List.of(INT, 8)));
        struct("irq_entry", Map.of("gsi", List.of(INT, 0), "type", List.of(INT, 4), "msi", List.of(7, 16)));
        struct("wait_queue_entry", Map.of("func", List.of(PTR_KVM, 16), "entry", List.of(LIST, 24)));
        struct(
                "kvm_kernel_irqfd",
                Map.of(
                        "kvm",
                        List.of(PTR_KVM, 0),
                        "resampler",
                        List.of(PTR_KVM, 152),
                        "wait",
                        List.of(9, offsets.get("wait")),
                        "irq_entry",
                        List.of(8, offsets.get("irq_entry")),
                        "gsi",
                        List.of(INT, offsets.get("gsi")),
                        "inject",
                        List.of(LONG, offsets.get("inject")),
                        "eventfd",
                        List.of(PTR_EVENTFD, offsets.get("eventfd"))));
        type("", 2, 0, CONTEXT);
        struct("vfio_pci_irq_ctx", contextMembers);
        struct("vfio_pci_core_device", Map.of("ctx", List.of(context, offsets.get("ctx"))));
        struct("vgic_irq", Map.of("intid", List.of(INT, 56), "target_vcpu", List.of(PTR_KVM, 48)));
        struct("kvm_vcpu", Map.of("vcpu_id", List.of(INT, 20)));
        struct("list_head", Map.of("next", List.of(PTR_KVM, 0)));
        int[] next = {LIST + 1};
        functions.forEach((name, parameters) -> {
            types.putInt(0).putInt(13 << 24 | parameters).putInt(INT);
            for (int i = 0; i < parameters; i++) {
                types.putInt(0).putInt(LONG);
            }
            type(name, 12, 0, next[0]);
            next[0] += 2;
        });
        Btf kernel = Btf.parse(file(new byte[0], "\0")).known().orElseThrow();
        return Btf.parse(kernel, file(Arrays.copyOf(types.array(), types.position()), strings.substring(1)));
    }

    private static byte[] file(byte[] types, String strings) {
        byte[] text = strings.getBytes(StandardCharsets.ISO_8859_1);
        ByteBuffer file =
                ByteBuffer.allocate(HEADER + types.length + text.length).order(ByteOrder.nativeOrder());
        file.putShort((short) 0xeb9f).put((byte) 1).put((byte) 0).putInt(HEADER);
        file.putInt(0).putInt(types.length).putInt(types.length).putInt(text.length);
        return file.put(types).put(text).array();
    }

    private void type(String name, int kind, int members, int size) {
        types.putInt(name(name)).putInt(kind << 24 | members).putInt(size);
    }

    private int name(String name) {
        if (name.isEmpty()) {
            return 0;
        }
        int at = strings.length();
        strings.append(name).append('\0');
        return at;
    }

    /** Each member with its type and its offset in bytes. */
    private void struct(String name, Map<String, List<Integer>> members) {
        type(name, 4, members.size(), 65_536);
        members.forEach((member, place) ->
                types.putInt(name(member)).putInt(place.get(0)).putInt(place.get(1) * 8));
    }
}
