/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.backend.HostFiles;
import java.nio.file.Path;
import java.util.Set;

/** The addresses of posted-interrupt descriptors in the memory of this machine's kernel, for a stand-in of an IOMMU. */
public final class KernelPids {
    private KernelPids() {}

    /** The descriptor of the vCPU that the only VM of this machine made first. */
    public static long first() {
        HostFiles files = HostFiles.at(Path.of("/"));
        Types types = new Types(files);
        Layout vm = types.ofModule("kvm", "kvm", Irqfds.VMS, "vcpu_array.xa_head");
        Layout vmx = types.ofModule("kvm_intel", "vcpu_vmx", "vcpu", "?pi_desc", "?vt.pi_desc");
        Symbols symbols = Symbols.read(files, Set.of(Irqfds.VMS));
        try (KernelMemory memory = KernelMemory.open(KernelStructures.CORE)) {
            long list = symbols.address(Irqfds.VMS);
            long first = memory.word(list, Irqfds.VMS);
            if (first == list || memory.word(first, Irqfds.VMS) != list) {
                throw new IllegalStateException("expected one VM on this machine");
            }
            long head = first - vm.offset(Irqfds.VMS) + vm.offset("vcpu_array.xa_head");
            long vcpu = IrqTree.inXarray(memory, types, head, 0, "kvm.vcpu_array");
            return vcpu - vmx.offset("vcpu") + vmx.offset(vmx.has("pi_desc") ? "pi_desc" : "vt.pi_desc");
        }
    }
}
