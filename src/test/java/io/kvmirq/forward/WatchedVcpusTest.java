/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.fake.FakeExit.hlt;
import static io.kvmirq.fake.FakeExit.ioOut;
import static io.kvmirq.forward.ForwardWorld.message;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.VmListener;
import io.kvmirq.kvm.WatchedVcpu;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.mirror.EntryUpdate;
import io.kvmirq.mirror.LapicSample;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrte;
import io.kvmirq.mirror.PredictedPid;
import io.kvmirq.mirror.Snapshot;
import io.kvmirq.mirror.VcpuStage;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A forwarding watches the vCPUs that this process runs. */
class WatchedVcpusTest {
    private static final VcpuId FIRST = new VcpuId(0);

    @ParameterizedTest
    @CsvSource({"vtd-posting, true", "'6.12,vtd-posting', false"})
    void descriptorOfAVcpuThatRanAndLeftIsKnown(String profile, boolean suppressed) {
        try (ForwardWorld world = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'));
            forwarding.forward(world.device.msix().get(0), message(0x31));
            assertThat(forwarding.mirror().now().pid(FIRST).known()).isEmpty();
            world.first.run();
            assertThat(forwarding.mirror().now().pid(FIRST).known())
                    .contains(new PredictedPid(0xf2, suppressed, OptionalInt.empty()));
        }
    }

    /** Runs the first vCPU, which halts and sleeps, in a thread of its own. */
    private static FutureTask<VcpuExit.Reason> asleep(ForwardWorld world) {
        FutureTask<VcpuExit.Reason> run = new FutureTask<>(() -> {
            world.first.moveHere();
            return world.first.run().reason();
        });
        world.fake.vcpu(0).exits(hlt());
        new Thread(run, "runner").start();
        FakeVcpu hardware = world.fake.vcpus().get(0);
        while (hardware.state() != FakeVcpu.State.BLOCKED && !run.isDone()) {
            Thread.onSpinWait();
        }
        assertThat(run).isNotDone();
        return run;
    }

    @Test
    void descriptorIsUnknownInKvmRun() throws Exception {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            Mirror mirror = forwarding.mirror();
            forwarding.forward(world.device.msix().get(0), message(0x31));
            FutureTask<VcpuExit.Reason> run = asleep(world);
            assertThat(mirror.now().pid(FIRST).known()).isEmpty();
            assertThat(mirror.now().stage(FIRST)).contains(new VcpuStage.InRun());
            world.first.kick();
            assertThat(run.get()).isEqualTo(VcpuExit.Reason.INTR);
            assertThat(mirror.now().pid(FIRST).known()).contains(new PredictedPid(0xf2, true, OptionalInt.empty()));
        }
    }

    private static Optional<Boolean> isRun(ForwardedIrq irq) {
        return ((PredictedIrte.AmdGuest) irq.forwarding()
                        .mirror()
                        .irq(irq.event().id())
                        .orElseThrow()
                        .irte()
                        .known()
                        .orElseThrow())
                .isRun();
    }

    @Test
    void entryOfAVcpuInKvmRunIsUnknown() throws Exception {
        try (ForwardWorld world = new ForwardWorld("amd-avic");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            assertThat(isRun(irq)).contains(false);
            FutureTask<VcpuExit.Reason> run = asleep(world);
            assertThat(isRun(irq)).isEmpty();
            world.first.kick();
            run.get();
            assertThat(isRun(irq)).contains(false);
        }
    }

    /** KVM_RUN may have failed before it loaded the vCPU. */
    @Test
    void runThatFailsLeavesTheDescriptorUnknown() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'), ioOut(0x3f8, 1, 'B'));
            forwarding.forward(world.device.msix().get(0), message(0x31));
            world.first.run();
            world.faults.fail("KVM_RUN", 1, Errno.EIO);
            assertThatThrownBy(world.first::run).hasMessageContaining("EIO");
            assertThat(forwarding.mirror().now().pid(FIRST).known()).isEmpty();
            world.first.run();
            assertThat(forwarding.mirror().now().pid(FIRST).known()).isPresent();
        }
    }

    /** As Linux writes it on few vCPUs. */
    private static MsiMessage logical(int destination, int vector) {
        return new MsiMessage(0xfee00000L | destination << 12 | 1 << 2, vector);
    }

    private static void giveLogicalId(Vcpu vcpu, int id) {
        vcpu.x86().setLapic(vcpu.x86().lapic().set(X86Lapic.Name.LDR, id << 24).set(X86Lapic.Name.DFR, -1));
    }

    /** If a prediction needs a LAPIC, the mirror reads the LAPIC when the vCPU next returns from KVM_RUN. */
    @Test
    void logicalMessageIsPredictedWhenEachVcpuHasRun() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'), ioOut(0x3f8, 1, 'B'));
            world.fake.vcpu(1).exits(ioOut(0x3f8, 1, 'A'), ioOut(0x3f8, 1, 'B'));
            world.second.setState(VcpuState.RUNNABLE);
            giveLogicalId(world.first, 0x1);
            giveLogicalId(world.second, 0x2);
            Optional<LapicSample> set = forwarding.mirror().now().lapic(FIRST);
            world.first.run();
            world.second.run();
            assertThat(forwarding.mirror().now().lapic(FIRST))
                    .as("nobody asked")
                    .isEqualTo(set)
                    .isPresent();
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), logical(0x2, 0x31));
            assertThat(irq.predicted()).isInstanceOf(Posting.Unknown.class);
            world.first.run();
            world.second.run();
            assertThat(irq.predicted()).as("read after the write").isInstanceOf(Posting.Unknown.class);
            irq.mask();
            irq.unmask();
            assertThat(((Posting.Posted) irq.predicted()).what())
                    .isEqualTo(new Posting.ToVcpu(new VcpuId(1), ForwardWorld.vector(0x31)));
            assertThat(world.hardware.irte(0).vcpu()).contains(new VcpuId(1));
            assertThat(forwarding.mirror().now().lapic(FIRST)).isNotEqualTo(set);
        }
    }

    /** KVM wrote the entry when no vCPU had the id, and writes it again at the unmask. */
    @Test
    void logicalMessageKeepsTheVcpuOfItsLastWrite() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            world.second.setState(VcpuState.RUNNABLE);
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), logical(0x2, 0x31));
            for (int owner : new int[] {1, 0, 1}) {
                giveLogicalId(world.first, owner == 0 ? 0x2 : 0x1);
                giveLogicalId(world.second, owner == 1 ? 0x2 : 0x1);
                assertThat(forwarding.mirror().now()).isNotNull();
                world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'));
                world.fake.vcpu(1).exits(ioOut(0x3f8, 1, 'A'));
                world.first.run();
                world.second.run();
                assertThat(irq.predicted()).isInstanceOf(Posting.NotPosted.class);
                assertThat(world.hardware.irte(0).vcpu()).isEmpty();
            }
            irq.mask();
            irq.unmask();
            assertThat(world.hardware.irte(0).vcpu()).contains(new VcpuId(1));
            giveLogicalId(world.second, 0x1);
            giveLogicalId(world.first, 0x2);
            assertThat(((Posting.Posted) irq.predicted()).what())
                    .isEqualTo(new Posting.ToVcpu(new VcpuId(1), ForwardWorld.vector(0x31)));
            assertThat(irq.path()
                            .known(Snapshot.UPDATE)
                            .known()
                            .flatMap(EntryUpdate::next)
                            .map(next -> ((Posting.Posted) next).what()))
                    .contains(new Posting.ToVcpu(new VcpuId(0), ForwardWorld.vector(0x31)));
        }
    }

    /** KVM_GET_LAPIC at each exit would be a cost. */
    @Test
    void physicalMessagesAskForNoLapic() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'));
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            assertThat(irq.predicted()).isInstanceOf(Posting.Posted.class);
            Optional<LapicSample> set = forwarding.mirror().now().lapic(FIRST);
            world.first.run();
            assertThat(forwarding.mirror().now().lapic(FIRST)).isEqualTo(set);
        }
    }

    /** The first vCPU of a VM, as its listeners get it. */
    private static WatchedVcpu watched(Vm vm) {
        List<WatchedVcpu> watched = new ArrayList<>();
        vm.listeners().add(new VmListener() {
            @Override
            public void vcpuAdded(VcpuId vcpu) {}

            @Override
            public void vcpuWatched(WatchedVcpu vcpu) {
                watched.add(vcpu);
            }

            @Override
            public void apicIdsWidened() {}
        });
        return watched.get(0);
    }

    /** A mirror that gets a vCPU from a second forwarding keeps the phase that it has. */
    @Test
    void phasesOfOneVcpuAreEqual() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting")) {
            WatchedVcpu vcpu = watched(world.vm);
            assertThat(new WatchedPhase(vcpu))
                    .isEqualTo(new WatchedPhase(vcpu))
                    .hasSameHashCodeAs(new WatchedPhase(vcpu));
        }
    }

    @Test
    void vcpuWithoutALapicIsAskedOnce() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Vm bare = Vm.create(world.kernel);
                Vcpu vcpu = bare.createVcpu(FIRST)) {
            watched(bare).askForLapic();
            world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'), ioOut(0x3f8, 1, 'B'));
            world.faults.listen();
            vcpu.run();
            assertThat(world.faults.calls()).contains("KVM_GET_LAPIC");
            world.faults.listen();
            vcpu.run();
            assertThat(world.faults.calls()).doesNotContain("KVM_GET_LAPIC");
        }
    }
}
