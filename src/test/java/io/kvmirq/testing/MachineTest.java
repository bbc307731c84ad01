/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Which kernels the fake is compared with. */
class MachineTest {
    private static Optional<String> flaw(String release, String kernel) {
        return Machine.profileFlaw(release, new FakeKernel(Profile.parse(kernel)).backend());
    }

    @Test
    void eachProfileIsItsOwnKernel() {
        assertThat(Profile.labels())
                .hasSizeGreaterThan(2)
                .allSatisfy(label -> assertThat(flaw(label + ".7-arch1", label)).isEmpty());
        assertThat(flaw("6.18.44", Machine.PVM)).as("with kvm_pvm").isEmpty();
    }

    @Test
    void kernelOfAnotherVersionOrBuiltOtherwiseIsNoProfile() {
        assertThat(flaw("6.16.3", "6.12"))
                .hasValue("the fake has no profile of this kernel: 6.16.3 is none of 6.1, 6.12, 6.18, 7.1");
        assertThat(flaw("6.12.90", Machine.PVM))
                .hasValue("the fake has no profile of this kernel: it was built otherwise than the 6.12 modelled,"
                        + " KVM_CAP_HYPERV_SYNIC is 0 and not 1, KVM_CAP_MAX_VCPUS is 1024 and not 4096,"
                        + " KVM_CAP_MAX_VCPU_ID is 4096 and not 16384, KVM_CAP_MULTI_ADDRESS_SPACE is 0 and not 2");
        assertThat(flaw("6.18.44", "6.18,split"))
                .hasValue("the fake has no profile of this kernel: it was built otherwise than the 6.18 modelled,"
                        + " the full irqchip (CONFIG_KVM_IOAPIC) is 0 and not 1");
    }
}
