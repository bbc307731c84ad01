/* SPDX-License-Identifier: Apache-2.0 */
/**
 * KVM's interrupt path from Java: VMs, irqfds, forwarded devices, and hardware formats. Requires only java.base.
 *
 * <p>Read {@link io.kvmirq.kvm} (VMs, routes, irqfds) first, then {@link io.kvmirq.arch} (bit layouts of IRTEs,
 * descriptors and messages). Module {@code io.kvmirq.vmm} contains a guest's MSI-X table, an IOAPIC and snapshots,
 * {@code io.kvmirq.fake} a fake kernel, and {@code io.kvmirq.testkit} support for VMM tests.
 *
 * <p>Two of the bindings need {@code com.sun.jna} and {@code org.jnrproject.ffi}, which are optional. From Java 22 on,
 * native calls need {@code --enable-native-access=io.kvmirq}.
 */
module io.kvmirq {
    requires static transitive org.jspecify;
    requires static com.sun.jna;
    requires static org.jnrproject.ffi;
    requires static org.jnrproject.jffi;
    requires static jdk.jfr;

    exports io.kvmirq;
    exports io.kvmirq.arch;
    exports io.kvmirq.arch.amd;
    exports io.kvmirq.arch.apic;
    exports io.kvmirq.arch.gic;
    exports io.kvmirq.arch.intx;
    exports io.kvmirq.arch.vtd;
    exports io.kvmirq.backend;
    exports io.kvmirq.forward;
    exports io.kvmirq.host;
    exports io.kvmirq.kernel;
    exports io.kvmirq.kvm;
    exports io.kvmirq.mirror;
    exports io.kvmirq.path;
    exports io.kvmirq.uapi;
    exports io.kvmirq.vfio;
    // Exported only to our other modules, without any promise to users.
    exports io.kvmirq.arch.apic.model to
            io.kvmirq.fake,
            io.kvmirq.command;
    exports io.kvmirq.backend.choice to
            io.kvmirq.fake,
            io.kvmirq.testkit,
            io.kvmirq.command;
    exports io.kvmirq.backend.libc to
            io.kvmirq.fake;
    exports io.kvmirq.backend.library to
            io.kvmirq.command;
    exports io.kvmirq.events to
            io.kvmirq.vmm;
    exports io.kvmirq.explain to
            io.kvmirq.fake,
            io.kvmirq.testkit,
            io.kvmirq.command;
    exports io.kvmirq.text to
            io.kvmirq.vmm,
            io.kvmirq.fake,
            io.kvmirq.testkit,
            io.kvmirq.command;
    exports io.kvmirq.undo to
            io.kvmirq.vmm,
            io.kvmirq.command;

    uses io.kvmirq.backend.BackendProvider;
}
