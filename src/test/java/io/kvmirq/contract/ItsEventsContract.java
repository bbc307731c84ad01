/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.ItsEvents;
import io.kvmirq.kvm.Arm64Vcpu;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Posting;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.HostRows;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@link ItsEvents} on a real kernel: the tables that it writes, and the host's counter of the vector, which stands still
 * while a message is a vLPI. With a GICv3 the same messages are the host's. The fake answers in {@code ItsEventsTest}.
 */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#arm64")
class ItsEventsContract {
    private static final int VECTORS = 2;
    /** A part of guest memory that no table has. */
    private static final int CODE = 0x8000;
    /** WFI, and a branch back to it. */
    private static final byte[] IDLE = {0x7f, 0x20, 0x03, (byte) 0xd5, (byte) 0xff, (byte) 0xff, (byte) 0xff, 0x17};

    private final VfioWorld vfio;
    private LpiDevice nic;
    private Vcpu first;
    private GuestIts guest;
    private Forwarding forwarding;
    private List<ForwardedIrq> irqs;

    @SuppressWarnings("NullAway.Init")
    ItsEventsContract(VfioWorld vfio) {
        this.vfio = vfio;
    }

    @BeforeEach
    void setUp() {
        nic = new LpiDevice(vfio, "ItsEventsTest asks the fake");
        Vm vm = nic.made.add(Vm.create(nic.kernel));
        first = nic.made.add(vm.createVcpu(new VcpuId(0)));
        first.arm64().initialize();
        nic.made.add(vm.createVcpu(new VcpuId(1))).arm64().initialize(Arm64Vcpu.Feature.POWER_OFF);
        guest = new GuestIts(vm, 2, nic.made);
        VfioDevice device = nic.open(vm);
        forwarding = nic.made.add(Forwarding.create(vm, device));
        guest.map(0);
        guest.map(1);
        irqs = forwarding.forwardAll(device.msix(0, VECTORS), GuestIts::message);
    }

    @AfterEach
    void close() {
        if (nic != null) {
            nic.close();
        }
    }

    /** No vCPU runs. */
    private void read() {
        forwarding.mask(irqs);
        tell();
        forwarding.unmask(irqs);
    }

    private void tell() {
        assertThat(new ItsEvents(guest.its(), List.of(guest.memory())).tell(forwarding))
                .isEmpty();
    }

    private void assertPredicted(int vector, int vcpu) {
        Posting predicted = irqs.get(vector).predicted();
        if (nic.direct) {
            assertThat(predicted).isInstanceOfSatisfying(Posting.Posted.class, posted -> assertThat(posted.what())
                    .isEqualTo(new Posting.ToLpi(GuestIts.lpi(vector), new VcpuId(vcpu))));
        } else {
            assertThat(predicted).isInstanceOf(Posting.NotPosted.class);
        }
    }

    /** Sends a message, which is the host's or a vLPI. */
    private void send(int vector, boolean isTakenByHost) {
        String row = "vfio-msix[" + vector + "]";
        long before = HostRows.counted(row);
        nic.send(vector);
        if (isTakenByHost) {
            World.eventually("the host counts it", () -> HostRows.counted(row) > before);
        } else {
            assertThat(HostRows.counted(row)).isEqualTo(before);
        }
    }

    @Test
    void predictionFollowsTheTablesThatAreRead() {
        read();
        assertPredicted(0, 0);
        assertPredicted(1, 1);
        send(0, !nic.direct);
        send(1, !nic.direct);
        guest.move(0, 1);
        assertPredicted(0, 0);
        send(0, !nic.direct); // a moved vLPI stays one
        read();
        assertPredicted(0, 1);
        send(0, !nic.direct);
        guest.discard(0);
        guest.map(0);
        assertPredicted(0, 1);
        send(0, true); // no vLPI, and the prediction is stale
        read();
        assertPredicted(0, 0);
        send(0, !nic.direct); // a vLPI again
        guest.discard(0);
        read();
        assertThat(irqs.get(0).predicted()).isInstanceOf(Posting.NotPosted.class);
        assertPredicted(1, 1);
    }

    @Test
    void tablesAreNotReadWhileAnLpiIsAVlpi() {
        assumeTrue(nic.direct, "needs a GICv4");
        assertThat(refused(Errno.EACCES, () -> guest.its().saveTables())).contains("an LPI is a vLPI of GICv4.0");
        read();
        assertPredicted(0, 0);
    }

    @Test
    void tablesAreNotReadWhileAVcpuRuns() throws InterruptedException {
        guest.memory().mapping().put(CODE, IDLE);
        first.arm64().setRegister(ArmRegister.PC, guest.memory().guestAddress() + CODE);
        forwarding.mask(irqs);
        AtomicBoolean ends = new AtomicBoolean();
        Thread runs = new Thread(() -> {
            first.moveHere();
            while (!ends.get()) {
                first.run();
            }
        });
        runs.start();
        try {
            World.eventually("the tables are refused", this::isRefused);
        } finally {
            ends.set(true);
            first.kick();
            runs.join();
        }
        tell();
        forwarding.unmask(irqs);
        assertPredicted(0, 0);
    }

    /** By the sentence of a vCPU that runs. */
    private boolean isRefused() {
        try {
            tell();
            return false;
        } catch (KernelException e) {
            assertThat(e.errno()).isEqualTo(Errno.EBUSY);
            assertThat(e).hasMessageContaining("a vCPU is running");
            return true;
        }
    }
}
