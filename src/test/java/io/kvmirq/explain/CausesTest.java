/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CausesTest {
    /** The rows of one refusal differ in the call or the state, not in the answer. */
    @Test
    void rowsOfOneRefusalHaveOneErrno() {
        assertThat(Answers.all()).allSatisfy(answer -> assertThat(answer.row().others())
                .as(answer.name())
                .allSatisfy(other -> assertThat(other.errno()).isEqualTo(answer.errno())));
    }

    /** The summary of a run and the explainer name answers without their enum. */
    @Test
    void namesAreUnique() {
        assertThat(Answers.all().map(Answer::name))
                .doesNotHaveDuplicates()
                .hasSizeGreaterThan(400)
                .contains("FD_NOT_OPEN", "KVM_VM_TYPE", "ARM_VM_TYPE", "VFIO_IRQS_INDEX");
    }

    /** A row that only explains is no rule: its refusal, if the fake makes it, has one. */
    @Test
    void rulesAreTheRowsWithEvidence() {
        assertThat(Answers.rules())
                .hasSizeGreaterThan(390)
                .doesNotContain(FileAnswer.VM_DEAD, FileAnswer.NOT_READABLE_WRITE)
                .contains(FileAnswer.NOT_READABLE, FileAnswer.FD_LOWEST, VfioIrqAnswer.VFIO_IRQS_HEADER);
        assertThat(FileAnswer.NOT_READABLE.result()).isEqualTo(-22);
        assertThatThrownBy(FileAnswer.FD_LOWEST::result).hasMessage("FD_LOWEST refuses nothing");
    }

    @Test
    void rowsAreClauses() {
        assertThat(Answers.all()).allSatisfy(answer -> {
            assertThat(answer.text()).isNotBlank().doesNotEndWith(".").doesNotContain("  ");
            assertThat(answer.check().isBlank())
                    .as(answer.name())
                    .isEqualTo(answer.row().calls().isEmpty() && answer.errno() == 0);
            assertThat(answer.check()).doesNotEndWith(".");
            assertThat(answer.source()).isNotBlank();
        });
        assertThat(Answers.all().flatMap(answer -> answer.row().calls().stream()
                        .map(call -> List.of(call, answer.errno(), answer.text()))))
                .as("the same said twice")
                .doesNotHaveDuplicates();
    }

    /** As an expert would answer: the first cause. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "msi signal           | 1  | no-vcpu         | no vCPU yet",
                "msi signal           | 1  | vcpus           | no LAPIC matched the destination",
                "msi signal           | 1  |                 | not a permission error",
                "msi signal           | 0  |                 | no vCPU accepted it",
                "device attribute set | 6  |                 | no such group or attribute",
                "irqfd assign         | 16 | since-6.17      | maybe in another VM",
                "irqfd assign         | 16 | before-6.17     | feeds a GSI of this VM",
                "irqfd assign         | 22 | level split x86 | resampling needs the full in-kernel irqchip",
                "irqfd assign         | 22 | none            | no in-kernel irqchip",
                "irqfd assign         | 22 | edge full       | not an eventfd",
                "irqfd assign         | 11 | arm64           | not initialized",
                "vfio set irqs        | 25 | msi             | cannot mask or unmask MSI",
                "vfio set irqs        | 25 | intx            | unmasked through an eventfd, not masked",
                "vfio set irqs        | 16 | intx            | unmask eventfd already",
                "vfio set irqs        | 16 | platform        | already has an eventfd that masks it",
                "vfio set irqs        | 19 | intx            | no line for the device's pin",
                "vfio dma map         | 12 |                 | RLIMIT_MEMLOCK",
                "ioas map             | 12 |                 | RLIMIT_MEMLOCK",
                "vfio device attach   | 12 |                 | RLIMIT_MEMLOCK",
                "vfio dma map         | 19 |                 | the iommufd has no address space",
                "irqfd assign         | 5  | foreign         | another process",
                "routes set           | 5  |                 | another process",
                "device attribute get | 1  |                 | no readable attributes",
                "ioeventfd deassign   | 2  |                 | deassigning an irqfd returns 0",
                "irqfd deassign       | 0  |                 | does not mean that anything was deassigned",
                "vcpu run             | 11 | x86             | application processor",
                "memory set           | 22 |                 | multiple of the page size",
                "eventfd signal       | 22 |                 | not an eventfd",
                "eventfd signal       | 22 | own-eventfd     | 2^64-1",
                "irqchip create       | 22 |                 | vCPUs exist already",
                "irqchip create       | 25 | since-6.17      | no in-kernel irqchip",
                "line set             | 6  |                 | no in-kernel irqchip",
                "device create        | 16 |                 | already has one",
                "device create        | 16 | vgic-device     | has run",
                "device create        | 7  | vgic-device     | a GICv2 serves 8",
                "vcpu run             | 16 | gicv3           | the GICv3 is not initialized",
                "vcpu create          | 22 | arm64 vcpu-id-low | with a GICv2 in the VM or the host"
            })
    void firstCauseIsTheRightOne(String call, int errno, String facts, String expected) {
        List<Answer> causes = causes(call, errno, facts);
        assertThat(causes).isNotEmpty();
        assertThat(causes.get(0).text()).contains(expected);
    }

    /** Requests from user reports, and the same requests in the newest sources. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "vfio device open  | 13 |       | a VF token is needed",
                "vfio device open  | 22 |       | neither PF nor VF",
                "vfio device open  | 11 |       | holds the device's lock",
                "vfio device open  | 16 |       | its own IOMMU domain",
                "vfio dma map      | 22 |       | with 39 bits they end at 512 GiB",
                "vfio dma map      | 14 |       | cannot be pinned",
                "vfio dma map      | 12 |       | once for each of them",
                "ioas map          | 22 |       | with 39 bits they end at 512 GiB",
                "vfio device reset | 25 |       | did not come back from its reset",
                "device create     | 19 | arm64 | no maintenance interrupt",
                "irqchip create    | 6  | arm64 | no maintenance interrupt"
            })
    void causesOfReportsAreNamed(String call, int errno, String facts, String expected) {
        assertThat(causes(call, errno, facts)).anyMatch(cause -> cause.text().contains(expected));
    }

    /** @param facts their labels; null for none */
    private static List<Answer> causes(String call, int errno, @Nullable String facts) {
        Set<Condition> known = EnumSet.noneOf(Condition.class);
        if (facts != null) {
            for (String fact : facts.split(" ", -1)) {
                known.add(Condition.parse(fact).orElseThrow());
            }
        }
        return Answers.find(KernelCall.parse(call).orElseThrow(), errno, known);
    }

    /** A certain cause is named alone, an uncertain one with the next likeliest. */
    @Test
    void sentenceNamesOneCauseWhenItIsCertain() {
        Set<Condition> split = EnumSet.of(Condition.X86, Condition.SPLIT_IRQCHIP);
        assertThat(Answers.sentence(KernelCall.IRQFD_LEVEL, Errno.EINVAL, split))
                .isEqualTo("resampling needs the full in-kernel irqchip, which sees the guest's EOI");
        assertThat(Answers.sentence(KernelCall.IRQFD_LEVEL, Errno.EINVAL, EnumSet.of(Condition.X86)))
                .contains("resampling needs the full", ", or ");
        assertThat(Answers.sentence(KernelCall.MEMORY, Errno.EINVAL, EnumSet.of(Condition.MISALIGNED)))
                .isEqualTo("address or size is not a multiple of the page size");
    }

    /** CTRL_INIT takes no lock of a vCPU; only SAVE_PENDING_TABLES does. */
    @Test
    void busyVgicIsToldApartByItsControl() {
        assertThat(Answers.find(KernelCall.VGIC_CONTROL, Errno.EBUSY.number(), EnumSet.of(Condition.ARM64)))
                .extracting(Answer::name)
                .containsExactly("VGIC_INIT_CREATING", "VGIC_SAVE_RUNNING");
    }

    /** A typed call makes the word; only PPIs name a vCPU. */
    @Test
    void lineOfATypedCallIsNotOfAnUnknownKind() {
        Set<Condition> known = EnumSet.of(Condition.ARM64, Condition.VGIC, Condition.OLD, Condition.TYPED_CALL);
        assertThat(Answers.sentence(KernelCall.LINE, Errno.EINVAL, known))
                .isEqualTo("no such vCPU or interrupt: PPIs are 16-31, SPIs 32 to the VGIC's last");
        assertThat(Answers.sentence(KernelCall.PPI_LINE, Errno.EINVAL, known))
                .contains("no such vCPU or interrupt", "the id of the vCPU found by index")
                .doesNotContain("bits 31:24");
        assertThat(Answers.find(KernelCall.LINE, Errno.EINVAL.number(), EnumSet.of(Condition.ARM64)))
                .extracting(Answer::name)
                .contains("ARM_LINE_KIND", "ARM_LINE_NUMBER", "ARM_LINE_VCPU_TWICE");
    }

    @Test
    void firstRunOnArm64NamesNoRegisterOfX86() {
        Set<Condition> known = EnumSet.of(Condition.ARM64, Condition.VGIC, Condition.TYPED_CALL);
        assertThat(Answers.sentence(KernelCall.VCPU_RUN, Errno.EINVAL, known))
                .isEqualTo("addresses of the VGIC overlap");
    }

    @Test
    void whatIsKnownRulesCausesOut() {
        assertThat(Answers.find(KernelCall.IRQFD, Errno.EINVAL.number(), EnumSet.of(Condition.FULL_IRQCHIP)))
                .noneMatch(cause -> cause.name().matches("IRQFD_(NEEDS|RESAMPLE).*"));
        assertThat(Answers.find(KernelCall.IRQFD, Errno.EAGAIN.number(), EnumSet.of(Condition.X86)))
                .isEmpty();
    }

    /** An iommufd has no part in a device's interrupts. */
    @Test
    void requestsOfContainersAreNotMeantByOthers() {
        assertThat(Answers.find(KernelCall.SET_IRQS, Errno.ENODEV.number(), Set.of()))
                .noneMatch(cause -> cause.text().contains("iommufd"));
    }

    /** Causes that a real kernel was seen to have stay, whatever else is known. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "routes set     | 22 | full x86          | ROUTE_PIN",
                "routes set     | 22 | no-vcpu x86       | ROUTE_HIGH_ADDRESS",
                "irqfd assign   | 5  | own               | VM_DEAD",
                "irqfd assign   | 5  | foreign           | FOREIGN_PROCESS",
                "irqfd assign   | 5  |                   | VM_DEAD",
                "irqfd          | 22 | level none        | IRQFD_RESAMPLE_NEEDS_FULL",
                "irqfd          | 22 | level split       | IRQFD_RESAMPLE_NEEDS_FULL",
                "KVM_ENABLE_CAP | 22 | none              | X2APIC_SUPPRESS_SPLIT",
                "KVM_ENABLE_CAP | 22 | full              | X2APIC_SUPPRESS_SPLIT",
                "KVM_ENABLE_CAP | 22 | since-6.17        | X2APIC_TWO_BITS_BEFORE",
                "vcpu init      | 22 | since-6.17 arm64  | ARM_VCPU_FEATURES_BEFORE"
            })
    void trueCausesStay(String call, int errno, String facts, String cause) {
        assertThat(causes(call, errno, facts)).extracting(Answer::name).contains(cause);
    }

    @Test
    void needsThatExcludeEachOtherAreAlternatives() {
        assertThat(IrqfdAnswer.IRQFD_RESAMPLE_NEEDS_FULL.conditions())
                .containsExactly(
                        "an x86-64 host",
                        "a level interrupt, with a resamplefd",
                        "the VM has the split irqchip, or the VM has no in-kernel irqchip");
    }

    @Test
    void namesAreFoundHoweverTheyAreTyped() {
        assertThat(KernelCall.parse("KVM_IRQFD")).contains(KernelCall.IRQFD);
        assertThat(KernelCall.parse("irqfd-deassign")).contains(KernelCall.IRQFD_DEASSIGN);
        assertThat(KernelCall.parse("set_irqs")).contains(KernelCall.SET_IRQS);
        assertThat(KernelCall.parse("nothing")).isEmpty();
    }

    @Test
    void machineTellsItsFacts() {
        assertThat(Condition.ofMachine("6.1.0-13-amd64", "amd64"))
                .containsExactlyInAnyOrder(Condition.OLD, Condition.X86);
        assertThat(Condition.ofMachine("6.17.0", "aarch64")).containsExactlyInAnyOrder(Condition.NEW, Condition.ARM64);
        assertThat(Condition.ofMachine("7.1", "riscv64")).containsExactly(Condition.NEW);
        assertThat(Condition.ofMachine("unknown", "")).isEmpty();
    }
}
