/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The verdict on an INTx line, and the conflicts of an exclusive one, on hosts with one and with two guests. */
class IntxRemarksTest {
    private static final String NOINTXMASK = "sys/module/vfio_pci/parameters/nointxmask";
    private static final String SECOND_IRQ = "sys/bus/pci/devices/0000:00:03.0/irq";
    private static final String DEVICE = "0000:00:02.0";
    private static final String QEMU = "/usr/bin/qemu-system-x86_64 -name guest=web,debug-threads=on";

    /** Guest web has the first device, whose INTx is armed; the second device may be on the same line. */
    private static RecordedHost host(String nointxmask, String handlers) throws IOException {
        return GuestHosts.guest(RecordedHost.of("amd-7.1"), "02", QEMU)
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs")
                .put("proc/interrupts", " CPU0\n 22:  7  IR-IO-APIC  22-fasteoi   " + handlers + "\n")
                .put(NOINTXMASK, nointxmask + "\n");
    }

    private static RecordedHost exclusive() throws IOException {
        return host("Y", "vfio-intx(0000:00:02.0)");
    }

    /** A process with the second device. */
    private static RecordedHost secondGuest(RecordedHost host) {
        return host.put("proc/200/comm", "qemu-system-x86\n")
                .put("proc/200/cmdline", "qemu-system-x86_64\0-name\0db\0")
                .link("proc/200/fd/3", "anon_inode:kvm-vm")
                .link("proc/200/fd/4", "anon_inode:[vfio-device]")
                .put("proc/200/fdinfo/4", "vfio-device-syspath: /sys/devices/pci0000:00/0000:00:03.0\n");
    }

    private static List<String> remarks(RecordedHost host) {
        HostFacts facts = new HostFacts(host.tree());
        return DeviceChains.read(facts, facts.pci(PciAddress.parse(DEVICE)).orElseThrow())
                .get(0)
                .remarks();
    }

    private static String here(RecordedHost host, Breakage conflict) {
        String begin = "exclusive line: " + conflict.text() + "; here, ";
        return remarks(host).stream()
                .filter(remark -> remark.startsWith(begin))
                .map(remark -> remark.substring(begin.length()))
                .findFirst()
                .orElse("");
    }

    // The verdict

    @Test
    void exclusiveLineIsAVerdictWithThreeConflicts() throws IOException {
        assertThat(remarks(exclusive()))
                .startsWith(
                        "no other handler uses host irq 22",
                        "VFIO requests host irq 22 exclusively, because nointxmask of vfio-pci is Y",
                        "direct EOI would be refused: the guest's EOI does not deactivate the physical interrupt, so the"
                                + " line would fire again at once",
                        "exclusive line: of two VMs with devices on the line, only the first gets it; the other fails"
                                + " with EBUSY; here, no device of another VM is seen on the line",
                        "exclusive line: a VM that switched to MSI frees the line, another VM takes it, and the first"
                                + " fails at its next reboot; here, no device of another VM is seen on the line",
                        "exclusive line: a VM with two devices on the line cannot start, because the second device fails with"
                                + " EBUSY; here, no device of the same VM is seen on the line");
    }

    @Test
    void shareableLineHasNoConflict() throws IOException {
        RecordedHost host = host("N", "vfio-intx(0000:00:02.0)");
        assertThat(remarks(host))
                .contains("VFIO requests host irq 22 as shareable, because nointxmask of vfio-pci is N, and PCI Express"
                        + " devices"
                        + " have DisINTx, except those that Linux lists as broken")
                .noneMatch(remark -> remark.startsWith("exclusive line"));
        assertThat(remarks(host("Y", "ehci_hcd:usb1, vfio-intx(0000:00:02.0)")))
                .as("the kernel granted two handlers")
                .contains("VFIO requests host irq 22 as shareable, because it has other handlers besides VFIO's")
                .noneMatch(remark -> remark.startsWith("exclusive line"));
    }

    @Test
    void parameterThatIsNotReadIsNotLookedAt() throws IOException {
        assertThat(remarks(exclusive().deny(NOINTXMASK)))
                .contains(
                        "it is not known whether VFIO requests host irq 22 exclusively: /" + NOINTXMASK
                                + " cannot be read by this user (to see it, run as root)",
                        "direct EOI would be refused: the guest's EOI does not deactivate the physical interrupt, so the"
                                + " line would fire again at once")
                .noneMatch(remark -> remark.startsWith("exclusive line"));
    }

    /** On a GIC the guest's EOI ends the interrupt, so the request decides. */
    @Test
    void directEoiFollowsTheRequestOnAGic() throws IOException {
        String rows = " CPU0\n 22:  7  GICv3  37 Level  vfio-intx(0000:00:02.0)\n";
        assertThat(remarks(exclusive().put("proc/interrupts", rows))).contains("direct EOI would be allowed");
        assertThat(remarks(host("N", "").put("proc/interrupts", rows)))
                .contains(
                        "direct EOI would be refused: the line is requested as shareable, so a device that comes later"
                                + " would wait for this guest's EOI");
        assertThat(remarks(host("?", "").put("proc/interrupts", rows)))
                .contains("direct EOI would be allowed or refused depending on how VFIO requests the line");
    }

    // The conflicts of 2017

    @Test
    void twoVmsRaceForTheLine() throws IOException {
        RecordedHost host = exclusive().put(SECOND_IRQ, "22\n");
        assertThat(here(host, Breakage.TWO_VMS))
                .isEqualTo("the line is shared with 0000:00:03.0, which is assigned" + " to no visible guest");
        assertThat(here(secondGuest(host), Breakage.TWO_VMS))
                .isEqualTo("the line is shared with 0000:00:03.0 of guest" + " db (process 200)");
        assertThat(here(host, Breakage.TWO_DEVICES)).isEqualTo("no device of the same VM is seen on the line");
        assertThat(here(host.put(SECOND_IRQ, "23\n"), Breakage.TWO_VMS))
                .as("another line")
                .isEqualTo("no device of another VM is seen on the line");
        host.put(SECOND_IRQ, "22\n").link("sys/bus/pci/devices/0000:00:03.0/driver", "../ehci_hcd");
        assertThat(here(host, Breakage.TWO_VMS))
                .as("a device of the host")
                .isEqualTo("no device of another VM is seen on the line");
    }

    @Test
    void twoDevicesOfOneVmShareTheLine() throws IOException {
        RecordedHost host = exclusive()
                .put(SECOND_IRQ, "22\n")
                .link("proc/100/fd/30", "anon_inode:[vfio-device]")
                .put("proc/100/fdinfo/30", "vfio-device-syspath: /sys/devices/pci0000:00/0000:00:03.0\n");
        assertThat(here(host, Breakage.TWO_DEVICES))
                .isEqualTo("the line is shared with 0000:00:03.0 of guest web (process 100)");
        assertThat(here(host, Breakage.TWO_VMS)).isEqualTo("no device of another VM is seen on the line");
    }

    /** Guest web uses MSI-X, as it was recorded; guest db has taken the line. */
    @Test
    void guestThatSwitchedToMessagesFailsAtItsNextReboot() throws IOException {
        RecordedHost host = secondGuest(GuestHosts.guest(RecordedHost.of("amd-7.1"), "02", QEMU));
        String rows = host.tree().text("proc/interrupts").orElse("") + "\n";
        host.put(SECOND_IRQ, "22\n").put(NOINTXMASK, "Y\n");
        assertThat(here(host, Breakage.LATER_REBOOT))
                .as("it is free")
                .isEqualTo("the line is shared with 0000:00:03.0 of guest db (process 200)");
        host.put("proc/interrupts", rows + " 22:  7  0  IR-IO-APIC  22-fasteoi   vfio-intx(0000:00:03.0)\n");
        assertThat(here(host, Breakage.LATER_REBOOT))
                .isEqualTo("vfio-intx(0000:00:03.0) uses the line, and this guest uses messages now");
        assertThat(here(host.put(NOINTXMASK, "N\n"), Breakage.LATER_REBOOT)).isEmpty();
        host.put(NOINTXMASK, "Y\n").put("proc/interrupts", rows).put(SECOND_IRQ, "23\n");
        assertThat(here(host, Breakage.LATER_REBOOT)).as("nothing competes").isEmpty();
    }
}
