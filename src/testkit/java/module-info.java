/* SPDX-License-Identifier: Apache-2.0 */
/** A test kit for JUnit 5 that runs a VMM's tests on the fake kernel and on KVM. See {@link io.kvmirq.junit}. */
module io.kvmirq.testkit {
    requires transitive io.kvmirq.fake;
    requires static org.jspecify;
    requires transitive org.junit.jupiter.api;

    exports io.kvmirq.junit;

    opens io.kvmirq.junit to
            org.junit.platform.commons;

    provides io.kvmirq.backend.BackendProvider with
            io.kvmirq.junit.FakeFromOutside;
}
