/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;
import static io.kvmirq.differential.Operation.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A slice of the search; {@code make differential} runs more. */
@RealKvm
@Tag("long")
class DifferentialTest {
    /** How many seeds; the default takes some seconds. */
    private static final long SEEDS = Long.getLong("kvmirq.differential.seeds", 300);

    /** With fewer, chance would decide which outcomes are rare. */
    private static final long ENOUGH = 2000;

    /** A kernel that is not the fake's differs from it, and is right. */
    @BeforeAll
    static void kernelHasAProfile() {
        assumeTrue(
                Machine.isX86() != Machine.profile().isArm64(),
                "the profile " + Machine.profile() + " is of another architecture than this machine");
        Optional<String> flaw = Machine.profileFlaw();
        assumeTrue(flaw.isEmpty(), () -> flaw.orElse(""));
    }

    @Test
    void fakeAnswersAsTheRealKernelDoesAndNoOutcomeIsRare() {
        try (Differential differential = Differential.ofThisMachine()) {
            long start = System.nanoTime();
            List<String> found = DifferentialReport.run(differential, 0, SEEDS);
            System.out.println(differential.coverage() + "\n"
                    + DifferentialReport.summary(differential, System.nanoTime() - start));
            assertThat(found).as("differences").isEmpty();
            // VFIO takes its share of the calls, and some of its calls are rare because they take 100 ms.
            if (SEEDS >= ENOUGH && !differential.hasVfio()) {
                assertThat(differential.coverage().rare())
                        .as("what comes less than once in some hundred times")
                        .isEmpty();
            }
        }
    }

    /** A sequence that the search found is pasted as calls of this method. */
    private static void agree(Call... calls) {
        Machine.assumeX86();
        try (Differential differential = Differential.ofThisMachine()) {
            assertThat(differential.run(List.of(calls))).isEmpty();
        }
    }

    /** The same after calls that make VM 1001 and its irqchip. */
    private static void agreeOnVm(Call irqchip, Call... calls) {
        agree(Stream.concat(Stream.of(call(OPEN, 1000, 0), call(CREATE_VM, 1001, 1000, 0), irqchip), Stream.of(calls))
                .toArray(Call[]::new));
    }

    private static void agreeOnFullVm(Call... calls) {
        agreeOnVm(call(CREATE_IRQCHIP, 1001), calls);
    }

    /** Signals are settled by barriers, and stale numbers stay stale. */
    @Test
    void closedEventfdIsDetachedOnBoth() {
        agreeOnFullVm(
                call(EVENTFD, 1002, 0, 0),
                call(EVENTFD, 1003, 0, 0),
                call(IRQFD, 1001, 1002, 5, 2, 1003),
                call(WRITE, 1002, 1, 8),
                call(IRQFD, 1001, 1002, 5, 1, 0),
                call(CLOSE, 1002),
                call(CLOSE, 1002),
                call(GET_IRQCHIP, 1001, 2));
    }

    /** It made a resampler of its own before it was found busy. */
    @Test
    void resamplingIrqfdThatIsBusyLowersTheLineItNeverRaised() {
        agreeOnFullVm(
                call(EVENTFD, 1002, 0, 0),
                call(IRQFD, 1001, 1002, 0, 0, 0),
                call(SET_IRQCHIP, 1001, 2, 16, 0xff),
                call(GET_IRQCHIP, 1001, 2),
                call(IRQFD, 1001, 1002, 1, 2, 1002),
                call(GET_IRQCHIP, 1001, 2));
    }

    @Test
    void guestThatSignalsFullEventfdMakesPollCallItAnError() {
        agreeOnFullVm(
                call(CREATE_VCPU, 1002, 1001, 0),
                call(EVENTFD, 1003, 0, 0),
                call(IOEVENTFD, 1001, 1003, GuestRun.NOTIFY, 0, 2, 0),
                call(WRITE, 1003, -2, 8),
                call(RUN, 1002),
                call(POLL, 1003, 1, 0),
                call(READ, 1003, 8));
    }

    /** The first instruction is a HLT that an NMI passes: the NMI is next. */
    @Test
    void nmiThatPassesAHaltComesBeforeTheNextInstruction() {
        assumeTrue(VcpuSide.PVM, "needs a kvm_pvm: on SVM, as QEMU emulates it, the store after the HLT comes first");
        agree(
                call(OPEN, 1000, 0),
                call(CREATE_VM, 1003, 1000, 0),
                call(SPLIT_IRQCHIP, 1003, 0, 0),
                call(CREATE_VCPU, 1004, 1003, 0),
                call(NMI, 1004),
                call(SET_EVENTS, 1004, 13, 11, 1),
                call(LOAD, 1004, 0, 0x1000000000000f4L, 0, 0, 0x40000000000a226L, 0, 0, 0, 0, 0x40000000000a226L, 0),
                call(CONTINUE, 1004, 0, 0));
    }

    /** A level is taken again and again; its resamplefd hears of each end. */
    @Test
    void guestEndsLevelInterruptAndResamplefdHears() {
        agreeOnFullVm(
                call(CREATE_VCPU, 1002, 1001, 0),
                call(SET_LAPIC, 1002, 0xf0, 0x1ff),
                call(SET_IRQCHIP, 1001, 2, 24 + 8 * 5, 0x8041),
                call(EVENTFD, 1003, 0, 0),
                call(EVENTFD, 1004, 0, 0),
                call(IRQFD, 1001, 1003, 5, 2, 1004),
                call(IRQ_LINE_STATUS, 1001, 5, 1),
                call(RUN, 1002),
                call(GET_LAPIC, 1002),
                call(GET_IRQCHIP, 1001, 2),
                call(READ, 1004, 8));
    }

    @Test
    void vmmOfSplitIrqchipHearsOfTheEndOfItsPin() {
        agreeOnVm(
                call(SPLIT_IRQCHIP, 1001, 24, 0),
                call(CREATE_VCPU, 1002, 1001, 0),
                call(SET_LAPIC, 1002, 0xf0, 0x1ff),
                call(ROUTING, 1001, 1, 0, 5, 2, 0, 0xfee00000L, 0, 0x8041),
                call(IRQ_LINE_STATUS, 1001, 5, 1),
                call(RUN, 1002),
                call(GET_LAPIC, 1002));
    }

    /** The kernel keeps 8 bits of the number of pins. */
    @Test
    void vmmWith4096PinsHearsOfNone() {
        agreeOnVm(
                call(SPLIT_IRQCHIP, 1001, 4096, 0),
                call(CREATE_VCPU, 1002, 1001, 0),
                call(SET_LAPIC, 1002, 0xf0, 0x1ff),
                call(ROUTING, 1001, 1, 0, 5, 2, 0, 0xfee00000L, 0, 0x8041),
                call(IRQ_LINE_STATUS, 1001, 5, 1),
                call(RUN, 1002));
    }

    /** Both of one bit: priority picks by the vector, and a bit nobody has is a lost interrupt. */
    @Test
    void logicalDestinationsOfOneFormatGoByTheMap() {
        agreeOnFullVm(
                call(CREATE_VCPU, 1002, 1001, 0),
                call(CREATE_VCPU, 1003, 1001, 1),
                call(SET_LAPIC, 1002, 0xf0, 0x1ff),
                call(SET_LAPIC, 1003, 0xf0, 0x1ff),
                call(SET_LAPIC, 1002, 0xd0, 1 << 24),
                call(SET_LAPIC, 1003, 0xd0, 2 << 24),
                call(SIGNAL_MSI, 1001, 0xfee07004L, 0, 0x140, 0),
                call(SIGNAL_MSI, 1001, 0xfee07004L, 0, 0x141, 0),
                call(SIGNAL_MSI, 1001, 0xfee07004L, 0, 0x142, 0),
                call(SIGNAL_MSI, 1001, 0xfee03004L, 0, 0x43, 0),
                call(GET_LAPIC, 1002),
                call(GET_LAPIC, 1003));
    }

    /** Type 4, of Hyper-V, is a kernel's or not, as it was built. */
    @Test
    void syntheticInterruptsAreRoutesWhereThereIsHyperV() {
        agreeOnVm(
                call(SPLIT_IRQCHIP, 1001, 0, 0),
                call(ROUTING, 1001, 1, 0, 1, 4, 0, 0, 0, 0),
                call(IRQ_LINE_STATUS, 1001, 1, 1));
    }

    /** Once it has run, setting its CPUID again changes nothing, the LAPIC's version neither. */
    @Test
    void cpuidOfVcpuThatHasRunStaysWithAllThatFollowedFromIt() {
        agreeOnVm(
                call(SPLIT_IRQCHIP, 1001, 0, 0),
                call(CREATE_VCPU, 1005, 1001, 0),
                call(RUN, 1005),
                call(X2APIC_API, 1001, 8, 0),
                call(RUN, 1005),
                call(GET_LAPIC, 1005));
    }

    /** VMX refuses to enter the guest, SVM lets it take the vector. */
    @Test
    void interruptThatTheGuestBlocksIsInjected() {
        agree(
                call(OPEN, 1000, 0),
                call(CREATE_VM, 1003, 1000, 0),
                call(CREATE_VCPU, 1004, 1003, 0),
                call(SET_SREGS, 1004, 311, 1, 1),
                call(LOAD, 1004, 0, 0, 0, 0, 0, 0),
                call(CONTINUE, 1004, 0, 0));
    }

    /** Intel's APICv ends vector 0, which is that of the pin. */
    @Test
    void guestEndsNothingAndResamplefdHearsWithApicv() {
        agreeOnFullVm(
                call(CREATE_VCPU, 1005, 1001, 0),
                call(EVENTFD, 1011, 0, 0),
                call(EVENTFD, 1012, 0, 0),
                call(IRQFD, 1001, 1012, 0, 2, 1011),
                call(RUN, 1005),
                call(POLL, 1011, 1, 0));
    }

    /** The first interrupt is of the PIC, the second one of the LAPIC. */
    @Test
    void vectorThatTheGuestHasTakenIsTold() {
        agreeOnFullVm(
                call(CREATE_VCPU, 1004, 1001, 0),
                call(SET_LAPIC, 1004, 240, 511),
                call(IRQ_LINE_STATUS, 1001, 0, 1),
                call(SIGNAL_MSI, 1001, 0, 0, 49424, 0),
                call(LOAD, 1004, 0, 0x1000000000000fbL, 0x4000000ec04d1baL),
                call(CONTINUE, 1004, 0, 0),
                call(CONTINUE, 1004, 0, 0),
                call(GET_EVENTS, 1004));
    }

    /** MOV SS, then STI: a processor decides whether the STI shadows the OUT. */
    @Test
    void shadowInAShadowIsThatOfTheProcessor() {
        agreeOnFullVm(
                call(CREATE_VCPU, 1004, 1001, 0),
                call(LOAD, 1004, 0, 0x4000000d08ed08cL, 0x1000000000000fbL),
                call(IRQ_LINE_STATUS, 1001, 0, 1),
                call(CONTINUE, 1004, 0, 0));
    }

    @Test
    void initWakesBootVcpuThatHalts() {
        agreeOnFullVm(
                call(CREATE_VCPU, 1004, 1001, 0),
                call(RUN, 1004),
                call(SET_MP_STATE, 1004, 3),
                call(SIGNAL_MSI, 1001, 0, 0, 34048, 0),
                call(GET_MP_STATE, 1004));
    }
}
