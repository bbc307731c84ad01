/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import java.util.Arrays;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Linux changes that affect host facts, each with its first release and source function. */
public enum KernelChange {
    /** vfio-pci refuses some device ids. Source: {@code vfio_pci_dev_in_denylist()} in drivers/vfio/pci/vfio_pci.c. */
    DENYLIST("5.9"),
    /** A PCI function has a sysfs file power_state. Source: {@code power_state_show()} in drivers/pci/pci-sysfs.c. */
    POWER_STATE("5.11"),
    /** An irqfd resets its eventfd's count. Source: eventfd_ctx_do_read() in irqfd_wakeup(), virt/kvm/eventfd.c. */
    IRQFD_EMPTIES("5.11"),
    /** irq/N/spurious counts once an irq was unhandled: 7c07012eb1be ("genirq: Reduce irqdebug cacheline bouncing"). */
    COUNT_AFTER_UNHANDLED("5.13"),
    /** Control groups have cpu.idle. Source: {@code cpu_idle_write_s64()} in kernel/sched/core.c. */
    CPU_IDLE("5.15"),
    /** debugfs shows the pid of a vCPU thread. Source: {@code vcpu_get_pid()} in virt/kvm/kvm_main.c. */
    VCPU_PID("6.0"),
    /** VFIO on x86 can add MSI-X vectors to armed ones. Source: has_dyn_msix in drivers/vfio/pci/vfio_pci_core.c. */
    DYNAMIC_MSIX("6.5"),
    /** VFIO hides a pin without an irq: 2bd42b03ab6b ("vfio/pci: Virtualize zero INTx PIN if no pdev-&gt;irq"). */
    HIDDEN_PIN_WITHOUT_IRQ("6.15"),
    /** VFIO hides a pin whose line is not connected: 860be250fc32 ("vfio/pci: Handle INTx IRQ_NOTCONNECTED"). */
    HIDDEN_PIN_NOT_CONNECTED("6.15 5.4.294 5.10.238 5.15.185 6.1.141 6.6.93 6.12.31 6.14.9");

    /** Suffixes of Arch, Debian and Fedora kernels, built from kernel.org's kernel with this number. */
    private static final Pattern UPSTREAM = Pattern.compile("(-debian|-arch\\d+-\\d+|-\\d+\\.fc\\d+\\..+)?");

    private final String first;

    /** @param first the first release with the change, then the first release of each stable series that has it */
    KernelChange(String first) {
        this.first = first;
    }

    /**
     * Whether a kernel has this change.
     *
     * @param release a kernel release, such as {@code 6.1.192-debian} or {@code 5.14.0-70.el9.x86_64}
     * @return empty if a vendor kernel with an older number may have the change, or if {@code release} has another form
     */
    public Optional<Boolean> isIn(String release) {
        Matcher parts = KernelBug.parts(release);
        if (!parts.matches()) {
            return Optional.empty();
        }
        long number = KernelBug.number(parts);
        String branch = parts.group(1) + "." + parts.group(2) + ".";
        String[] all = first.split(" ");
        boolean has = number >= KernelBug.number(all[0])
                || Arrays.stream(all).anyMatch(fixed -> fixed.startsWith(branch) && number >= KernelBug.number(fixed));
        return has || UPSTREAM.matcher(parts.group(4)).matches() ? Optional.of(has) : Optional.empty();
    }
}
