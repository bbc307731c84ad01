/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A mirror reads the phases of vCPUs that this process runs. */
class WatchesTest {
    private static final VcpuId VCPU = new VcpuId(1);
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final Gsi GSI = new Gsi(24);
    private static final EventFdId EVENT = new EventFdId(3);
    private static final Producer PRODUCER = new Producer(PciAddress.parse("0000:3b:00.0"), Producer.Kind.MSI_X, 0);
    private static final PredictedPid LEFT_SINCE_6_17 = new PredictedPid(0xf2, true, OptionalInt.empty());

    /** A phase that a test moves. Even numbers are outside of KVM_RUN. */
    private static final class Phase implements VcpuPhase {
        private long number;
        private boolean failed;
        private int reads;
        private Optional<LapicSample> lapic = Optional.empty();
        /** The phase in which the LAPIC has the ids of the sample. */
        private long sampled;

        void run() {
            enter();
            leave();
        }

        void enter() {
            number++;
            failed = false;
        }

        void leave() {
            number++;
        }

        void fail() {
            failed = true;
            number++;
        }

        @Override
        public long number() {
            reads++;
            return number;
        }

        @Override
        public boolean isInRun(long at) {
            return at % 2 == 1;
        }

        @Override
        public boolean hasRun(long at) {
            return at > 0 && at % 2 == 0 && !failed;
        }

        @Override
        public Optional<LapicSample> lapic() {
            return lapic;
        }

        @Override
        public boolean hasLapicOf(long at) {
            return sampled == at;
        }
    }

    private final Phase phase = new Phase();

    private Mirror mirror(PostingHost host) {
        return mirror(MirrorHost.x86(host, AvicKernel.FROM_6_17));
    }

    /** A vector that is posted to the vCPU. */
    private Mirror mirror(MirrorHost host) {
        Mirror mirror = Mirror.create(host);
        mirror.apply(List.of(
                new Event.IrqchipCreated(Event.Irqchip.FULL),
                new Event.VcpuAdded(VCPU),
                new Event.VcpuWatched(VCPU, phase),
                Event.RoutesCommitted.of(new Route.Msi(GSI, MsiMessage.to(VCPU, VECTOR))),
                new Event.ConsumerAdded(EVENT, GSI),
                new Event.ProducerAdded(EVENT, PRODUCER)));
        return mirror;
    }

    private Mirror intel() {
        return mirror(PostingHost.of(Vendor.INTEL));
    }

    private static Optional<PredictedPid> pid(Mirror mirror) {
        return mirror.now().pid(VCPU).known();
    }

    private static void unforward(Mirror mirror) {
        mirror.apply(new Event.ProducerRemoved(EVENT, PRODUCER));
    }

    private static void forward(Mirror mirror) {
        mirror.apply(new Event.ProducerAdded(EVENT, PRODUCER));
    }

    @Test
    void vcpuThatIsAddedAndRemovedAtOnceHasNoStage() {
        Mirror mirror = mirror(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        VcpuId gone = new VcpuId(2);
        phase.enter();
        mirror.apply(
                List.of(new Event.VcpuAdded(gone), new Event.VcpuWatched(gone, phase), new Event.VcpuRemoved(gone)));
        assertThat(mirror.now().stage(gone)).isEmpty();
        assertThat(mirror.now().stage(VCPU)).contains(new VcpuStage.InRun());
        mirror.apply(
                List.of(new Event.VcpuRemoved(VCPU), new Event.VcpuAdded(VCPU), new Event.VcpuWatched(VCPU, phase)));
        assertThat(mirror.now().stage(VCPU)).as("removed and added again").contains(new VcpuStage.InRun());
    }

    @ParameterizedTest
    @CsvSource({"6.12, false", "6.16, false", "6.17, true"})
    void descriptorIsKnownOutsideOfKvmRun(String kernel, boolean suppressed) {
        Mirror mirror = mirror(PostingHost.of(Vendor.INTEL)
                .withKernel(LinuxVersion.parse(kernel).orElseThrow()));
        assertThat(pid(mirror)).as("before the first run").isEmpty();
        phase.enter();
        assertThat(pid(mirror)).as("in KVM_RUN").isEmpty();
        assertThat(mirror.now().stage(VCPU)).contains(new VcpuStage.InRun());
        phase.leave();
        assertThat(pid(mirror)).contains(new PredictedPid(0xf2, suppressed, OptionalInt.empty()));
        assertThat(mirror.now().stage(VCPU)).contains(new VcpuStage.Left());
        phase.run();
        assertThat(pid(mirror)).contains(new PredictedPid(0xf2, suppressed, OptionalInt.empty()));
    }

    private static PredictedIrte entry(Mirror mirror) {
        return mirror.irq(EVENT).orElseThrow().irte().known().orElseThrow();
    }

    private static PredictedIrte guestMode(Optional<Boolean> isRun, Optional<Boolean> gaLogIntr, OptionalInt cpu) {
        return new PredictedIrte.AmdGuest(VCPU, VECTOR, isRun, gaLogIntr, cpu);
    }

    @Test
    void entryInGuestModeIsKnownOutsideOfKvmRun() {
        Mirror mirror = mirror(PostingHost.of(Vendor.AMD));
        PredictedIrte stopped = guestMode(Optional.of(false), Optional.of(false), OptionalInt.empty());
        assertThat(entry(mirror)).as("before the first run").isEqualTo(stopped);
        phase.enter();
        assertThat(entry(mirror)).isEqualTo(guestMode(Optional.empty(), Optional.empty(), OptionalInt.empty()));
        mirror.apply(new Event.VcpuLoaded(VCPU, new HostApicId(4)));
        assertThat(entry(mirror))
                .as("another source of events")
                .isEqualTo(guestMode(Optional.of(true), Optional.of(false), OptionalInt.of(4)));
        phase.leave();
        assertThat(entry(mirror)).isEqualTo(stopped);
    }

    /** KVM stopped the vCPU before it had anything to post. */
    @Test
    void vcpuThatLeftBeforeAStepFoundTheStateBeforeTheStep() {
        Mirror mirror = intel();
        unforward(mirror);
        phase.run();
        forward(mirror);
        assertThat(pid(mirror)).isEmpty();
        phase.run();
        assertThat(pid(mirror)).contains(LEFT_SINCE_6_17);
    }

    /** Between the two steps KVM may have stopped the vCPU once more, as in each call on the vCPU. */
    @Test
    void descriptorIsUnknownAfterAMomentInWhichNothingWasPosted() {
        Mirror mirror = intel();
        phase.run();
        assertThat(pid(mirror)).contains(LEFT_SINCE_6_17);
        unforward(mirror);
        forward(mirror);
        assertThat(pid(mirror)).isEmpty();
        phase.run();
        assertThat(pid(mirror)).contains(LEFT_SINCE_6_17);
    }

    @Test
    void runThatFailedSaysNothing() {
        Mirror mirror = intel();
        phase.run();
        phase.enter();
        phase.fail();
        assertThat(pid(mirror)).isEmpty();
        assertThat(mirror.now().stage(VCPU)).contains(new VcpuStage.Left());
    }

    /** The VMM may set registers of a LAPIC, and a phase may show a sample before it says that it is of this phase. */
    @Test
    void lapicMayChangeWithoutANewPhase() {
        Mirror mirror = intel();
        mirror.apply(Event.RoutesCommitted.of(new Route.Msi(GSI, new MsiMessage(0xfee02004L, VECTOR.number()))));
        phase.lapic = Optional.of(
                LapicSample.of(VCPU, 0xfee00800L, 1 << 24, 2 << 24, LapicPage.DFR_FLAT, 0x1ff, Instant.EPOCH));
        writeAgain(mirror);
        assertThat(mirror.irq(EVENT).orElseThrow().posting()).isInstanceOf(Posting.Posted.class);
        phase.sampled = -1;
        writeAgain(mirror);
        assertThat(mirror.irq(EVENT).orElseThrow().posting())
                .as("the VMM has set the LAPIC")
                .isInstanceOf(Posting.Unknown.class);
        phase.sampled = phase.number;
        assertThat(mirror.irq(EVENT)
                        .orElseThrow()
                        .update()
                        .known()
                        .orElseThrow()
                        .next())
                .as("the sample is one of this phase")
                .containsInstanceOf(Posting.Posted.class);
    }

    private static void writeAgain(Mirror mirror) {
        mirror.apply(List.of(new Event.ConsumerRemoved(EVENT, GSI), new Event.ConsumerAdded(EVENT, GSI)));
    }

    @Test
    void lookWithoutANewPhaseFindsTheSameSnapshot() {
        Mirror mirror = intel();
        phase.run();
        Snapshot first = mirror.now();
        assertThat(mirror.now()).isSameAs(first);
        phase.run();
        assertThat(mirror.now()).isNotSameAs(first);
    }

    @Test
    void vcpuThatIsToldTwiceIsWatchedOnce() {
        Mirror mirror = intel();
        phase.run();
        mirror.apply(new Event.VcpuWatched(VCPU, phase));
        assertThat(pid(mirror)).contains(LEFT_SINCE_6_17);
        mirror.apply(new Event.VcpuRemoved(VCPU));
        int reads = phase.reads;
        assertThat(mirror.now().stage(VCPU)).isEmpty();
        assertThat(phase.reads).isEqualTo(reads);
    }

    /** The schedule of a vCPU changes no prediction there. */
    @Test
    void mirrorOfAnArm64HostReadsNoPhase() {
        Mirror mirror = mirror(MirrorHost.arm64(false, VlpiKernel.BY_HOST_IRQ));
        mirror.now();
        assertThat(phase.reads).isZero();
    }
}
