/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.fake.file.IrqHardware;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The ITS of an arm64 host. A device's message makes a host interrupt or, with GICv4, a vLPI pending. */
public final class GicHardware implements IrqHardware {
    /** The first host irq of a vPE. */
    private static final int FIRST_VPE = 512;

    /** A VM, as the host's ITS knows it. */
    interface Guest {
        boolean isClosed();

        /** The number of rings of each vPE's doorbell. */
        int[] doorbells();

        /** Returns whether the message of a device became a pending vLPI. */
        boolean receive(int hostIrq);
    }

    private final boolean gicv4;
    private final List<Guest> vms = new ArrayList<>();

    /** @param gicv4 whether the host has a GICv4 and KVM uses it */
    public GicHardware(boolean gicv4) {
        this.gicv4 = gicv4;
    }

    void add(Guest vm) {
        vms.removeIf(Guest::isClosed);
        vms.add(vm);
    }

    /** Returns files with the kernel's command line and, in /proc/interrupts, the rows of doorbells. */
    @Override
    public Map<String, String> files() {
        StringBuilder rows = new StringBuilder();
        int irq = FIRST_VPE;
        for (Guest vm : vms) {
            for (int count : vm.doorbells()) {
                rows.append(String.format("%3d:  %d  GICv4-vpe  %d-edge  vcpu\n", irq, count, irq - FIRST_VPE));
                irq++;
            }
        }
        return Map.of(
                "proc/cmdline",
                gicv4 ? "ro kvm-arm.vgic_v4_enable=1" : "ro",
                "sys/class/iommu/smmu3.0x0000000009050000/uevent",
                "",
                "proc/interrupts",
                rows.toString());
    }

    static final class Event implements Entry {
        private @Nullable Guest vm;
        private int hostIrq;

        /** Sets the VM that decides whether KVM has mapped the event to a vLPI. */
        void mapTo(Guest to, int number) {
            vm = to;
            hostIrq = number;
        }

        @Override
        public boolean request() {
            return vm == null || !vm.receive(hostIrq);
        }

        @Override
        public void free() {
            vm = null;
        }
    }

    @Override
    public Entry allocate(int requester) {
        return new Event();
    }
}
