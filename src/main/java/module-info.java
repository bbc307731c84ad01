/* SPDX-License-Identifier: Apache-2.0 */
/**
 * KVM's interrupt path from Java: real, on a fake kernel, and as a model.
 *
 * <p>Read first: {@link io.kvmirq.kvm} (VMs, routes, irqfds), then {@link io.kvmirq.fake} (a kernel for tests) or
 * {@link io.kvmirq.arch} (bits of IRTEs, descriptors and messages).
 *
 * <p>No other module is needed at run time. {@code com.sun.jna} and {@code org.jnrproject.ffi} are two of the bindings,
 * {@code com.fasterxml.jackson.core} reads and writes tapes and snapshots, and the command uses {@code info.picocli}.
 * {@code org.junit.jupiter.api} is for {@link io.kvmirq.junit}, in tests.
 * Native code needs
 * {@code --enable-native-access=io.kvmirq} from Java 22 on.
 */
module io.kvmirq {
    requires static transitive org.jspecify;
    requires static com.sun.jna;
    requires static org.jnrproject.ffi;
    requires static org.jnrproject.jffi;
    requires static com.fasterxml.jackson.core;
    requires static info.picocli;
    requires static me.tongfei.progressbar;
    requires static org.junit.jupiter.api;

    exports io.kvmirq;
    exports io.kvmirq.arch;
    exports io.kvmirq.arch.amd;
    exports io.kvmirq.arch.apic;
    exports io.kvmirq.arch.gic;
    exports io.kvmirq.arch.intx;
    exports io.kvmirq.arch.vcpu;
    exports io.kvmirq.arch.vtd;
    exports io.kvmirq.backend;
    exports io.kvmirq.fake;
    exports io.kvmirq.forward;
    exports io.kvmirq.host;
    exports io.kvmirq.irqchip;
    exports io.kvmirq.junit;
    exports io.kvmirq.kernel;
    exports io.kvmirq.kvm;
    exports io.kvmirq.mirror;
    exports io.kvmirq.pci;
    exports io.kvmirq.recording;
    exports io.kvmirq.recording.replay;
    exports io.kvmirq.recording.tapes;
    exports io.kvmirq.snapshot;
    exports io.kvmirq.uapi;
    exports io.kvmirq.vfio;

    opens io.kvmirq.junit to
            org.junit.platform.commons;

    uses io.kvmirq.backend.BackendProvider;
    uses io.kvmirq.mirror.MirrorHostProvider;

    provides io.kvmirq.backend.BackendProvider with
            io.kvmirq.fake.FakeProvider;
    provides io.kvmirq.mirror.MirrorHostProvider with
            io.kvmirq.host.HostForMirror;
}
