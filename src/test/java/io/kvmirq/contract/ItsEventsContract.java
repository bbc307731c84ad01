/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.ItsEvents;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Posting;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.HostRows;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
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
    private final Undo made = new Undo();
    private Vm vm;
    private Vcpu first;
    private GuestIts guest;
    private VfioDevice device;
    private Hardware hardware;
    private Forwarding forwarding;
    private List<ForwardedIrq> irqs;
    private boolean direct;

    @SuppressWarnings("NullAway.Init")
    ItsEventsContract(VfioWorld vfio) {
        this.vfio = vfio;
    }

    @BeforeEach
    void setUp() {
        assumeTrue(vfio.world.fake().isEmpty(), "needs a real kernel: ItsEventsTest asks the fake");
        direct = Machine.hasVlpis();
        PciAddress address = vfio.address(E1000E);
        Kernel kernel = made.add(Kernel.over(vfio.kernel()));
        vm = made.add(Vm.create(kernel));
        first = made.add(vm.createVcpu(new VcpuId(0)));
        first.initialize();
        made.add(vm.createVcpu(new VcpuId(1))).initialize(Vcpu.Feature.POWER_OFF);
        guest = new GuestIts(vm, 2, made);
        device = made.add(VfioDevice.open(kernel, address, made.add(KvmVfio.create(vm))));
        hardware = vfio.hardwareOf(E1000E, Numbers.of(device.fd()));
        device.config().enableMemory();
        device.config().enableBusMaster();
        hardware.start();
        forwarding = made.add(Forwarding.of(vm, device));
        guest.map(0);
        guest.map(1);
        irqs = forwarding.forwardAll(device.msix(0, VECTORS), GuestIts::message);
    }

    @AfterEach
    void close() {
        if (hardware != null && hardware.isCounting()) {
            device.reset();
        }
        made.close();
        vfio.closeAll();
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
        if (direct) {
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
        hardware.send(vector);
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
        send(0, !direct);
        send(1, !direct);
        guest.move(0, 1);
        assertPredicted(0, 0);
        send(0, !direct); // a moved vLPI stays one
        read();
        assertPredicted(0, 1);
        send(0, !direct);
        guest.discard(0);
        guest.map(0);
        assertPredicted(0, 1);
        send(0, true); // no vLPI, and the prediction is stale
        read();
        assertPredicted(0, 0);
        send(0, !direct); // a vLPI again
        guest.discard(0);
        read();
        assertThat(irqs.get(0).predicted()).isInstanceOf(Posting.NotPosted.class);
        assertPredicted(1, 1);
    }

    @Test
    void tablesAreNotReadWhileAnLpiIsAVlpi() {
        assumeTrue(direct, "needs a GICv4");
        assertThat(refused(Errno.EACCES, () -> guest.its().saveTables())).contains("an LPI is a vLPI of GICv4.0");
        read();
        assertPredicted(0, 0);
    }

    @Test
    void tablesAreNotReadWhileAVcpuRuns() throws InterruptedException {
        guest.memory().mapping().put(CODE, IDLE);
        first.setArmRegister(ArmRegister.PC, guest.memory().guestAddress() + CODE);
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
            assertThat(e).hasMessageContaining("a vCPU runs");
            return true;
        }
    }
}
