/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.HostIrq;
import io.kvmirq.path.Known;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * The host's LPIs, and the vLPIs that they are mapped to on GICv4.
 *
 * <p>Source: drivers/irqchip/irq-gic-v3-its.c ({@code struct its_device}, {@code its_vlpi_map()}, {@code its_vlpi_unmap()}),
 * include/linux/irqchip/arm-gic-v4.h, arch/arm64/kvm/vgic/vgic-v4.c ({@code kvm_vgic_v4_set_forwarding()}).
 */
final class Lpis {
    /** {@code IRQD_FORWARDED_TO_VCPU} of include/linux/irq.h. While it is not set, the driver's map may be freed memory. */
    private static final int TO_VCPU = 1 << 20;
    /** {@code GIC_LPI_OFFSET}. */
    private static final int FIRST = 8192;

    private static final int MOST_EVENTS = 1 << 16;
    private static final int PRIORITY = 0xfc;
    private static final int ENABLED = 1;

    private static final String LPIS = "arch.vgic.lpi_xa.xa_head";
    private static final String VPE = "arch.vgic_cpu.vgic_v3.its_vpe";

    private final KernelMemory memory;
    private final Types types;
    private final Layout vm;
    private final Layout vcpu;

    Lpis(KernelMemory memory, Types types) {
        this.memory = memory;
        this.types = types;
        vm = types.ofModule(Irqfds.KVM, "kvm", "userspace_pid", "arch.vgic.its_vm", "?" + LPIS);
        vcpu = types.ofModule(Irqfds.KVM, "kvm_vcpu", "kvm", "vcpu_id", "vcpu_idx", VPE);
    }

    private Layout.Snapshot at(long address, String type, String... members) {
        return types.layout(type, members).at(memory, address);
    }

    /**
     * @param address of the irq's data of its ITS
     * @param irqfd the VM of the irqfd of its eventfd
     */
    HostLpi of(HostIrq irq, long address, Supplier<Known<Long>> irqfd) {
        Layout.Snapshot here = at(address, "irq_data", "irq", "hwirq", "common", "chip_data");
        String map = "event_map.";
        Layout.Snapshot device = at(
                here.pointer("chip_data"),
                "its_device",
                map + "lpi_base",
                map + "nr_lpis",
                map + "vm",
                map + "vlpi_maps");
        long id = here.number("hwirq");
        long event = id - device.number(map + "lpi_base");
        long events = device.number(map + "nr_lpis");
        if (here.number("irq") != irq.number() || id < FIRST || event < 0 || event >= Math.min(events, MOST_EVENTS)) {
            throw Unseen.wrong("irq_data.hwirq is " + id + ", expected an LPI of the device, which has " + events);
        }
        long state = at(here.pointer("common"), "irq_common_data", "state_use_accessors")
                .number("state_use_accessors");
        return new HostLpi((state & TO_VCPU) != 0 ? Optional.of(vlpi(device, event, irqfd.get())) : Optional.empty());
    }

    private HostLpi.Vlpi vlpi(Layout.Snapshot device, long event, Known<Long> irqfd) {
        long at = device.pointer("event_map.vlpi_maps") + event * types.size("its_vlpi_map");
        Layout.Snapshot mapped = at(at, "its_vlpi_map", "vm", "vpe", "vintid", "properties");
        long guest = mapped.pointer("vm");
        if (guest != device.number("event_map.vm")) {
            throw Unseen.torn("its_vlpi_map.vm");
        }
        Layout.Snapshot owner = vm.at(memory, guest - vm.offset("arch.vgic.its_vm"));
        long vpe = mapped.pointer("vpe");
        if (at(vpe, "its_vpe", "its_vm").number("its_vm") != guest) {
            throw Unseen.torn("its_vpe.its_vm");
        }
        long id = mapped.number("vintid");
        long properties = mapped.number("properties");
        Layout.Snapshot to = vcpu(vpe - vcpu.offset(VPE), owner);
        return new HostLpi.Vlpi(
                Irqfds.thread(owner),
                irqfd.known().map(vm -> vm == owner.address()),
                id,
                Vcpus.id(to),
                (int) to.number("vcpu_idx"),
                properties(properties, properties),
                vm.has(LPIS) ? Optional.of(recorded(owner, id)) : Optional.empty());
    }

    private static int properties(long priority, long enabled) {
        return (int) (priority & PRIORITY | enabled & ENABLED);
    }

    private Layout.Snapshot vcpu(long address, Layout.Snapshot owner) {
        return Vcpus.checked(vcpu.at(memory, address), owner.address());
    }

    private HostLpi.Recorded recorded(Layout.Snapshot owner, long id) {
        long head = owner.address() + vm.offset(LPIS);
        long entry = IrqTree.inXarray(memory, types, head, id, "vgic_dist.lpi_xa");
        if (entry == 0) {
            return new HostLpi.Recorded(Optional.empty(), Optional.empty(), 0);
        }
        Layout.Snapshot found = at(entry, "vgic_irq", "intid", "hw", "host_irq", "target_vcpu", "priority", "enabled");
        if (found.number("intid") != id) {
            throw Unseen.torn("vgic_irq.intid");
        }
        long target = found.number("target_vcpu");
        return new HostLpi.Recorded(
                found.number("hw") == 0 ? Optional.empty() : Optional.of(found.number("host_irq")),
                target == 0 ? Optional.empty() : Optional.of(Vcpus.id(vcpu(target, owner))),
                properties(found.number("priority"), found.number("enabled")));
    }
}
