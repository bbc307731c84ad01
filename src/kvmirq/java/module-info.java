/* SPDX-License-Identifier: Apache-2.0 */
/**
 * KVM's interrupt path from Java: VMs, irqfds, forwarded devices, and hardware formats. It needs only java.base.
 *
 * <p>Read first: {@link io.kvmirq.kvm} (VMs, routes, irqfds), then {@link io.kvmirq.arch} (bits of IRTEs, descriptors
 * and messages). Module {@code io.kvmirq.vmm} has a guest's MSI-X table, IOAPIC and snapshots, {@code io.kvmirq.fake} a
 * kernel for tests, and {@code io.kvmirq.testkit} the kit for VMM tests.
 *
 * <p>{@code com.sun.jna} and {@code org.jnrproject.ffi} are for two of the bindings, used if present. Native code needs
 * {@code --enable-native-access=io.kvmirq} from Java 22 on.
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
    // For our other modules, without any promise to users.
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
