/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/** A LAPIC with given ids. */
record TestLapic(int vcpuId, int id, boolean isX2apic, int logicalId, int logicalFormat, int arbitrationPriority)
        implements LocalApic {
    static TestLapic flat(int vcpu, int logical) {
        return new TestLapic(vcpu, vcpu, false, (int) LapicPage.XAPIC_ID.with(logical), LapicPage.DFR_FLAT, 0);
    }

    static TestLapic cluster(int vcpu, int cluster, int member) {
        return new TestLapic(
                vcpu, vcpu, false, (int) LapicPage.XAPIC_ID.with(cluster << 4 | member), LapicPage.DFR_CLUSTER, 0);
    }

    static TestLapic x2apic(int vcpu) {
        return new TestLapic(vcpu, vcpu, true, vcpu >>> 4 << 16 | 1 << (vcpu & 0xf), LapicPage.DFR_FLAT, 0);
    }

    TestLapic withId(int other) {
        return new TestLapic(vcpuId, other, isX2apic, logicalId, logicalFormat, arbitrationPriority);
    }

    TestLapic withPriority(int priority) {
        return new TestLapic(vcpuId, id, isX2apic, logicalId, logicalFormat, priority);
    }

    @Override
    public boolean enabled() {
        return true;
    }
}
