/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.NotDirect;
import io.kvmirq.host.facts.IntxLine.Request;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The INTx lines of recorded hosts: each file that is planted or missing changes what is said of the line. */
class IntxLineTest {
    private static final String NOINTXMASK = "sys/module/vfio_pci/parameters/nointxmask";
    private static final String INTERRUPTS = "proc/interrupts";
    /** A PCI Express device. */
    private static final String E1000E = "0000:00:02.0";
    /** A conventional PCI device. */
    private static final String EDU = "0000:00:03.0";

    /** A host on which both use INTx, each alone on its line. Rows as the lab's machine shows them. */
    private static RecordedHost armed(String nointxmask) throws IOException {
        return RecordedHost.of("amd-7.1")
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs")
                .put(INTERRUPTS, """
                           CPU0       CPU1
                  9:          0          0  IR-IO-APIC   9-fasteoi   acpi
                 22:          0          0  IR-IO-APIC  22-fasteoi   vfio-intx(0000:00:02.0)
                 23:          0          0  IR-IO-APIC  23-fasteoi   vfio-intx(0000:00:03.0)
                """)
                .put(NOINTXMASK, nointxmask + "\n");
    }

    private static RecordedHost row(RecordedHost host, String handlers) {
        return host.put(INTERRUPTS, " CPU0\n 22:  7  IR-IO-APIC  22-fasteoi   " + handlers + "\n");
    }

    private static IntxLine line(RecordedHost host, String device) {
        HostFacts facts = new HostFacts(host.tree());
        return IntxLine.read(facts, facts.pci(PciAddress.parse(device)).orElseThrow());
    }

    private static Request request(RecordedHost host, String device) {
        return line(host, device).requested().known().orElseThrow().request();
    }

    private static String unknown(Known<?> fact) {
        assertThat(fact).isInstanceOf(Known.Unknown.class);
        Known.Unknown<?> unknown = (Known.Unknown<?>) fact;
        return unknown.why() + "; " + unknown.remedy();
    }

    // The request

    @Test
    void nointxmaskMakesTheRequestExclusive() throws IOException {
        assertThat(request(armed("N"), E1000E)).isEqualTo(Request.SHAREABLE);
        assertThat(request(armed("Y"), E1000E)).isEqualTo(Request.EXCLUSIVE);
        assertThat(request(armed("Y"), EDU)).isEqualTo(Request.EXCLUSIVE);
        assertThat(line(armed("Y"), E1000E).requested().known().orElseThrow().why())
                .isEqualTo("nointxmask of vfio-pci is Y");
    }

    /** The kernel grants no second handler beside an exclusive one. */
    @Test
    void otherHandlersProveThatTheLineIsShareable() throws IOException {
        RecordedHost host = row(armed("Y"), "ehci_hcd:usb1, vfio-intx(0000:00:02.0)");
        assertThat(request(host, E1000E)).isEqualTo(Request.SHAREABLE);
        assertThat(line(host, E1000E).handlers().known()).contains(List.of("ehci_hcd:usb1"));
        assertThat(request(row(host, "ehci_hcd:usb1"), E1000E))
                .as("its own handler is gone")
                .isEqualTo(Request.EXCLUSIVE);
    }

    @Test
    void parameterThatIsNotReadableIsNotLookedAt() throws IOException {
        assertThat(unknown(line(armed("N").remove(NOINTXMASK), E1000E).requested()))
                .isEqualTo("/" + NOINTXMASK + " does not exist; modprobe vfio-pci");
        assertThat(unknown(line(armed("N").deny(NOINTXMASK), E1000E).requested()))
                .isEqualTo("/" + NOINTXMASK + " cannot be read by this user; run as root");
        for (String text : List.of("", "1", "yes", "N\nY")) {
            assertThat(unknown(line(armed(text), E1000E).requested()))
                    .as(text)
                    .isEqualTo("/" + NOINTXMASK + " is neither Y nor N; none");
        }
    }

    // DisINTx

    private static RecordedHost command(RecordedHost host, String device, int high) throws IOException {
        String path = "sys/bus/pci/devices/" + device + "/config";
        byte[] config = host.tree().bytes(path, 256).orElseThrow();
        config[5] = (byte) high;
        return host.putBytes(path, config);
    }

    /** The bit of a conventional device reads 0 without DisINTx, and while the device is not masked. */
    @Test
    void bitThatReadsZeroSaysNothingOfAConventionalDevice() throws IOException {
        assertThat(unknown(line(armed("N"), EDU).requested()))
                .startsWith("the device's COMMAND.DisINTx reads 0")
                .endsWith("; look while the guest masks INTx or uses MSI");
        assertThat(line(armed("N"), EDU).policy()).isInstanceOf(Known.Unknown.class);
        RecordedHost masked = command(armed("N"), EDU, 0x5);
        assertThat(request(masked, EDU)).isEqualTo(Request.SHAREABLE);
        assertThat(line(masked, EDU).disIntx().known()).contains("the device's COMMAND.DisINTx reads 1");
        assertThat(line(armed("N"), E1000E).disIntx().known().orElseThrow()).startsWith("PCI Express devices have");
    }

    @ParameterizedTest
    @CsvSource({
        "0, cannot be read; run kvmirq on the host itself",
        "63, cannot be read; run kvmirq on the host itself",
        "64, only root sees whether this is a PCI Express device; run as root",
        "200, only root sees whether this is a PCI Express device; run as root"
    })
    void configurationSpaceThatIsCutOffIsNotLookedAt(int length, String why) throws IOException {
        RecordedHost host = armed("N").cut("sys/bus/pci/devices/" + E1000E + "/config", length);
        assertThat(unknown(line(host, E1000E).requested())).endsWith(why);
        assertThat(request(host.put(NOINTXMASK, "Y\n"), E1000E)).isEqualTo(Request.EXCLUSIVE);
    }

    /** A device in D3cold reads as ones, DisINTx too. */
    @Test
    void deviceThatDoesNotAnswerIsNotLookedAt() throws IOException {
        byte[] ones = new byte[256];
        Arrays.fill(ones, (byte) 0xff);
        RecordedHost host = armed("N").putBytes("sys/bus/pci/devices/" + EDU + "/config", ones);
        assertThat(unknown(line(host, EDU).disIntx())).contains("cannot be read");
    }

    // The line

    /** Each e1000e has a pin and no host irq of MSI; what was recorded uses MSI-X, and sysfs shows its pin. */
    @ParameterizedTest
    @MethodSource("hosts")
    void lineOfADeviceWithMsixIsThatOfItsPin(String name) throws IOException {
        RecordedHost host = RecordedHost.of(name);
        String device = host.observed().get(0).address().toString();
        IntxLine line = line(host, device);
        assertThat(line.armed()).isFalse();
        assertThat(line.irq().known())
                .contains(new HostIrq(Integer.parseInt(host.tree()
                        .text("sys/bus/pci/devices/" + device + "/irq")
                        .orElseThrow())));
        assertThat(unknown(line.requested())).startsWith("/" + NOINTXMASK);
        assertThat(line.neighbours()).isEmpty();
    }

    private static List<String> hosts() {
        return RecordedHost.NAMES;
    }

    @Test
    void lineIsUnknownWhileMsiIsEnabledOrWithoutAPin() throws IOException {
        RecordedHost host = row(armed("Y"), "vfio-intx(0000:00:03.0)");
        assertThat(unknown(line(host.put("sys/bus/pci/devices/0000:00:02.0/msi_irqs/22", "msi\n"), E1000E)
                        .irq()))
                .contains("shows the MSI irq instead of the pin's");
        host.remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs");
        for (String irq : List.of("0", "4294967295", "none")) {
            host.put("sys/bus/pci/devices/0000:00:02.0/irq", irq + "\n");
            assertThat(unknown(line(host, E1000E).irq())).as(irq).contains("shows no irq for its pin");
        }
        byte[] config = host.tree()
                .bytes("sys/bus/pci/devices/0000:00:02.0/config", 256)
                .orElseThrow();
        config[0x3d] = 0;
        host.putBytes("sys/bus/pci/devices/0000:00:02.0/config", config);
        assertThat(unknown(line(host, E1000E).irq())).contains("has no interrupt pin");
        assertThat(line(host, E1000E).policy()).isInstanceOf(Known.Unknown.class);
    }

    /** A handler has a directory of its name, which is empty. */
    @Test
    void handlersAreReadFromProcIrqWithoutProcInterrupts(@TempDir Path root) throws IOException {
        RecordedHost host = armed("Y").remove(INTERRUPTS);
        assertThat(unknown(line(host, E1000E).handlers()))
                .isEqualTo(
                        "neither /proc/interrupts nor /proc/irq/22 can be read; mount /proc; a copy of a host needs its"
                                + " proc/interrupts, which tar copies empty");
        host.put("proc/irq/22/smp_affinity", "3\n").put("proc/irq/22/spurious", "count 0\n");
        HostFacts facts = new HostFacts(host.writeTo(root));
        Files.createDirectories(root.resolve("proc/irq/22/ehci_hcd:usb1"));
        Files.createDirectories(root.resolve("proc/irq/22/vfio-intx(0000:00:02.0)"));
        IntxLine line = IntxLine.read(facts, facts.pci(PciAddress.parse(E1000E)).orElseThrow());
        assertThat(line.handlers().known()).contains(List.of("ehci_hcd:usb1"));
    }

    @Test
    void neighboursAreTheDevicesWhosePinIsOnTheLine() throws IOException {
        RecordedHost host = armed("Y").put("sys/bus/pci/devices/0000:00:03.0/irq", "22\n");
        assertThat(line(host, E1000E).neighbours())
                .extracting(PciDevice::address)
                .containsExactly(PciAddress.parse(EDU));
        assertThat(line(host, "0000:00:04.0").neighbours()).isEmpty();
    }

    // Direct EOI

    @Test
    void policyIsThatOfTheRequest() throws IOException {
        assertThat(decision(armed("Y"))).isInstanceOf(DirectEoiDecision.Allowed.class);
        assertThat(decision(armed("N"))).isEqualTo(new DirectEoiDecision.Refused(List.of(NotDirect.SHAREABLE)));
        assertThat(decision(row(armed("N"), "ehci_hcd:usb1, vfio-intx(0000:00:02.0)")))
                .isEqualTo(new DirectEoiDecision.Refused(List.of(NotDirect.SHARED, NotDirect.SHAREABLE)));
        assertThat(decision(row(armed("Y"), "ehci_hcd:usb1")))
                .isEqualTo(new DirectEoiDecision.Refused(List.of(NotDirect.REFUSED)));
    }

    private static DirectEoiDecision decision(RecordedHost host) {
        return line(host, E1000E).policy().known().orElseThrow().decide();
    }
}
