/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.host.HostChoice;
import io.kvmirq.cli.host.HostSource;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.PostingOutlook;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq vfio}: shows a PCI device as VFIO will see it. Opens no device and writes nothing. */
public final class VfioCommand implements Command {
    @Override
    public void describe(Usage usage) {
        usage.description("Prints a device's driver and IOMMU group, how the host uses it, the interrupts that VFIO"
                        + " will report, whether hardware on this host posts them, why VFIO would refuse the device,"
                        + " and the commands that bind it to vfio-pci and back to its driver. Without BDF, lists all"
                        + " devices. Reads sysfs and /proc. Writes nothing, and opens no device, because opening a"
                        + " VFIO device resets it. Only root can read the MSI and MSI-X counts. Exits with 1 if VFIO"
                        + " would refuse the device and no guest uses it.")
                .footer(
                        "",
                        "DIR contains these files under their paths: sys/bus/pci/devices/*/{vendor,",
                        "device,class,config,irq,driver,driver_override,iommu_group,msi_irqs,",
                        "numa_node,physfn,reset_method,vfio-dev}, sys/kernel/iommu_groups/*/devices,",
                        "sys/class/{iommu,net,block}, sys/dev/block, sys/module/kvm_*/parameters,",
                        "proc/{version,interrupts,cpuinfo,cmdline,self/mountinfo,net/route}. Missing",
                        "files are reported as not shown.",
                        "",
                        "Example: kvmirq vfio 0000:3b:00.0");
        usage.add(Command.parameter("0", "0..1", "BDF").description("Device address, as lspci prints it."));
        HostSource.describe(usage);
        usage.add(Command.json());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        Optional<PciAddress> address = Commands.read(
                arguments, () -> Command.words(arguments).stream().findFirst().map(HostChoice::address));
        HostFiles tree = Commands.read(arguments, () -> HostSource.parse(arguments));
        HostFacts host = new HostFacts(tree, terminal.host());
        boolean json = arguments.hasMatchedOption("--json");
        if (address.isEmpty()) {
            List<VfioReport> devices = host.pciAddresses().stream()
                    .flatMap(listed -> host.pci(listed).stream())
                    .filter(device -> !device.isBridge())
                    .map(device -> VfioReport.build(host, terminal, device))
                    .toList();
            if (json) {
                write(host, devices, terminal);
            } else {
                VfioReport.list(host, terminal, devices);
            }
            return ExitCode.OK;
        }
        Optional<PciDevice> device = host.pci(address.get());
        if (device.isEmpty()) {
            HostChoice.requireListed(host, address.get());
            terminal.complain(
                    "there is no PCI device " + address.get() + ": " + host.command("vfio") + " lists the devices");
            return ExitCode.COULD_NOT_RUN;
        }
        VfioReport report = VfioReport.build(host, terminal, device.get());
        if (json) {
            write(host, List.of(report), terminal);
        } else {
            report.print();
        }
        return report.isUsable() || report.isWithGuest() ? ExitCode.OK : ExitCode.FAILED;
    }

    private static void write(HostFacts host, List<VfioReport> devices, Terminal terminal) {
        Json.print(terminal, "vfio", host, json -> json.value("iommus", host.iommus())
                .value("posting", PostingOutlook.fromHost(host))
                .objects("devices", devices, (object, device) -> device.write(object)));
    }
}
