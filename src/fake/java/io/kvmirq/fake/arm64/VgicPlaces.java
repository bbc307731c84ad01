/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VgicAnswer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The guest physical addresses of a VGIC; source: {@code vgic_check_iorange()} in vgic-kvm-device.c, {@code
 * vgic_v3_alloc_redist_region()} in vgic-mmio-v3.c.
 */
final class VgicPlaces {
    /** VGIC_ADDR_UNDEF. */
    static final long NOWHERE = -1;

    static final long PAGE = 0x1_0000;
    static final long PAGE_OF_GICV2 = 0x1000;
    private static final long CPU_INTERFACE_SIZE = 2 * PAGE_OF_GICV2;
    private static final long REPAGE = 2 * PAGE;

    /** A region of {@code count} consecutive redistributors; 0 for one per vCPU. */
    record Region(int index, long base, int count) {
        /** The value of KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION. */
        long word() {
            return index | base | (long) count << 52;
        }
    }

    private record Slot(Region region, int number) {}

    private final FakeArmVm vm;
    private final List<Region> regions = new ArrayList<>();
    /** The number of redistributors in use in each region. */
    private final List<Integer> taken = new ArrayList<>();

    private final Map<ArmVcpu, Slot> slots = new HashMap<>();

    private long distributor = NOWHERE;
    /** The address of a GICv2's CPU interface. */
    private long cpuInterface = NOWHERE;

    VgicPlaces(FakeArmVm vm) {
        this.vm = vm;
    }

    long distributor() {
        return distributor;
    }

    Optional<Region> region(int index) {
        return regions.stream().filter(region -> region.index == index).findFirst();
    }

    /** The base address of the first region. */
    long redistributors() {
        return regions.isEmpty() ? NOWHERE : regions.get(0).base;
    }

    /** Whether {@code size} bytes may be at {@code to}; {@code now} is the present address, or {@link #NOWHERE}. */
    static Optional<Answer> check(FakeArmVm vm, long now, long to, long size) {
        return check(vm, now, to, size, PAGE);
    }

    private static Optional<Answer> check(FakeArmVm vm, long now, long to, long size, long page) {
        if (now != NOWHERE) {
            return Optional.of(VgicAnswer.VGIC_PLACE_SET);
        }
        if (to % page != 0 || Long.compareUnsigned(to + size, to) < 0) {
            return Optional.of(VgicAnswer.VGIC_PLACE_ALIGNMENT);
        }
        boolean beyond = to >>> vm.addressBits() != 0 || to + size > 1L << vm.addressBits();
        return beyond ? Optional.of(VgicAnswer.VGIC_PLACE_BEYOND) : Optional.empty();
    }

    /** @param page the size of the distributor: {@link #PAGE}, or {@link #PAGE_OF_GICV2} for a GICv2 */
    Optional<Answer> setDistributor(long to, long page) {
        Optional<Answer> refused = check(vm, distributor, to, page, page);
        if (refused.isEmpty()) {
            distributor = to;
        }
        return refused;
    }

    /** Sets the CPU interface's address. An overlap with the distributor is only found when a vCPU runs. */
    Optional<Answer> setCpuInterface(long to) {
        Optional<Answer> refused = check(vm, cpuInterface, to, CPU_INTERFACE_SIZE, PAGE_OF_GICV2);
        if (refused.isEmpty()) {
            cpuInterface = to;
        }
        return refused;
    }

    long cpuInterface() {
        return cpuInterface;
    }

    /** @param count 0 for a single region for all vCPUs, which has index 0 */
    Optional<Answer> addRegion(int index, long base, int count) {
        long size = size(count);
        Optional<Answer> refused = refuseIndex(index, count);
        if (Long.compareUnsigned(base + size, base) < 0) {
            refused = Optional.of(VgicAnswer.VGIC_PLACE_ALIGNMENT);
        }
        if (refused.isEmpty() && (count == 0 && hitsDistributor(base, size) || hitsRegion(base, size))) {
            refused = Optional.of(VgicAnswer.VGIC_REGION_OVERLAP);
        }
        if (refused.isEmpty()) {
            refused = check(vm, NOWHERE, base, size);
        }
        if (refused.isPresent()) {
            return refused;
        }
        regions.add(new Region(index, base, count));
        taken.add(0);
        return takeAll();
    }

    private Optional<Answer> refuseIndex(int index, int count) {
        if (regions.isEmpty()) {
            return index == 0 ? Optional.empty() : Optional.of(VgicAnswer.VGIC_REGION_INDEX);
        }
        Region last = regions.get(regions.size() - 1);
        if (count == 0) {
            return Optional.of(last.count == 0 ? VgicAnswer.VGIC_PLACE_SET : VgicAnswer.VGIC_REGION_INDEX);
        }
        return index == last.index + 1 ? Optional.empty() : Optional.of(VgicAnswer.VGIC_REGION_INDEX);
    }

    /** Assigns a redistributor to each vCPU without one. On failure, removes the newest region. */
    private Optional<Answer> takeAll() {
        for (ArmVcpu vcpu : vm.vcpus()) {
            Optional<Answer> refused = take(vcpu);
            if (refused.isPresent()) {
                regions.remove(regions.size() - 1);
                taken.remove(taken.size() - 1);
                return refused;
            }
        }
        return Optional.empty();
    }

    /**
     * {@code vgic_register_redist_iodev()}: assigns a free redistributor to a vCPU, if there is one. A single region
     * grows with the number of vCPUs, so addresses are checked again.
     */
    Optional<Answer> take(ArmVcpu vcpu) {
        for (int i = 0; i < regions.size() && !slots.containsKey(vcpu); i++) {
            int count = regions.get(i).count;
            if (count == 0 || taken.get(i) < count) {
                Optional<Answer> refused = refuseGrown();
                if (refused.isPresent()) {
                    return refused;
                }
                slots.put(vcpu, new Slot(regions.get(i), taken.get(i)));
                taken.set(i, taken.get(i) + 1);
            }
        }
        return Optional.empty();
    }

    /** GICR_TYPER.Last. Source: {@code vgic_mmio_vcpu_rdist_is_last()}. */
    boolean isLast(ArmVcpu vcpu) {
        Slot slot = slots.get(vcpu);
        int at = slot == null ? -1 : regions.indexOf(slot.region);
        if (slot == null || at < 0 || slot.number < taken.get(at) - 1) {
            return false;
        }
        long end = slot.region.base + size(slot.region.count);
        for (int i = 0; i < regions.size() && slot.number == slot.region.count - 1; i++) {
            if (regions.get(i).base == end && taken.get(i) > 0) {
                return false;
            }
        }
        return true;
    }

    /** Source: {@code vgic_v3_check_base()} in vgic-v3.c. */
    private Optional<Answer> refuseGrown() {
        boolean beyond = regions.stream().anyMatch(region -> check(vm, NOWHERE, region.base, size(region.count))
                .isPresent());
        if (beyond) {
            return Optional.of(VgicAnswer.VGIC_REGION_GROWN);
        }
        boolean overlaps = distributor != NOWHERE && hitsRegion(distributor, PAGE);
        return overlaps ? Optional.of(VgicAnswer.VGIC_REGION_OVERLAP) : Optional.empty();
    }

    private long size(int count) {
        return REPAGE * (count == 0 ? vm.vcpus().size() : count);
    }

    private boolean hitsDistributor(long base, long size) {
        return distributor != NOWHERE && base + size > distributor && base < distributor + PAGE;
    }

    private boolean hitsRegion(long base, long size) {
        return regions.stream()
                .anyMatch(region -> base + size > region.base && base < region.base + size(region.count));
    }
}
