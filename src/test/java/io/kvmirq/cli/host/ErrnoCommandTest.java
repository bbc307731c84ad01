/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code kvmirq errno}. */
class ErrnoCommandTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "irqfd EBUSY                 | maybe in another VM",
                "KVM_SIGNAL_MSI -1           | not a permission error",
                "has_device_attr ENXIO       | no such group or attribute",
                "irqfd EINVAL level split    | resampling needs the full in-kernel irqchip",
                "set-irqs ENOTTY             | VFIO cannot mask or unmask MSI and MSI-X",
                "routes-set EIO              | belongs to another process",
                "get-device-attr EPERM       | no readable attributes",
                "ioeventfd-deassign ENOENT   | deassigning an irqfd returns 0",
                "vcpu-init EINVAL            | a feature that this host lacks, such as SVE or a PMU",
                "open ENOENT                 | an arm64 host must boot at EL2",
                "irqfd-deassign 0            | does not mean that anything was deassigned"
            })
    void errnoAnswersAsAnExpertWould(String arguments, String expected) throws Exception {
        Cli.Ended ended = Cli.run(("errno " + arguments).split(" +", -1));
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(ended.out().lines().skip(1).findFirst())
                .hasValueSatisfying(first -> assertThat(first).contains(expected));
    }

    /** Only requests of a VFIO device meet a file that is not bound. */
    @ParameterizedTest
    @CsvSource({
        "irqfd EINVAL, false",
        "irqfd EINVAL level split, false",
        "KVM_SET_GSI_ROUTING EINVAL, false",
        "vfio-device-bind EINVAL, false",
        "set-irqs EINVAL, true",
        "vfio-irq-info EINVAL, true",
        "ioctl EINVAL, true"
    })
    void unboundFileIsACauseForRequestsOfADevice(String arguments, boolean cause) {
        String out = Cli.run(("errno " + arguments).split(" ")).exited(0).out();
        assertThat(out.contains("is not bound to an iommufd yet")).isEqualTo(cause);
    }

    @Test
    void errnoSaysWhatItDoesNotKnowAndWhatItDoesNotUnderstand() throws Exception {
        Cli.Ended nothing = Cli.run("errno", "irqfd", "EXDEV");
        assertThat(nothing.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(nothing.out()).contains("no cause is known");
        assertThat(Cli.run("errno", "irqfd").err()).contains("expected a call and an errno");
        assertThat(Cli.run("errno", "irqfd", "EFOO").err()).contains("'EFOO' is not an errno");
        assertThat(Cli.run("errno", "irqfd-asign", "EIO").err())
                .contains("call 'irqfd-asign' is unknown: closest are irqfd-assign, ");
        assertThat(Cli.run("errno", "irqfd", "assign", "EIO").err()).contains("'assign' is not an errno");
        assertThat(Cli.run("errno", "irqfd", "EIO", "full", "split").err())
                .contains("'split' and 'full' are mutually exclusive");
        assertThat(Cli.run("errno", "irqfd", "EBUSY", "--json").out())
                .startsWith("{\"schema\":\"kvmirq.errno/1\",\"call\":\"irqfd assign\",\"errno\":\"EBUSY\"");
    }

    /** Conditions that are given, or that the call implies, rule out causes of another device or architecture. */
    @ParameterizedTest
    @CsvSource({
        "KVM_GET_DEVICE_ATTR ENXIO gicv2, '  1  the VGIC does not have this group or attribute', 'x86 vCPU has only the TSC'",
        "kvm-vfio-add ENXIO, 'KVM-VFIO has group 1', 'TSC offset|arm64 VMs or vCPUs do not have|an ITS does not'",
        "KVM_SET_DEVICE_ATTR EINVAL kvm-vfio, 'the file is not a VFIO group', 'redistributor|GICv2 of 4 KiB'",
        "KVM_SET_DEVICE_ATTR EINVAL vgic-device, 'redistributor', 'the file is not a VFIO group'",
        "vcpu-create EINVAL x86 since-6.17, 'KVM_CAP_MAX_VCPUS', 'avic=1'",
        "vcpu-create EINVAL x86 before-6.17, 'avic=1', 'GICv2'"
    })
    void conditionsRuleOutWhatContradictsThem(String words, String possible, String impossible) {
        String out = Cli.run(("errno " + words).split(" ")).exited(0).out();
        assertThat(out).contains(possible).doesNotContainPattern(impossible);
    }

    @Test
    void conditionThatTheCallExcludesIsAMistake() {
        Cli.Ended ended =
                Cli.run("errno", "irqfd-assign-level", "EINVAL", "edge").exited(2);
        assertThat(ended.err()).contains("'edge' cannot apply to irqfd assign level");
    }

    /** A call by its purpose has the causes of its general call: firecracker-microvm/firecracker#2425. */
    @Test
    void callOfAVgicHasTheCauseOfAMissingGroup() {
        for (String call : List.of("vgic-register", "vgic-system-register", "vgic-control", "its-register")) {
            assertThat(Cli.run("errno", call, "ENXIO", "gicv2").out())
                    .contains("  1  ", "does not have this group or attribute");
        }
    }
}
