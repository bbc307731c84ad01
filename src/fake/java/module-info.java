/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A simulated kernel for tests, with KVM, VFIO and a host's interrupt hardware.
 *
 * <p>Read first: {@link io.kvmirq.fake}.
 */
module io.kvmirq.fake {
    requires transitive io.kvmirq;
    requires static org.jspecify;

    exports io.kvmirq.arch.vcpu;
    exports io.kvmirq.arch.vtd.posting;
    exports io.kvmirq.fake;
    // No compatibility promise: for our other modules only.
    exports io.kvmirq.arch.gic.model to
            io.kvmirq.command;
    exports io.kvmirq.guest to
            io.kvmirq.testkit,
            io.kvmirq.command;

    provides io.kvmirq.backend.BackendProvider with
            io.kvmirq.fake.FakeProvider;
}
