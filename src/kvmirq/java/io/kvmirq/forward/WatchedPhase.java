/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kvm.WatchedVcpu;
import io.kvmirq.mirror.LapicSample;
import io.kvmirq.mirror.VcpuPhase;
import java.util.Optional;

/** Lets a mirror read the phase of a {@link io.kvmirq.kvm} vCPU. */
final class WatchedPhase implements VcpuPhase {
    private final WatchedVcpu vcpu;
    private volatile Converted last = new Converted(Optional.empty(), Optional.empty());

    /** A LAPIC sample and its conversion, computed once for each sample. */
    private record Converted(Optional<WatchedVcpu.Lapic> from, Optional<LapicSample> to) {}

    WatchedPhase(WatchedVcpu vcpu) {
        this.vcpu = vcpu;
    }

    @Override
    public long number() {
        return vcpu.phase();
    }

    @Override
    public boolean isInRun(long number) {
        return WatchedVcpu.isInRun(number);
    }

    @Override
    public boolean hasRun(long number) {
        return WatchedVcpu.hasRun(number);
    }

    @Override
    public boolean hasEntered(long number) {
        return WatchedVcpu.hasEntered(number);
    }

    @Override
    public void askForLapic() {
        vcpu.askForLapic();
    }

    @Override
    public Optional<LapicSample> lapic() {
        Optional<WatchedVcpu.Lapic> now = vcpu.lapic();
        Converted known = last;
        if (!known.from.equals(now)) {
            known = new Converted(now, now.map(this::sample));
            last = known;
        }
        return known.to;
    }

    @Override
    public boolean hasLapicOf(long number) {
        return vcpu.hasLapicOf(number);
    }

    private LapicSample sample(WatchedVcpu.Lapic from) {
        return LapicSample.of(
                vcpu.id(),
                from.apicBase(),
                from.id(),
                from.logicalId(),
                from.logicalFormat(),
                from.spurious(),
                from.taken());
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof WatchedPhase phase && phase.vcpu == vcpu;
    }

    @Override
    public int hashCode() {
        return vcpu.hashCode();
    }
}
