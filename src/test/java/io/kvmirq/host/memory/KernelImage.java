/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.MsiMessage;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A made image of a kernel's memory, with the symbols and the BTF that describe it: the structures of a host irq, of an IOMMU
 * and of VMs, where Debian's kernels have them. A test changes it by name.
 */
public final class KernelImage {
    public static final List<String> KERNELS = List.of("6.1", "6.12", "7.2");
    /** Kernels for arm64. */
    public static final List<String> ARM_KERNELS = List.of("6.12-arm64", "7.2-arm64");

    public static final long HANDLER = 0xffff_ffff_c0a0_1234L;
    static final long HEAP = 0xffff_8880_0000_0000L;
    static final long DATA = 0xffff_ffff_8200_0000L;
    private static final int DATA_SIZE = 1 << 16;
    private static final int PAGE = 4096;
    private static final int NODE = 256;
    private static final int GSIS = 256;
    private static final int LEAF = 1;
    private static final int ARANGE = 3;

    /** A member; {@code type} is empty for a number. The lowest bit of a bit-field, which has one, is {@code bit}. */
    private record Member(long offset, int size, String type, int bit) {
        Member(long offset, int size, String type) {
            this(offset, size, type, -1);
        }

        static Member of(String place) {
            String[] parts = place.split("[/:]");
            int at = Integer.parseInt(parts[0]);
            if (place.contains(":")) {
                return new Member(at / 8, 1, "", at % 8);
            }
            boolean number = Character.isDigit(parts[1].charAt(0));
            return new Member(at, number ? Integer.parseInt(parts[1]) : 0, number ? "" : parts[1]);
        }
    }

    private record Structure(int size, Map<String, Member> members) {}

    /** A part of a maple tree: its pointer, and the highest index in it. */
    private record Part(long node, int type, long max) {}

    private final Map<String, Structure> kernel = new LinkedHashMap<>();
    /** By the module's name. */
    private final Map<String, Map<String, Structure>> modules = new LinkedHashMap<>();

    /** The names of the values of an enum, from 0. */
    private final Map<String, List<String>> enums = new LinkedHashMap<>();

    private final Map<String, Long> symbols = new LinkedHashMap<>();
    private final Map<String, Long> texts = new HashMap<>();
    private final TreeMap<Integer, Long> irqs = new TreeMap<>();
    /** The LPIs of each VM for arm64. */
    private final Map<Long, TreeMap<Integer, Long>> lpis = new HashMap<>();

    private final List<Long> vms = new ArrayList<>();
    private final ByteBuffer heap;
    private final ByteBuffer data = ByteBuffer.allocate(DATA_SIZE).order(ByteOrder.nativeOrder());
    private final Vendor unit;
    private final boolean hasMaple;
    private int used = PAGE;
    private int usedData = PAGE;
    private long iommu;
    private long tables;

    public KernelImage(String release, Vendor unit) {
        this(release, unit, 4 << 20);
    }

    public KernelImage(String release, Vendor unit, int size) {
        this.unit = unit;
        hasMaple = !release.equals("6.1");
        heap = ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
        read(release);
        symbols.put(hasMaple ? "sparse_irqs" : "irq_desc_tree", variable(16));
        symbols.put("amd_iommu_guest_ir", variable(4));
        symbols.put("vfio_msihandler\t[vfio_pci_core]", HANDLER);
        symbols.put("vm_list\t[kvm]", variable(16));
        symbols.put("vm_list_lock\t[kvm]", variable(16));
        symbols.put("page_offset_base", variable(8));
        symbols.put("x2apic_mode", variable(4));
        word(symbol("page_offset_base"), HEAP);
        data.putInt((int) (symbol("amd_iommu_guest_ir") - DATA), 1);
        if (ARM_KERNELS.contains(release)) {
            return;
        }
        if (unit == Vendor.INTEL) {
            long table = alloc("ir_table");
            tables = alloc(65_536 * 16, PAGE);
            put(table, "ir_table", "base", tables);
            iommu = alloc("intel_iommu");
            put(iommu, "intel_iommu", "ir_table", table);
        } else {
            long segment = alloc("amd_iommu_pci_seg");
            tables = alloc(65_536 * 8, PAGE);
            put(segment, "amd_iommu_pci_seg", "last_bdf", 0xffff);
            put(segment, "amd_iommu_pci_seg", "irq_lookup_table", tables);
            iommu = alloc("amd_iommu");
            put(iommu, "amd_iommu", "pci_seg", segment);
        }
    }

    /** A kernel for arm64, whose irqs are LPIs. */
    public static KernelImage ofArm(String release) {
        return new KernelImage(release, Vendor.AMD);
    }

    private void read(String release) {
        try (InputStream in = KernelImage.class.getResourceAsStream("structures-" + release + ".txt")) {
            Map<String, Structure> into = kernel;
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
                String[] words = line.split(" ");
                if (line.startsWith("[")) {
                    into = modules.computeIfAbsent(line.substring(1, line.length() - 1), same -> new LinkedHashMap<>());
                } else if (line.startsWith("enum ")) {
                    enums.put(words[1], List.of(words).subList(2, words.length));
                } else if (!line.startsWith("#")) {
                    Structure structure = new Structure(Integer.parseInt(words[1]), new LinkedHashMap<>());
                    into.put(words[0], structure);
                    for (int i = 2; i < words.length; i++) {
                        String[] parts = words[i].split("@");
                        structure.members.put(parts[0], Member.of(parts[1]));
                    }
                }
            }
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private Structure structure(String name) {
        return Stream.concat(Stream.of(kernel), modules.values().stream())
                .filter(module -> module.containsKey(name))
                .map(module -> module.get(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no struct " + name));
    }

    /** Moves a member in BTF only, as another kernel has it. */
    public KernelImage described(String type, String member, long offset) {
        Member old = structure(type).members.get(member);
        structure(type).members.put(member, new Member(offset, old.size, old.type));
        return this;
    }

    /** Leaves a structure out of BTF. */
    public KernelImage undescribed(String type) {
        kernel.remove(type);
        modules.values().forEach(module -> module.remove(type));
        return this;
    }

    public KernelImage withoutSymbol(String name) {
        symbols.keySet().removeIf(text -> text.split("\t")[0].equals(name));
        return this;
    }

    public long symbol(String name) {
        return symbols.entrySet().stream()
                .filter(entry -> entry.getKey().split("\t")[0].equals(name))
                .mapToLong(Map.Entry::getValue)
                .findFirst()
                .orElseThrow();
    }

    private long variable(int size) {
        long at = DATA + usedData;
        usedData += (size + 63) / 64 * 64;
        return at;
    }

    long alloc(int size, int align) {
        used = (used + align - 1) / align * align;
        long at = HEAP + used;
        used += size;
        if (used > heap.capacity()) {
            throw new IllegalStateException("the image is too small");
        }
        return at;
    }

    private long alloc(String type) {
        return alloc(structure(type).size, 64);
    }

    private Member place(String type, String path) {
        int dot = path.indexOf('.');
        Member first = structure(type).members.get(dot < 0 ? path : path.substring(0, dot));
        if (first == null) {
            throw new IllegalArgumentException("struct " + type + " has no " + path);
        }
        if (dot < 0) {
            return first;
        }
        Member inner = place(first.type, path.substring(dot + 1));
        return new Member(first.offset + inner.offset, inner.size, inner.type, inner.bit);
    }

    /** The address of a member. */
    public long at(long structure, String type, String path) {
        return structure + place(type, path).offset;
    }

    /** Writes a number of 1 to 8 bytes. */
    public void put(long structure, String type, String path, long value) {
        int size = place(type, path).size;
        int bit = place(type, path).bit;
        if (bit >= 0) {
            long at = at(structure, type, path);
            poke(at, (int) (word(at) & ~(1 << bit) | value << bit));
            return;
        }
        for (int i = 0; i < size; i++) {
            poke(at(structure, type, path) + i, (int) (value >>> 8 * i));
        }
    }

    /** Reads a word. */
    public long word(long address) {
        return address >= DATA && address < DATA + DATA_SIZE
                ? data.getLong((int) (address - DATA))
                : heap.getLong((int) (address - HEAP));
    }

    /** Writes a word. */
    public void word(long address, long value) {
        for (int i = 0; i < Long.BYTES; i++) {
            poke(address + i, (int) (value >>> 8 * i));
        }
    }

    private void poke(long address, int value) {
        if (address >= DATA && address < DATA + DATA_SIZE) {
            data.put((int) (address - DATA), (byte) value);
        } else {
            heap.put((int) (address - HEAP), (byte) value);
        }
    }

    private long text(String text) {
        return texts.computeIfAbsent(text, same -> {
            long at = variable(64);
            for (int i = 0; i < text.length(); i++) {
                poke(at + i, text.charAt(i));
            }
            return at;
        });
    }

    private long chip(String name) {
        long text = text(name);
        return texts.computeIfAbsent("chip " + name, same -> {
            long at = alloc("irq_chip");
            put(at, "irq_chip", "name", text);
            return at;
        });
    }

    /** An eventfd. */
    public long eventfd(int id) {
        long at = alloc("eventfd_ctx");
        put(at, "eventfd_ctx", "id", id);
        return at;
    }

    /**
     * A host irq whose message VFIO signals.
     *
     * @param trigger its eventfd; 0 for none
     * @param source the requester id
     * @return its descriptor
     */
    public long irq(int number, long trigger, int index, int source, long low, long high) {
        long desc = descriptor(number, trigger);
        long vector = alloc("irq_data");
        domain(vector, number, "APIC", alloc("apic_chip_data"), 0);
        long remapping = alloc("irq_data");
        domain(
                remapping,
                number,
                unit == Vendor.INTEL ? "INTEL-IR" : "AMD-IR",
                unit == Vendor.INTEL ? intel(index, low, high) : amd(index, source, low, high),
                vector);
        domain(at(desc, "irq_desc", "irq_data"), number, "IR-PCI-MSIX", 0, remapping);
        return desc;
    }

    private long descriptor(int number, long trigger) {
        long desc = alloc("irq_desc");
        irqs.put(number, desc);
        long action = trigger == 0 ? 0 : alloc("irqaction");
        if (trigger != 0) {
            put(action, "irqaction", "handler", HANDLER);
            put(action, "irqaction", "dev_id", trigger);
            put(action, "irqaction", "irq", number);
        }
        put(desc, "irq_desc", "action", action);
        return desc;
    }

    /** A device of an ITS, with its LPIs of the host. */
    public long itsDevice(int firstLpi, int count) {
        long device = alloc("its_device");
        put(device, "its_device", "event_map.lpi_base", firstLpi);
        put(device, "its_device", "event_map.nr_lpis", count);
        put(device, "its_device", "event_map.vlpi_maps", alloc(count * structure("its_vlpi_map").size, 8));
        return device;
    }

    /** A host irq that an ITS raises, and whose message VFIO signals. */
    public long lpi(int number, long trigger, long device, int lpi) {
        long desc = descriptor(number, trigger);
        long its = alloc("irq_data");
        domain(its, number, "ITS", device, 0);
        put(its, "irq_data", "hwirq", lpi);
        put(its, "irq_data", "common", alloc("irq_common_data"));
        domain(at(desc, "irq_desc", "irq_data"), number, "ITS-PCI-MSIX", 0, its);
        return desc;
    }

    /** A vCPU of a VM for arm64. */
    public long armVcpu(long vm, int id) {
        long vcpu = alloc("kvm_vcpu");
        put(vcpu, "kvm_vcpu", "kvm", vm);
        put(vcpu, "kvm_vcpu", "vcpu_id", id);
        put(vcpu, "kvm_vcpu", "vcpu_idx", id);
        put(vcpu, "kvm_vcpu", "arch.vgic_cpu.vgic_v3.its_vpe.its_vm", at(vm, "kvm", "arch.vgic.its_vm"));
        return vcpu;
    }

    /** An LPI of a VM for arm64, as KVM has it. */
    public long guestLpi(long vm, long vcpu, int id, int hostIrq) {
        long irq = alloc("vgic_irq");
        put(irq, "vgic_irq", "intid", id);
        put(irq, "vgic_irq", "hw", hostIrq == 0 ? 0 : 1);
        put(irq, "vgic_irq", "host_irq", hostIrq);
        put(irq, "vgic_irq", "target_vcpu", vcpu);
        put(irq, "vgic_irq", "priority", 0xa0);
        put(irq, "vgic_irq", "enabled", 1);
        lpis.computeIfAbsent(vm, same -> new TreeMap<>()).put(id, irq);
        return irq;
    }

    /** Maps the LPI of an irq to a vLPI of a vCPU; its map. */
    public long vlpi(long desc, long vm, long vcpu, int id) {
        long its = data(desc, 1);
        long device = word(at(its, "irq_data", "chip_data"));
        long event = word(at(its, "irq_data", "hwirq")) - word(at(device, "its_device", "event_map.lpi_base"));
        put(device, "its_device", "event_map.vm", at(vm, "kvm", "arch.vgic.its_vm"));
        put(word(at(its, "irq_data", "common")), "irq_common_data", "state_use_accessors", 1 << 20 | 1 << 9);
        long map = word(at(device, "its_device", "event_map.vlpi_maps")) + event * structure("its_vlpi_map").size;
        put(map, "its_vlpi_map", "vm", at(vm, "kvm", "arch.vgic.its_vm"));
        put(map, "its_vlpi_map", "vpe", at(vcpu, "kvm_vcpu", "arch.vgic_cpu.vgic_v3.its_vpe"));
        put(map, "its_vlpi_map", "vintid", id);
        put(map, "its_vlpi_map", "properties", 0xa3);
        return map;
    }

    private void domain(long at, int number, String chip, long chipData, long parent) {
        put(at, "irq_data", "irq", number);
        put(at, "irq_data", "chip", chip(chip));
        put(at, "irq_data", "chip_data", chipData);
        put(at, "irq_data", "parent_data", parent);
    }

    /** The chip data of a domain of an irq: 0 the device's, 1 the IOMMU's, 2 the vectors'. */
    public long chipData(long desc, int domain) {
        return word(at(data(desc, domain), "irq_data", "chip_data"));
    }

    /** The {@code irq_data} of a domain. */
    public long data(long desc, int domain) {
        long at = at(desc, "irq_desc", "irq_data");
        for (int i = 0; i < domain; i++) {
            at = word(at(at, "irq_data", "parent_data"));
        }
        return at;
    }

    /** Vector and CPU that the vector domain has allocated. */
    public void target(long desc, int vector, int apicId) {
        put(chipData(desc, 2), "apic_chip_data", "hw_irq_cfg.vector", vector);
        put(chipData(desc, 2), "apic_chip_data", "hw_irq_cfg.dest_apicid", apicId);
    }

    private long intel(int index, long low, long high) {
        long own = alloc("intel_ir_data");
        put(own, "intel_ir_data", "irq_2_iommu.iommu", iommu);
        put(own, "intel_ir_data", "irq_2_iommu.irte_index", index);
        word(at(own, "intel_ir_data", "irte_entry"), low);
        word(at(own, "intel_ir_data", "irte_entry") + 8, high);
        word(entry(index, 0), low);
        word(entry(index, 0) + 8, high);
        return own;
    }

    private long amd(int index, int source, long low, long high) {
        if (word(tables + source * 8L) == 0) {
            long table = alloc("irq_remap_table");
            put(table, "irq_remap_table", "table", alloc(512 * 16, 128));
            word(tables + source * 8L, table);
        }
        long own = alloc("amd_ir_data");
        put(own, "amd_ir_data", "iommu", iommu);
        put(own, "amd_ir_data", "irq_2_irte.devid", source);
        put(own, "amd_ir_data", "irq_2_irte.index", index);
        long copy = alloc(16, 16);
        put(own, "amd_ir_data", "entry", copy);
        for (long at : new long[] {copy, entry(index, source)}) {
            word(at, low);
            word(at + 8, high);
        }
        return own;
    }

    /** The address of an entry in its table. */
    public long entry(int index, int source) {
        long base = unit == Vendor.INTEL ? tables : word(at(word(tables + source * 8L), "irq_remap_table", "table"));
        return base + index * 16L;
    }

    /** A VM that a thread made. */
    public long vm(int thread) {
        long vm = alloc("kvm");
        put(vm, "kvm", "userspace_pid", thread);
        long routes = alloc((int) place("kvm_irq_routing_table", "map").offset + GSIS * 8, 64);
        put(routes, "kvm_irq_routing_table", "nr_rt_entries", GSIS);
        put(vm, "kvm", "irq_routing", routes);
        long items = at(vm, "kvm", "irqfds.items");
        emptyList(items);
        vms.add(vm);
        return vm;
    }

    private void emptyList(long head) {
        word(head, head);
        word(head + 8, head);
    }

    /** The next vCPU of a VM, with a LAPIC; its id is {@code id}. */
    public long vcpu(long vm, int id) {
        boolean intel = unit == Vendor.INTEL;
        long vcpu = alloc(structure(intel ? "vcpu_vmx" : "vcpu_svm").size, 64);
        put(vcpu, "kvm_vcpu", "kvm", vm);
        put(vcpu, "kvm_vcpu", "vcpu_id", id);
        long lapic = alloc("kvm_lapic");
        put(lapic, "kvm_lapic", "regs", alloc(PAGE, PAGE));
        put(vcpu, "kvm_vcpu", "arch.apic", lapic);
        put(lapic, "kvm_lapic", "apicv_active", 1);
        if (intel) {
            emptyList(wakeUpList(vcpu));
            state(vcpu, 0xf2 << 16);
        }
        if (!intel) {
            emptyList(at(vcpu, "vcpu_svm", "ir_list"));
            if (structure("vcpu_svm").members.containsKey("avic_physical_id_cache")) {
                put(vcpu, "vcpu_svm", "avic_physical_id_cache", alloc(8, 8));
            }
        }
        long online = at(vm, "kvm", "online_vcpus");
        int index = (int) word(online);
        put(vm, "kvm", "online_vcpus", index + 1);
        long head = at(vm, "kvm", "vcpu_array.xa_head");
        if (index == 0) {
            word(head, vcpu);
        } else if (index == 1) {
            long node = alloc("xa_node");
            word(at(node, "xa_node", "slots"), word(head));
            word(head, node | 2);
        }
        if (index > 0) {
            word(at(word(head) - 2, "xa_node", "slots") + index * 8L, vcpu);
        }
        return vcpu;
    }

    /** The physical address that hardware posts to for a vCPU. */
    public long target(long vcpu) {
        return unit == Vendor.INTEL ? descriptor(vcpu) - HEAP : registers(vcpu) - HEAP;
    }

    private long descriptor(long vcpu) {
        boolean isOld = structure("vcpu_vmx").members.containsKey("pi_desc");
        return at(vcpu, "vcpu_vmx", isOld ? "pi_desc" : "vt.pi_desc");
    }

    private long wakeUpList(long vcpu) {
        boolean isOld = structure("vcpu_vmx").members.containsKey("pi_desc");
        return at(vcpu, "vcpu_vmx", isOld ? "pi_wakeup_list" : "vt.pi_wakeup_list");
    }

    /** Puts the vCPU on the list of a CPU, at {@code head}, or takes it off as {@code list_del()} does. */
    public void wakes(long vcpu, long head) {
        long node = wakeUpList(vcpu);
        if (head == 0) {
            deleted(node);
        } else {
            if (word(head) == 0) {
                emptyList(head);
            }
            append(this, head, node);
        }
    }

    private void deleted(long node) {
        word(word(node + 8), word(node));
        word(word(node) + 8, word(node + 8));
        word(node, 0xdead_0000_0000_0100L);
        word(node + 8, 0xdead_0000_0000_0122L);
    }

    /** The register page of a vCPU's LAPIC. */
    public long registers(long vcpu) {
        return word(at(word(at(vcpu, "kvm_vcpu", "arch.apic")), "kvm_lapic", "regs"));
    }

    /** Writes the vCPU's entry in the physical APIC id table of AVIC, or bits 319:256 of its descriptor. */
    public void state(long vcpu, long value) {
        word(stateAt(vcpu), value);
    }

    /** The address of that. */
    public long stateAt(long vcpu) {
        if (unit == Vendor.INTEL) {
            return descriptor(vcpu) + 32;
        }
        return structure("vcpu_svm").members.containsKey("avic_physical_id_entry")
                ? at(vcpu, "vcpu_svm", "avic_physical_id_entry")
                : word(at(vcpu, "vcpu_svm", "avic_physical_id_cache"));
    }

    /** Lets KVM have a record that an irq is posted to a vCPU, as far as this kernel keeps one. */
    public void posts(long desc, long irqfd, long vcpu) {
        if (structure("kvm_kernel_irqfd").members.containsKey("irq_bypass_vcpu")) {
            put(irqfd, "kvm_kernel_irqfd", "irq_bypass_vcpu", vcpu);
        } else if (unit == Vendor.AMD) {
            long node = alloc("amd_svm_iommu_ir");
            put(node, "amd_svm_iommu_ir", "data", chipData(desc, 1));
            append(this, at(vcpu, "vcpu_svm", "ir_list"), node);
        }
    }

    private static void append(KernelImage image, long head, long node) {
        long last = image.word(head + 8);
        image.word(last, node);
        image.word(node, head);
        image.word(node + 8, last);
        image.word(head + 8, node);
    }

    /** An irqfd with a route of its own, paired with a host irq unless that is 0. */
    public long irqfd(long vm, long eventfd, int gsi, int producer, MsiMessage message) {
        long irqfd = alloc("kvm_kernel_irqfd");
        put(irqfd, "kvm_kernel_irqfd", "kvm", vm);
        put(irqfd, "kvm_kernel_irqfd", "eventfd", eventfd);
        put(irqfd, "kvm_kernel_irqfd", "gsi", gsi);
        message(irqfd, "kvm_kernel_irqfd", "irq_entry.", gsi, message);
        if (producer != 0) {
            long from = alloc("irq_bypass_producer");
            put(from, "irq_bypass_producer", "irq", producer);
            put(irqfd, "kvm_kernel_irqfd", "producer", from);
        }
        append(this, at(vm, "kvm", "irqfds.items"), at(irqfd, "kvm_kernel_irqfd", "list"));
        long route = alloc("kvm_kernel_irq_routing_entry");
        message(route, "kvm_kernel_irq_routing_entry", "", gsi, message);
        word(slot(vm, gsi), at(route, "kvm_kernel_irq_routing_entry", "link"));
        return irqfd;
    }

    /** Takes an irqfd off the list of its VM. Its record, and the entry, stay as they are. */
    public void deassign(long irqfd) {
        long node = at(irqfd, "kvm_kernel_irqfd", "list");
        word(word(node + 8), word(node));
        word(word(node) + 8, word(node + 8));
        emptyList(node);
    }

    private void message(long at, String type, String path, int gsi, MsiMessage message) {
        put(at, type, path + "gsi", gsi);
        put(at, type, path + "type", 2);
        put(at, type, path + "msi.address_lo", message.address());
        put(at, type, path + "msi.address_hi", message.address() >>> 32);
        put(at, type, path + "msi.data", message.data());
    }

    private long slot(long vm, int gsi) {
        return at(word(at(vm, "kvm", "irq_routing")), "kvm_irq_routing_table", "map") + gsi * 8L;
    }

    /** The route of a GSI. */
    public long route(long vm, int gsi) {
        return word(slot(vm, gsi)) - place("kvm_kernel_irq_routing_entry", "link").offset;
    }

    private void tree() {
        long tree = symbol(hasMaple ? "sparse_irqs" : "irq_desc_tree");
        if (irqs.isEmpty()) {
            return;
        }
        if (!hasMaple) {
            radix(irqs, at(tree, "xarray", "xa_head"));
            return;
        }
        List<Part> parts = leaves();
        while (parts.size() > 1) {
            parts = above(parts);
        }
        Part root = parts.get(0);
        word(root.node, tree | 1);
        word(at(tree, "maple_tree", "ma_root"), root.node | root.type << 3 | 6);
    }

    private void radix(TreeMap<Integer, Long> entries, long head) {
        int shift = 0;
        while (entries.lastKey() >>> shift >= 64) {
            shift += 6;
        }
        word(head, radix(entries, 0, shift, 0) | 2);
    }

    private long radix(TreeMap<Integer, Long> entries, int from, int shift, long parent) {
        long node = alloc("xa_node");
        put(node, "xa_node", "shift", shift);
        put(node, "xa_node", "parent", parent);
        for (int i = 0; i < 64; i++) {
            int first = from + (i << shift);
            Map<Integer, Long> in = entries.subMap(first, first + (1 << shift));
            if (!in.isEmpty()) {
                word(
                        at(node, "xa_node", "slots") + i * 8L,
                        shift == 0 ? in.get(first) : radix(entries, first, shift - 6, node) | 2);
            }
        }
        return node;
    }

    /** Irqs that follow each other share a leaf; the ranges between them have no entry. */
    private List<Part> leaves() {
        List<Part> leaves = new ArrayList<>();
        List<Integer> numbers = new ArrayList<>(irqs.keySet());
        long next = 0;
        for (int i = 0; i < numbers.size(); ) {
            long leaf = alloc(NODE, NODE);
            int slot = 0;
            while (i < numbers.size() && slot < 13) {
                int number = numbers.get(i);
                if (number > next) {
                    slot(leaf, "maple_range_64", slot, 0, number - 1L);
                    slot++;
                }
                slot(leaf, "maple_range_64", slot, irqs.get(number), number);
                slot++;
                next = number + 1L;
                i++;
            }
            if (i == numbers.size()) {
                slot(leaf, "maple_range_64", slot, 0, -1);
            }
            leaves.add(new Part(leaf, LEAF, i == numbers.size() ? -1 : next - 1));
        }
        return leaves;
    }

    private void slot(long node, String type, int slot, long value, long pivot) {
        word(at(node, type, "slot") + slot * 8L, value);
        word(at(node, type, "pivot") + slot * 8L, pivot);
    }

    private List<Part> above(List<Part> parts) {
        List<Part> nodes = new ArrayList<>();
        for (int i = 0; i < parts.size(); i += 9) {
            long node = alloc(NODE, NODE);
            List<Part> own = parts.subList(i, Math.min(parts.size(), i + 9));
            for (int slot = 0; slot < own.size(); slot++) {
                Part part = own.get(slot);
                slot(node, "maple_arange_64", slot, part.node | part.type << 3 | 4, part.max);
                word(part.node, node | slot << 3 | 6);
            }
            nodes.add(new Part(node, ARANGE, own.get(own.size() - 1).max));
        }
        return nodes;
    }

    private boolean finished;

    /** Links the tree of irqs and the list of VMs; they are as they are then. */
    public KernelImage finish() {
        if (!finished) {
            finished = true;
            tree();
            lpis.forEach((vm, all) -> radix(all, at(vm, "kvm", "arch.vgic.lpi_xa.xa_head")));
            long head = symbol("vm_list");
            emptyList(head);
            vms.forEach(vm -> append(this, head, at(vm, "kvm", "vm_list")));
        }
        return this;
    }

    /** Writes the memory as an ELF core file. */
    public Path write(Path file) throws IOException {
        finish();
        ByteBuffer head = ByteBuffer.allocate(PAGE).order(ByteOrder.nativeOrder());
        head.putInt(0x464c457f).put(new byte[] {2, 1, 1, 0}).position(0x10);
        head.putShort((short) 4)
                .putShort((short) 62)
                .putInt(1)
                .putLong(0)
                .putLong(64)
                .putLong(0)
                .putInt(0);
        head.putShort((short) 64).putShort((short) 56).putShort((short) 3);
        program(head.position(64), 4, 0, 0, 0);
        program(head, 1, PAGE, DATA, DATA_SIZE);
        program(head, 1, PAGE + DATA_SIZE, HEAP, heap.capacity());
        try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
            out.setLength(0);
            out.write(head.array());
            out.write(data.array());
            out.write(heap.array(), 0, used);
            out.setLength(PAGE + DATA_SIZE + heap.capacity());
        }
        return file;
    }

    /** A change of the file of an image. */
    public interface Change {
        void of(RandomAccessFile file) throws IOException;
    }

    /** The memory in a file that changes before some of the reads that have an address. */
    public Known<KernelStructures> changing(Path core, long address, int reads, Change change) throws IOException {
        RandomAccessFile file = new RandomAccessFile(write(core).toFile(), "rw");
        long place = offset(address);
        int[] left = {reads};
        return KernelStructures.open(
                files(),
                () -> KernelMemory.open(
                        "kcore",
                        (into, position) -> {
                            if (left[0] > 0 && position <= place && place < position + into.remaining()) {
                                left[0]--;
                                change.of(file);
                            }
                            return file.getChannel().read(into, position);
                        },
                        file));
    }

    private static void program(ByteBuffer head, int type, long offset, long address, long size) {
        head.putInt(type)
                .putInt(0)
                .putLong(offset)
                .putLong(address)
                .putLong(0)
                .putLong(size)
                .putLong(size)
                .putLong(0);
    }

    /** The offset of an address in the file. */
    public long offset(long address) {
        return address >= DATA ? address - DATA + PAGE : address - HEAP + PAGE + DATA_SIZE;
    }

    /** The bytes of the heap that structures use. */
    public int used() {
        return used;
    }

    /** Symbols as text, with others around them. */
    public String kallsyms() {
        StringBuilder text = new StringBuilder("0000000000000000 A fixed_percpu_data\n");
        symbols.forEach((name, address) -> text.append(String.format("%016x d %s\n", address, name)));
        return text.append("ffffffffc0000000 t cleanup_module\t[kvm]\n").toString();
    }

    /** The host's files that describe the memory. */
    public Map<String, byte[]> contents() {
        Btf base = new Btf(kernel, null);
        Map<String, byte[]> contents = new HashMap<>();
        contents.put("proc/kallsyms", kallsyms().getBytes(StandardCharsets.UTF_8));
        contents.put("sys/kernel/btf/vmlinux", base.file());
        modules.forEach((name, structures) -> {
            Btf module = new Btf(structures, base);
            enums.forEach(module::values);
            contents.put("sys/kernel/btf/" + name, module.file());
        });
        return contents;
    }

    public HostFiles files() {
        return HostFiles.of(contents(), Map.of());
    }

    /** A writer of BTF. Numbers of 1, 2, 4 and 8 bytes are the types 1 to 4, which a module takes from its kernel. */
    private static final class Btf {
        private final ByteArrayOutputStream names = new ByteArrayOutputStream();
        private final ByteBuffer types = ByteBuffer.allocate(1 << 16).order(ByteOrder.nativeOrder());
        private final Map<String, Integer> ids = new HashMap<>();
        private final int before;
        private final int strings;
        private int count;

        Btf(Map<String, Structure> of, @Nullable Btf base) {
            before = base == null ? 0 : base.count;
            strings = base == null ? 0 : base.names.size();
            names.write(0);
            if (base != null) {
                ids.putAll(base.ids);
            }
            for (int i = 0; i < 4 && base == null; i++) {
                add("number" + i, 1 << 24, 1 << i);
                types.putInt(8 << i);
            }
            // Parts come before the structures that have them.
            of.values().stream()
                    .flatMap(structure -> structure.members.values().stream())
                    .filter(member -> member.type.isEmpty() && Integer.bitCount(member.size) != 1 || member.size > 8)
                    .map(Member::size)
                    .distinct()
                    .forEach(size -> ids.put("of " + size, add("", 4 << 24, size)));
            List<String> left = new ArrayList<>(of.keySet());
            while (!left.isEmpty()) {
                String name = left.stream()
                        .filter(text -> of.get(text).members.values().stream()
                                .allMatch(member -> member.type.isEmpty() || ids.containsKey(member.type)))
                        .findFirst()
                        .orElseThrow();
                left.remove(name);
                struct(name, of.get(name));
            }
        }

        private void struct(String name, Structure structure) {
            // With the flag in bit 31, the widths of bit-fields stand above the offsets.
            boolean hasBits = structure.members.values().stream().anyMatch(member -> member.bit >= 0);
            ids.put(name, add(name, (hasBits ? 1 << 31 : 0) | 4 << 24 | structure.members.size(), structure.size));
            structure.members.forEach((member, place) -> {
                types.putInt(name(member));
                types.putInt(
                        !place.type.isEmpty()
                                ? ids.get(place.type)
                                : ids.getOrDefault("of " + place.size, Integer.numberOfTrailingZeros(place.size) + 1));
                types.putInt((int) place.offset * 8 + (place.bit < 0 ? 0 : 1 << 24 | place.bit));
            });
        }

        void values(String name, List<String> values) {
            add(name, 6 << 24 | values.size(), 4);
            for (int i = 0; i < values.size(); i++) {
                types.putInt(name("APICV_INHIBIT_REASON_" + values.get(i))).putInt(i);
            }
        }

        private int add(String name, int info, int size) {
            types.putInt(name(name)).putInt(info).putInt(size);
            count++;
            return before + count;
        }

        private int name(String name) {
            if (name.isEmpty()) {
                return 0;
            }
            int at = strings + names.size();
            names.writeBytes((name + "\0").getBytes(StandardCharsets.UTF_8));
            return at;
        }

        byte[] file() {
            byte[] text = names.toByteArray();
            ByteBuffer file =
                    ByteBuffer.allocate(24 + types.position() + text.length).order(ByteOrder.nativeOrder());
            file.putShort((short) 0xeb9f).put((byte) 1).put((byte) 0).putInt(24);
            file.putInt(0).putInt(types.position()).putInt(types.position()).putInt(text.length);
            return file.put(types.array(), 0, types.position()).put(text).array();
        }
    }
}
