/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.uapi.UapiVfio;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FaultRuleTest {
    @Test
    void ruleIsARowOfTheLauncher() {
        FaultRule nth = FaultRule.of("KVM_CREATE_VM=EINTR@2");
        assertThat(nth).hasToString("KVM_CREATE_VM=EINTR@2");
        assertThat(nth.row()).isEqualTo(0xae01 + ":4:2");
        FaultRule each = FaultRule.of("KVM_CREATE_VM=22");
        assertThat(each).hasToString("KVM_CREATE_VM=EINVAL");
        assertThat(each.row()).isEqualTo(0xae01 + ":22:0");
        assertThat(FaultRule.counting("KVM_CREATE_VM", 0xae01).row()).isEqualTo(0xae01 + ":0:0");
    }

    @Test
    void numberOfTwoNamesHasBoth() {
        assertThat(Requests.number("VFIO_IOMMU_MAP_DMA")).isEqualTo(Requests.number("VFIO_DEVICE_PCI_HOT_RESET"));
        assertThat(Requests.names())
                .containsEntry(UapiVfio.VFIO_IOMMU_MAP_DMA, "VFIO_DEVICE_PCI_HOT_RESET|VFIO_IOMMU_MAP_DMA");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "fault KVM_CREATE_VN=EINVAL -- true; no ioctl is named 'KVM_CREATE_VN': near are KVM_CREATE_VM, KVM_CREATE_PIT, KVM_CREATE_VCPU",
                "fault KVM_CREATE_VM=EFOO -- true; 'EFOO' is not an errno: expected a name such as EBUSY, or a number from 1 to 4095",
                "fault KVM_CREATE_VM=0 -- true; '0' is not an errno: expected a name such as EBUSY, or a number from 1 to 4095",
                "fault KVM_CREATE_VM=EIO@0 -- true; 'KVM_CREATE_VM=EIO@0': the first call is @1",
                "fault KVM_CREATE_VM=EIO@x -- true; 'KVM_CREATE_VM=EIO@x' is no fault: expected CALL=ERRNO[@N], such as KVM_SET_GSI_ROUTING=EINVAL@2",
                "fault KVM_CREATE_VM -- true; 'KVM_CREATE_VM' is no fault: expected CALL=ERRNO[@N], such as KVM_SET_GSI_ROUTING=EINVAL@2",
                "fault -- true; Give faults, --, and a program: CALL=ERRNO[@N] -- CMD",
                "fault KVM_CREATE_VM=EIO --; Give faults, --, and a program: CALL=ERRNO[@N] -- CMD",
                "fault KVM_CREATE_VM=EIO true; Give faults, --, and a program: CALL=ERRNO[@N] -- CMD",
                "fault-walk; Give a program: -- CMD",
                "fault-walk --call eventfd -- true; no ioctl is named 'eventfd': near are KVM_IOEVENTFD, KVM_IRQFD, KVM_NMI",
                "fault-walk --errno EINTR,no -- true; 'no' is not an errno: expected a name such as EBUSY, or a number from 1 to 4095",
                "fault-walk --nth 0 -- true; --nth 0 is out of range: expected 1 to 1000000",
                "fault-walk --limit 3601 -- true; --limit 3601 is out of range: expected 1 to 3600",
            })
    void wrongFaultIsAUsageError(String words, String sentence) {
        Cli.Ended ended = Cli.run(words.split(" ", -1)).exited(ExitCode.USAGE);
        assertThat(ended.err()).startsWith("kvmirq: " + sentence + ". See kvmirq fault");
        assertThat(ended.out()).isEmpty();
    }
}
