/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.kvm.X86Events.Name;
import io.kvmirq.uapi.Uapi;
import java.util.EnumMap;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** KVM uses some fields only with their flag: kvm_vcpu_ioctl_x86_set_vcpu_events() in arch/x86/kvm/x86.c. */
class X86EventsTest {
    private static final Map<Name, Integer> FLAGS = new EnumMap<>(Map.ofEntries(
            Map.entry(Name.SHADOW, Uapi.KVM_VCPUEVENT_VALID_SHADOW),
            Map.entry(Name.NMI_PENDING, Uapi.KVM_VCPUEVENT_VALID_NMI_PENDING),
            Map.entry(Name.SIPI_VECTOR, Uapi.KVM_VCPUEVENT_VALID_SIPI_VECTOR),
            Map.entry(Name.SMM, Uapi.KVM_VCPUEVENT_VALID_SMM),
            Map.entry(Name.SMI_PENDING, Uapi.KVM_VCPUEVENT_VALID_SMM),
            Map.entry(Name.SMM_INSIDE_NMI, Uapi.KVM_VCPUEVENT_VALID_SMM),
            Map.entry(Name.INIT_LATCHED, Uapi.KVM_VCPUEVENT_VALID_SMM),
            Map.entry(Name.TRIPLE_FAULT_PENDING, Uapi.KVM_VCPUEVENT_VALID_TRIPLE_FAULT),
            Map.entry(Name.EXCEPTION_PENDING, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD),
            Map.entry(Name.EXCEPTION_HAS_PAYLOAD, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD),
            Map.entry(Name.EXCEPTION_PAYLOAD, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD)));

    @ParameterizedTest
    @EnumSource
    void fieldIsSetWithItsFlagAlone(Name name) {
        X86Events events = new X86Events().set(name, 1);
        assertThat(events.structure.getInt(Uapi.KvmVcpuEvents.FLAGS)).isEqualTo(FLAGS.getOrDefault(name, 0));
        for (Name other : Name.values()) {
            assertThat(events.get(other)).as(other.name()).isEqualTo(other == name ? 1 : 0);
        }
    }
}
