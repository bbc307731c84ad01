/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.InterruptPath;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * A process that holds VMs, as its files in {@code /proc} show it. KVM shows neither the irqfds nor the routes of a VM,
 * and VFIO does not show which vector signals which eventfd: those links are not here. Immutable.
 *
 * <p>Source: {@code anon_inode_getfd("kvm-vm")} and its kin in virt/kvm/kvm_main.c, virt/kvm/vfio.c, arch/arm64/kvm/vgic;
 * {@code eventfd_show_fdinfo()} in fs/eventfd.c, {@code ep_show_fdinfo()} in fs/eventpoll.c.
 *
 * @param pid its number
 * @param command its name, as {@code /proc/PID/comm} has it
 * @param guest the name of the guest: of {@code -name} of QEMU, which libvirt gives too, {@code --name} of kvmtool and
 *     crosvm, {@code --id} of Firecracker. Empty if the command line has none
 * @param arguments its command line
 * @param vms the descriptors of its VMs
 * @param vcpus its vCPUs
 * @param kvmDevices the kinds of its KVM devices, such as {@code kvm-vfio} and {@code kvm-arm-vgic-v3}
 * @param eventfds its eventfds, in the order of their descriptors
 * @param devices the PCI devices that it has open through VFIO
 * @param mayHave further devices that it may have open: it holds their IOMMU group, and no file shows more
 */
public record VmProcess(
        int pid,
        String command,
        Optional<String> guest,
        List<String> arguments,
        List<Integer> vms,
        List<VcpuFile> vcpus,
        List<String> kvmDevices,
        List<EventfdFile> eventfds,
        List<PciAddress> devices,
        List<PciAddress> mayHave) {
    /**
     * A vCPU: its number in the VM, its descriptor, and its thread, where the VMM names it after the vCPU: QEMU ({@code
     * CPU n/KVM}), Cloud Hypervisor, crosvm, Firecracker and kvmtool.
     */
    public record VcpuFile(int id, int fd, OptionalInt thread) {}

    /**
     * An eventfd.
     *
     * @param fd its descriptor
     * @param id the number that the kernel gives it; the same in all processes that share it. Empty if it is not shown
     * @param count its counter, unsigned. One that an irqfd drains is 0 since Linux 5.11
     * @param polled whether an epoll of the process waits for it
     */
    public record EventfdFile(int fd, OptionalInt id, long count, boolean polled) {}

    /** The directory of VMs in debugfs, where each has one by the thread that made it and its descriptor. */
    public static final String DEBUGFS = "sys/kernel/debug/kvm/";

    /** The thread that runs a vCPU, by its name or from KVM's debugfs. Empty if neither shows it. */
    public OptionalInt thread(HostFiles files, VcpuFile vcpu) {
        return vcpu.thread().isPresent()
                ? vcpu.thread()
                : vms.stream()
                        .flatMap(vm -> files.text(DEBUGFS + pid + "-" + vm + "/vcpu" + vcpu.id() + "/pid").stream())
                        .filter(text -> text.matches("[1-9]\\d{0,8}"))
                        .mapToInt(Integer::parseInt)
                        .findFirst();
    }

    /** Whether no thread has ever run a vCPU: KVM's debugfs shows 0. A VMM may park it until it is plugged. */
    public boolean isParked(HostFiles files, VcpuFile vcpu) {
        return vms.stream().anyMatch(vm -> files.text(DEBUGFS + pid + "-" + vm + "/vcpu" + vcpu.id() + "/pid")
                .filter("0"::equals)
                .isPresent());
    }

    /** The guest by its name and its process. */
    public InterruptPath.Guest asGuest() {
        return new InterruptPath.Guest(name(), pid);
    }

    /** The ids of its eventfds, in a new set. */
    SortedSet<Integer> eventfdIds() {
        return eventfds.stream()
                .flatMap(eventfd -> eventfd.id().stream().boxed())
                .collect(Collectors.toCollection(TreeSet::new));
    }

    /** The name of the guest, or of the process. */
    public String name() {
        return guest.orElse(command);
    }
}
