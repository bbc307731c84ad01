/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.kvmirq.DeviceName;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import java.util.List;
import org.junit.jupiter.api.Test;

/** An event that throws when it is folded, as one with a name of the caller's own class may. */
class FailingEventTest {
    /** A name that cannot be compared. */
    private static final class Broken implements DeviceName {
        @Override
        public String busName() {
            return "pci";
        }

        @Override
        public boolean equals(Object other) {
            throw new IllegalStateException("broken");
        }

        @Override
        public int hashCode() {
            throw new IllegalStateException("broken");
        }
    }

    @Test
    void eventsBehindOneThatFailsAreFolded() {
        Mirror mirror = Mirror.create(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        mirror.now();
        mirror.apply(List.of(
                new Event.VcpuLoaded(new VcpuId(0), new HostApicId(1)),
                new Event.DomainChanged(new Broken(), false),
                new Event.VcpuLoaded(new VcpuId(1), new HostApicId(2))));
        mirror.apply(new Event.VcpuLoaded(new VcpuId(2), new HostApicId(3)));
        assertThatIllegalStateException().isThrownBy(mirror::now).withMessage("broken");
        for (int vcpu = 0; vcpu < 3; vcpu++) {
            assertThat(mirror.now().stage(new VcpuId(vcpu))).contains(new VcpuStage.Loaded(vcpu + 1));
        }
    }
}
