/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.GuestMsix;
import io.kvmirq.undo.Undo;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** Mistakes with a device, and the sentence that each gets. */
@SuppressWarnings("NullAway") // null is one of the mistakes
class DeviceMistakesTest {
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));

    private static String sentence(Runnable mistake) {
        try {
            mistake.run();
            return "accepted in silence";
        } catch (RuntimeException e) {
            return e.getClass().getSimpleName() + ": " + e.getMessage();
        }
    }

    @Test
    void eachHasASentence() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
        FakePciDevice hardware =
                fake.pciDevice("0000:3b:00.0", 7).msix(8).bar(0, 0x1000).add();
        fake.pciDevice("0000:3c:00.0", 8).msix(8).add();
        Map<String, String> table = new LinkedHashMap<>();
        try (Undo open = new Undo()) {
            Kernel kernel = open.add(fake.open());
            Vm vm = open.add(Vm.create(kernel));
            vm.x86().createIrqchip();
            VfioDevice nic = open.add(VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0")));
            VfioDevice other = open.add(VfioDevice.open(kernel, PciAddress.parse("0000:3c:00.0")));
            Forwarding forwarding = open.add(Forwarding.create(vm, nic));
            EventFd event = open.add(EventFd.create(kernel));
            table.put("get(8) of 8 vectors", sentence(() -> nic.msix().get(8)));
            table.put("arm(event, null)", sentence(() -> nic.msix(0, 2).arm(Arrays.asList(event, null))));
            table.put(
                    "forwardAll with null",
                    sentence(() -> forwarding.forwardAll(nic.msix(0, 3), i -> i == 1 ? null : MESSAGE)));
            table.put(
                    "GuestMsix of another device",
                    sentence(() -> new GuestMsix(forwarding, other, OptionalInt.empty()).isEnabled()));
            table.put("pciDevice in group -1", sentence(() -> fake.pciDevice("0000:3d:00.0", -1)));
            table.put("register beyond a BAR", sentence(() -> hardware.register(0, 0x1000)));
            table.put("setRegister before a BAR", sentence(() -> hardware.setRegister(0, -4, 1)));
            assertThat(forwarding.irqs()).isEmpty();
        }
        assertThat(table).containsExactlyEntriesOf(expected());
    }

    private static Map<String, String> expected() {
        Map<String, String> table = new LinkedHashMap<>();
        table.put(
                "get(8) of 8 vectors",
                "IndexOutOfBoundsException: index 8 is not one of these 8 vectors of 0000:3b:00.0: expected 0 to 7");
        table.put(
                "arm(event, null)",
                "NullPointerException: events contains null for vector 1: pass an eventfd, or leave the vector silent"
                        + " with armSome");
        table.put(
                "forwardAll with null",
                "NullPointerException: messages returned null for vector 1: return the message to send");
        table.put(
                "GuestMsix of another device",
                "IllegalArgumentException: forwarding of 0000:3b:00.0 to vm (fd 4) is not that of 0000:3c:00.0:"
                        + " create the Forwarding of this device with this handle");
        table.put("pciDevice in group -1", "IllegalArgumentException: IOMMU group -1 is invalid: expected 0 or more");
        table.put(
                "register beyond a BAR",
                "IndexOutOfBoundsException: offset 4096 is not a register of BAR 0, which has 4096 bytes: expected 0 to"
                        + " 4092");
        table.put(
                "setRegister before a BAR",
                "IndexOutOfBoundsException: offset -4 is not a register of BAR 0, which has 4096 bytes: expected 0 to"
                        + " 4092");
        return table;
    }
}
