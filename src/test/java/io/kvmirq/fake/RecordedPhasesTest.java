/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.FakeExit.ioOut;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vtd.posting.RecordedPid;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.io.IOException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The descriptors of the fake beside those in the memory of a real kernel, phase by phase. */
class RecordedPhasesTest {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);
    private static final InterruptVector VECTOR = new InterruptVector(0x40);
    private static final InterruptVector OTHER = new InterruptVector(0xca);
    /** The APIC ids of the fake's CPUs. */
    private static final int[] APIC_IDS = {0, 2, 4, 6};

    private final Undo undo = new Undo();

    @AfterEach
    void close() {
        undo.close();
    }

    private static void compare(FakeVcpu vcpu, String kernel, String phase) throws IOException {
        RecordedPid recorded = RecordedPid.of(kernel, phase);
        PostedInterruptDescriptor pid = vcpu.descriptor().orElseThrow();
        assertThat(Long.toHexString(pid.control()))
                .as("%s of %s", phase, kernel)
                .isEqualTo(Long.toHexString(recorded.controlInX2apicMode(APIC_IDS[recorded.cpu()])));
        assertThat(IntStream.range(0, 256)
                        .filter(vector -> pid.isRequested(new InterruptVector(vector)))
                        .mapToObj(vector -> "0x" + Integer.toHexString(vector))
                        .collect(Collectors.joining(",")))
                .as("PIR, %s of %s", phase, kernel)
                .isEqualTo(recorded.pir());
    }

    /** The vCPU's next run ends at once, in user space. */
    private static void run(PostingSetup setup) {
        setup.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'));
        setup.vcpus.get(0).run();
    }

    private static void take(FakeVcpu vcpu, InterruptVector... vectors) {
        for (InterruptVector vector : vectors) {
            assertThat(vcpu.takeInterrupt()).hasValue(vector);
        }
        assertThat(vcpu.takeInterrupt()).isEmpty();
    }

    private FakeVcpu second(FakeKernel fake) {
        Kernel kernel = undo.add(fake.open());
        Vm vm = undo.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        undo.add(vm.createVcpu(FIRST));
        undo.add(vm.createVcpu(SECOND));
        return fake.vcpus().get(1);
    }

    /** KVM_CREATE_VCPU loads the vCPU and puts it, so its descriptor names a CPU before the first KVM_RUN. */
    @ParameterizedTest
    @CsvSource({
        "'6.1,vtd-posting', 6.1, P0n a third vCPU",
        "'6.12,vtd-posting', 6.12, P4 vCPU blocked in HLT",
        "'6.1,vtd', 6.1, P0n a third vCPU",
        "vtd-posting, 6.12, P4 vCPU blocked in HLT"
    })
    void newVcpuHasBeenLoaded(String profile, String kernel, String phase) throws IOException {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        FakeVcpu vcpu = second(fake);
        compare(vcpu, kernel, phase);
        compare(fake.vcpus().get(0), kernel, "P0 created on CPU 0");
        assertThat(vcpu.state()).isEqualTo(FakeVcpu.State.PREEMPTED);
        assertThat(vcpu.brokenRules()).isEmpty();
    }

    /** A put of 6.17 and newer sets SN while a device's interrupt is joined. */
    @Test
    void since617AVcpuThatIsCreatedBesideAJoinedInterruptHasSnSet() {
        PostingSetup setup = undo.add(new PostingSetup("vtd-posting", 1));
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(0));
        setup.arm(event);
        undo.add(setup.vm.createVcpu(SECOND));
        long control = setup.vcpu(1).descriptor().orElseThrow().control();
        assertThat(PostedInterruptDescriptor.SN.isSet(control)).isTrue();
        assertThat(PostedInterruptDescriptor.NDST.of(control)).isEqualTo(APIC_IDS[1]);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12"})
    void withoutAnAssignedDevice(String kernel) throws IOException {
        PostingSetup setup = undo.add(new PostingSetup(kernel + ",vtd-posting"));
        FakeVcpu vcpu = setup.vcpu(0);
        vcpu.load(1);
        vcpu.enterGuest();
        compare(vcpu, kernel, "P1 vcpu 0 runs in the guest on CPU 1");

        run(setup);
        compare(vcpu, kernel, "P3 vCPU in user space");
        setup.vm.signal(MsiMessage.to(FIRST, VECTOR));
        setup.vm.signal(MsiMessage.to(FIRST, OTHER));
        compare(vcpu, kernel, "P3 vectors 0x40 and 0xca sent");
        setup.vm.signal(MsiMessage.to(FIRST, VECTOR));
        compare(vcpu, kernel, "P3 0x40 sent again");
        vcpu.enterGuest();
        compare(vcpu, kernel, "P3 runs again");
        take(vcpu, OTHER, VECTOR);

        assertThat(vcpu.block()).isTrue();
        compare(vcpu, kernel, "P4 vCPU blocked in HLT");
        vcpu.load(1);
        vcpu.enterGuest();
        vcpu.preempt();
        compare(vcpu, kernel, "P6 vCPU preempted");
        setup.vm.signal(MsiMessage.to(FIRST, VECTOR));
        compare(vcpu, kernel, "P6 0x40 sent while preempted");
        vcpu.load(1);
        vcpu.enterGuest();
        compare(vcpu, kernel, "P6 runs again");
        take(vcpu, VECTOR);

        vcpu.load(0);
        compare(vcpu, kernel, "P7 moved to CPU 0");
        vcpu.load(1);
        compare(vcpu, kernel, "P7 moved to CPU 1 again");
        assertThat(setup.brokenRules()).isEmpty();
    }

    @Test
    void withAnAssignedDevice() throws IOException {
        String kernel = "6.1";
        PostingSetup setup = undo.add(new PostingSetup(kernel + ",vtd-posting"));
        FakeVcpu vcpu = setup.vcpu(0);
        vcpu.load(0);
        assertThat(vcpu.block()).isTrue();
        compare(vcpu, kernel, "V0 blocked before the start");
        EventFd event = setup.event();
        setup.irqfd(event, setup.vm.routes().add(MsiMessage.to(FIRST, VECTOR)));
        setup.arm(event);
        vcpu.load(1);
        assertThat(vcpu.block()).isTrue();
        compare(vcpu, kernel, "V0 blocked, after the start");
        assertThat(setup.hardware.sendMessage(0)).isFalse();
        compare(vcpu, kernel, "V1 right after the unit posted 0x40 to the blocked vCPU");
        vcpu.load(1);
        vcpu.enterGuest();
        take(vcpu, VECTOR);
        compare(vcpu, kernel, "V2 runs");

        run(setup);
        compare(vcpu, kernel, "V3 in user space");
        setup.hardware.sendMessage(0);
        compare(vcpu, kernel, "V3 the unit posted 0x40");
        vcpu.enterGuest();
        compare(vcpu, kernel, "V3 runs again");
        take(vcpu, VECTOR);

        vcpu.preempt();
        compare(vcpu, kernel, "V4 preempted");
        setup.hardware.sendMessage(0);
        compare(vcpu, kernel, "V4 the unit posted 0x40, not urgent");
        vcpu.load(1);
        vcpu.enterGuest();
        compare(vcpu, kernel, "V5 runs again");
        take(vcpu, VECTOR);
        vcpu.preempt();
        setup.vm.signal(MsiMessage.to(FIRST, VECTOR));
        compare(vcpu, kernel, "V6 preempted, a message of software");
        assertThat(setup.brokenRules()).isEmpty();
    }
}
