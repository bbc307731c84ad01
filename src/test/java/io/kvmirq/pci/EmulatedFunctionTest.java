/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.testing.Warnings;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** An emulated function with MSI-X, a doorbell and a register, as its guest sees it. */
class EmulatedFunctionTest {
    private static final long HOLE = 0xc0000000L;
    private static final int SLOT = 2;
    private static final int VECTORS = 4;
    private static final int TABLE = 0x2000;
    private static final int PENDING = 0x3000;
    private static final int BELL = 0x1000;
    private static final int MSIX = 0x40;
    private static final int MSI = MSIX + 12;
    private static final int ENABLE = 0x8000;
    private static final int FUNCTION_MASK = 0x4000;
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);

    private final Undo parts = new Undo();
    private final List<String> warnings = new ArrayList<>();
    private final AtomicLong register = new AtomicLong();
    private final List<Long> written = new ArrayList<>();
    private final PciHostBridge bus = new PciHostBridge(HOLE, 0x3ec00000L);
    private Kernel kernel;
    private Vm vm;
    private List<Vcpu> vcpus;
    private EmulatedVectors vectors;
    private EmulatedFunction function;
    private EventFd bell;

    /** One register, whose value a snapshot keeps. */
    private final class OneRegister implements EmulatedFunction.Registers {
        @Override
        public long read(int bar, long at, int size) {
            if (at == 8) {
                throw new IllegalStateException("register 8 is broken");
            }
            if (at == 0x10) {
                throw new StackOverflowError("register 16");
            }
            return register.get();
        }

        @Override
        public void write(int bar, long at, int size, long value) {
            register.set(value);
            written.add(value);
        }

        @Override
        public void reset() {
            register.set(0);
            vectors.signal(1); // as the device's own thread may, in its last step
        }

        @Override
        public byte[] state() {
            return ByteBuffer.allocate(Long.BYTES).putLong(register.get()).array();
        }

        @Override
        public void restore(byte[] state) {
            register.set(ByteBuffer.wrap(state).getLong());
        }
    }

    private void open(Kernels kernels) {
        open(kernels.open());
    }

    private void open(Kernel opened) {
        kernel = parts.add(opened);
        vm = parts.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        vcpus = List.of(parts.add(vm.createVcpu(FIRST)), parts.add(vm.createVcpu(SECOND)));
        vcpus.forEach(vcpu -> vcpu.x86().enableLapic());
        vectors = parts.add(EmulatedVectors.create(vm, VECTORS));
        bell = parts.add(EventFd.create(kernel));
        function = parts.add(EmulatedFunction.builder(bus, SLOT, vm, new OneRegister())
                .ids(0x1af4, 0x1041)
                .type(0x020000)
                .bar(0, 0x4000)
                .ports(1, 0x20)
                .msix(vectors, 0, TABLE, PENDING)
                .doorbell(0, BELL, 4, 7, bell)
                .doorbell(1, 4, 1, bell)
                .warned(warnings::add)
                .build());
        config(4, 2, 3); // COMMAND: ports and memory
    }

    @AfterEach
    void close() {
        parts.close();
    }

    private void config(int at, int size, int value) {
        bus.write(true, 0xcf8, 4, 0x80000000L | SLOT << 11 | at & ~3);
        bus.write(true, 0xcfc + (at & 3), size, value);
    }

    private int config(int at) {
        bus.write(true, 0xcf8, 4, 0x80000000L | SLOT << 11 | at);
        return (int) bus.read(true, 0xcfc, 4);
    }

    private long bar(int index) {
        return config(0x10 + 4 * index) & ~0xfL;
    }

    private void enable(int flags) {
        config(MSIX + 2, 2, flags);
    }

    private void entry(int vector, VcpuId vcpu, boolean masked) {
        long at = (bar(0) & 0xffffffffL) + TABLE + 16L * vector;
        MsiMessage message = MsiMessage.to(vcpu, of(vector));
        bus.write(false, at, 8, message.address());
        bus.write(false, at + 8, 4, message.data());
        bus.write(false, at + 12, 4, masked ? 1 : 0);
    }

    private long pendingBits() {
        return bus.read(false, (bar(0) & 0xffffffffL) + PENDING, 8);
    }

    /** KVM's worker raises an interrupt that waited: this one vCPU gets it. */
    private void arrives(int vector, VcpuId vcpu) {
        while (!vcpus.get(vcpu.number()).x86().isRequested(of(vector))) {
            Thread.onSpinWait();
        }
        assertThat(requested(vector)).containsExactly(vcpu.equals(FIRST), vcpu.equals(SECOND));
    }

    private static InterruptVector of(int vector) {
        return new InterruptVector(0x40 + vector);
    }

    /** Whether each vCPU has the interrupt of a vector. */
    private List<Boolean> requested(int vector) {
        return vcpus.stream().map(vcpu -> vcpu.x86().isRequested(of(vector))).toList();
    }

    @OnBothKernels
    void guestFindsItsRegistersAndSizesItsBars(Kernels kernels) {
        open(kernels);
        assertThat(config(0)).isEqualTo(0x10411af4);
        assertThat(config(8) >>> 8).isEqualTo(0x020000);
        assertThat(config(0x2c)).isEqualTo(0x10411af4);
        assertThat(config(0x34)).isEqualTo(MSIX);
        assertThat(config(MSIX)).isEqualTo(0x0003_0011);
        assertThat(config(MSIX + 4)).isEqualTo(TABLE);
        assertThat(config(MSIX + 8)).isEqualTo(PENDING);
        config(0x10, 4, -1);
        config(0x14, 4, -1);
        assertThat(config(0x10)).isEqualTo(-0x4000);
        assertThat(config(0x14)).isEqualTo(-0x20 | 1);
        assertThat(bus.lines()).isEmpty();
    }

    @OnBothKernels
    void vectorArrivesWhereTheTableSays(Kernels kernels) {
        open(kernels);
        entry(2, SECOND, false);
        enable(ENABLE);
        vectors.signal(2);
        assertThat(requested(2)).containsExactly(false, true);
    }

    @ParameterizedTest
    @CsvSource({"FAKE, entry", "FAKE, function", "FAKE, disabled", "REAL, entry", "REAL, function", "REAL, disabled"})
    void signalOfAMaskedVectorIsPendingAndArrivesOnceAtItsUnmask(Kernels kernels, String mask) {
        open(kernels);
        entry(1, FIRST, false);
        enable(ENABLE);
        entry(1, FIRST, mask.equals("entry"));
        enable(mask.equals("function") ? ENABLE | FUNCTION_MASK : mask.equals("disabled") ? 0 : ENABLE);
        vectors.signal(1);
        vectors.signal(1);
        assertThat(pendingBits()).isEqualTo(1 << 1);
        assertThat(requested(1)).containsExactly(false, false);
        entry(1, SECOND, false); // moved while it waits
        enable(ENABLE);
        arrives(1, SECOND);
        assertThat(pendingBits()).isZero();
        entry(1, SECOND, true);
        assertThat(pendingBits()).isZero();
    }

    @OnBothKernels
    void signalBeforeTheGuestEnabledAnythingWaits(Kernels kernels) {
        open(kernels);
        vectors.signal(3);
        assertThat(pendingBits()).isEqualTo(1 << 3);
        enable(ENABLE);
        assertThat(vm.routes().commits()).isZero();
        entry(3, FIRST, false);
        arrives(3, FIRST);
    }

    @OnBothKernels
    void resetForgetsWhatWaits(Kernels kernels) {
        open(kernels);
        entry(0, FIRST, true);
        enable(ENABLE);
        vectors.signal(0);
        register.set(5);
        bus.reset();
        assertThat(register).hasValue(0);
        assertThat(config(MSIX)).isEqualTo(0x0003_0011);
        config(4, 2, 3);
        assertThat(pendingBits()).isZero();
        entry(0, FIRST, false);
        enable(ENABLE);
        assertThat(requested(0)).containsExactly(false, false);
    }

    @Test
    void vectorsAreOfOneFunctionAndOfItsVm() {
        open(Kernels.FAKE);
        EmulatedFunction.Builder second = EmulatedFunction.builder(bus, 3, vm, new OneRegister())
                .ids(1, 2)
                .msi(vectors);
        assertThatThrownBy(second::build)
                .hasMessage(
                        "4 vectors of " + vm + " are those of 1af4:1041 in slot 2 already: give each function its own,"
                                + " or close that one");
        function.close();
        parts.add(second.build());
        Vm other = parts.add(Vm.create(kernel));
        other.x86().createIrqchip();
        EmulatedFunction.Builder ofOther = EmulatedFunction.builder(bus, 4, other, new OneRegister())
                .ids(1, 2)
                .msi(parts.add(EmulatedVectors.create(vm, 1)));
        assertThatThrownBy(ofOther::build)
                .hasMessage("1 vectors of " + vm + " cannot be those of a function of " + other
                        + ": create them with its VM");
    }

    @Test
    void receiverThatThrowsDoesNotReachTheGuest() {
        open(Kernels.FAKE);
        function.close();
        function = parts.add(EmulatedFunction.builder(bus, SLOT, vm, new OneRegister())
                .ids(0x1af4, 0x1041)
                .bar(0, 0x1000)
                .warned(sentence -> {
                    throw new IllegalStateException("the owner fails, too");
                })
                .build());
        config(4, 2, 2);
        List<String> logged = Warnings.of(
                () -> assertThat(bus.read(false, (bar(0) & 0xffffffffL) + 8, 4)).isEqualTo(0xffff_ffffL));
        assertThat(logged)
                .singleElement()
                .asString()
                .endsWith("register 8 is broken (its receiver threw an exception)");
    }

    /** MSI and MSI-X over the same vectors. */
    private void openBoth(Kernels kernels) {
        open(kernels);
        function.close();
        function = parts.add(EmulatedFunction.builder(bus, SLOT, vm, new OneRegister())
                .ids(0x1af4, 0x1041)
                .bar(0, 0x4000)
                .msix(vectors, 0, TABLE, PENDING)
                .msi(vectors)
                .warned(warnings::add)
                .build());
        config(4, 2, 2);
    }

    /** MSI of one vector, to the second vCPU. */
    private void enableMsi() {
        config(MSI + 4, 4, (int) MsiMessage.to(SECOND, of(0)).address());
        config(MSI + 12, 2, of(0).number());
        config(MSI + 2, 2, 1);
    }

    /** As some drivers do: MSI is tried first. */
    @OnBothKernels
    void msiAndMsixDriveTheSameVectorsInTurn(Kernels kernels) {
        openBoth(kernels);
        enableMsi();
        long routes = vm.routes().routes().size();
        entry(0, FIRST, false);
        enable(ENABLE);
        vectors.signal(0);
        arrives(0, SECOND);
        vectors.signal(1);
        assertThat(pendingBits()).as("MSI has it").isZero();
        assertThat(vm.routes().routes()).hasSize((int) routes);
        config(MSI + 2, 2, 0);
        vectors.signal(0);
        while (!vcpus.get(0).x86().isRequested(of(0))) {
            Thread.onSpinWait();
        }
        enable(0);
        assertThat(function.gsis()).isEmpty();
        function.close();
        assertThat(warnings).isEmpty();
        assertThat(vm.routes().routes()).hasSize((int) routes - 1);
    }

    /** Neither kind has opened a vector, so that both show the message as pending. */
    @OnBothKernels
    void messageThatWaitsForEitherKindComesOnceAfterARestore(Kernels kernels) {
        openBoth(kernels);
        vectors.signal(0);
        function.restore(function.state());
        assertThat(pendingBits()).isEqualTo(1);
        enableMsi();
        arrives(0, SECOND);
        config(MSI + 2, 2, 0);
        assertThat(pendingBits()).isZero();
        entry(0, FIRST, false);
        enable(ENABLE);
        assertThat(requested(0)).containsExactly(false, true);
    }

    /** Held, MSI-X opens no vector, so that MSI is restored as if the vectors were free. */
    @ParameterizedTest
    @CsvSource({"FAKE, false", "FAKE, true", "REAL, false", "REAL, true"})
    void messagesOfMsixComeOnceAfterARestoreOfBothKinds(Kernels kernels, boolean held) {
        openBoth(kernels);
        entry(0, FIRST, false);
        entry(1, FIRST, false);
        entry(2, FIRST, true); // never open
        enable(ENABLE);
        function.hold();
        vectors.signal(0);
        vectors.signal(2);
        assertThat(pendingBits()).as("masked").isEqualTo(1 | 1 << 2);
        byte[] state = function.state();
        function.reset();
        if (!held) {
            function.release();
        }
        function.restore(state);
        assertThat(pendingBits()).isEqualTo(held ? 1 | 1 << 2 : 1 << 2);
        function.release();
        arrives(0, FIRST);
        entry(2, SECOND, false);
        arrives(2, SECOND);
        assertThat(pendingBits()).isZero();
        enable(0);
        enableMsi();
        assertThat(requested(0)).containsExactly(true, false);
        assertThat(requested(1)).containsExactly(false, false);
    }

    @OnBothKernels
    void holdDelaysAllVectors(Kernels kernels) {
        open(kernels);
        entry(0, FIRST, false);
        enable(ENABLE);
        function.hold();
        vectors.signal(0);
        entry(0, SECOND, false);
        assertThat(requested(0)).containsExactly(false, false);
        function.release();
        arrives(0, SECOND);
    }

    /** The guest rings by an OUT of its code, then leaves by another. */
    private void ring(int port) {
        GuestMemory memory = parts.add(vm.addMemory(0, 0x10000));
        memory.mapping()
                .put(0x1000, GuestAssembler.bytes("mov dx, %d; mov al, 1; out dx, al; out 0x99, al".formatted(port)));
        vcpus.get(0).x86().startAt(0x1000, 0x8000);
        VcpuExit exit = vcpus.get(0).run();
        while (exit.port() != 0x99) {
            assertThat(bus.handle(exit)).isTrue();
            exit = vcpus.get(0).run();
        }
        memory.close();
    }

    @OnBothKernels
    void doorbellFollowsItsBar(Kernels kernels) {
        open(kernels);
        ring((int) bar(1) + 4);
        assertThat(bell.drain()).isEqualTo(1);
        assertThat(register).hasValue(0);
        long before = bar(1);
        config(0x14, 4, 0xd000);
        ring(0xd004);
        assertThat(bell.drain()).isEqualTo(1);
        bus.write(true, before + 4, 1, 1); // nothing is there
        assertThat(bell.drain()).isZero();
        config(4, 2, 2); // ports off
        assertThat(bus.isOurs(true, 0xd004, 1))
                .as("nothing is there, and no other device")
                .isTrue();
        assertThat(bus.read(true, 0xd004, 1)).isEqualTo(0xff);
        assertThat(bus.isOurs(true, 0xd020, 1)).as("no BAR was there").isFalse();
        config(4, 2, 3);
        ring(0xd004);
        assertThat(bell.drain()).isEqualTo(1);
    }

    @OnBothKernels
    void writeOfAnotherValueIsNoRing(Kernels kernels) {
        open(kernels);
        bus.write(false, (bar(0) & 0xffffffffL) + BELL, 4, 6);
        assertThat(bell.drain()).isZero();
        assertThat(register).hasValue(6);
        bus.write(false, (bar(0) & 0xffffffffL) + BELL, 4, 7);
        assertThat(bell.drain()).isEqualTo(1);
        assertThat(register).hasValue(6);
    }

    /** Another ioeventfd has the address: the write leaves the guest, and rings all the same. */
    @OnBothKernels
    void refusedDoorbellStillRings(Kernels kernels) {
        open(kernels);
        config(4, 2, 0);
        EventFd other = parts.add(EventFd.create(kernel));
        parts.add(vm.assignIoEventFd(IoAddress.port((int) bar(1) + 4, 1), other));
        config(4, 2, 3);
        assertThat(warnings).singleElement().asString().contains("BAR 1").contains("EEXIST");
        bus.write(true, bar(1) + 4, 1, 1);
        assertThat(bell.drain()).isEqualTo(1);
    }

    @OnBothKernels
    void partOfAnUnalignedAccessHasOnlyItsOwnBits(Kernels kernels) {
        open(kernels);
        long at = (bar(0) & 0xffffffffL) + 0x13;
        bus.write(false, at, 4, 0x12345678);
        assertThat(written).containsExactly(0x78L, 0x3456L, 0x12L);
        register.set(-1);
        assertThat(bus.read(false, at, 4)).isEqualTo(0xffffffffL);
        bus.write(false, at - 0x13 + 0x3ffc, 4, 7);
        assertThat(register.get()).as("the last register").isEqualTo(7);
    }

    @OnBothKernels
    void registerThatThrowsIsOneWarningAndTheOthersGoOn(Kernels kernels) {
        open(kernels);
        long at = bar(0) & 0xffffffffL;
        assertThat(bus.read(false, at + 8, 4)).isEqualTo(0xffff_ffffL);
        assertThat(bus.read(false, at + 8, 4)).isEqualTo(0xffff_ffffL);
        bus.write(false, at, 4, 9);
        assertThat(bus.read(false, at, 4)).isEqualTo(9);
        assertThat(warnings)
                .containsExactly("1af4:1041 in slot 2: register 0x8 of BAR 0, 4 bytes, cannot be read:"
                        + " java.lang.IllegalStateException: register 8 is broken");
    }

    /** It ends the guest: its thread, such as VcpuThreads, gets it. */
    @Test
    void errorOfARegisterReachesTheVmmAndLeavesTheDeviceUsable() {
        open(Kernels.FAKE);
        long at = bar(0) & 0xffffffffL;
        assertThatThrownBy(() -> bus.read(false, at + 0x10, 4)).isInstanceOf(StackOverflowError.class);
        assertThat(warnings).isEmpty();
        bus.write(false, at, 4, 9);
        assertThat(bus.read(false, at, 4)).isEqualTo(9);
    }

    @Test
    void failuresOfResetAndStateNameThem() {
        open(Kernels.FAKE);
        function.close();
        function = parts.add(EmulatedFunction.builder(bus, SLOT, vm, new BadRegisters())
                .ids(0x1af4, 0x1041)
                .warned(warnings::add)
                .build());
        function.reset();
        assertThat(warnings)
                .containsExactly("1af4:1041 in slot 2: its interrupts and BARs are reset, but its registers may not be:"
                        + " java.lang.UnsupportedOperationException: no reset");
        assertThatThrownBy(function::state)
                .hasMessage("Registers.state of 1af4:1041 in slot 2 returned null: return the bytes to save, or none");
    }

    private static final class BadRegisters implements EmulatedFunction.Registers {
        @Override
        public long read(int bar, long at, int size) {
            return 0;
        }

        @Override
        public void write(int bar, long at, int size, long value) {}

        @Override
        public void reset() {
            throw new UnsupportedOperationException("no reset");
        }

        @Override
        @SuppressWarnings("NullAway") // as an author may
        public byte[] state() {
            return null;
        }
    }

    /** Each access of the guest would reach the memory, and none the registers. */
    @OnBothKernels
    void barOverGuestMemoryIsOneWarning(Kernels kernels) {
        open(kernels);
        config(4, 2, 0);
        long at = bar(0) & 0xffffffffL;
        GuestMemory memory = parts.add(vm.addMemory(at + 0x2000, 0x1000));
        config(4, 2, 2);
        assertThat(warnings)
                .containsExactly(
                        "1af4:1041 in slot 2: BAR 0 at 0x" + Long.toHexString(at)
                                + " lies on guest memory, which must be outside of the hole for BARs: the guest does not reach it");
        assertThat(bus.read(false, at, 4)).isEqualTo(0xffff_ffffL);
        memory.close();
        config(4, 2, 2);
        assertThat(bus.read(false, at, 4)).isZero();
    }

    @OnBothKernels
    void snapshotKeepsRegistersAndWaitingVectors(Kernels kernels) {
        open(kernels);
        entry(1, FIRST, true);
        enable(ENABLE);
        vectors.signal(1);
        register.set(0x1234);
        String document = VmSnapshot.take(named()).text();
        parts.close();
        EmulatedFunctionTest other = new EmulatedFunctionTest();
        try {
            other.open(kernels);
            VmSnapshot.parse(document).restore(other.named());
            assertThat(other.register).hasValue(0x1234);
            assertThat(other.pendingBits()).isEqualTo(1 << 1);
            other.entry(1, SECOND, false);
            other.arrives(1, SECOND);
        } finally {
            other.close();
        }
    }

    private VmParts named() {
        return new VmParts(vm)
                .vcpu(FIRST, vcpus.get(0))
                .vcpu(SECOND, vcpus.get(1))
                .device("nic", function);
    }

    @OnBothKernels
    void closeLeavesNeitherIrqfdNorRouteNorDoorbell(Kernels kernels) {
        open(kernels);
        entry(0, FIRST, false);
        enable(ENABLE);
        int routes = vm.routes().routes().size();
        List<String> before = kernel.openHandles();
        function.close();
        vectors.close();
        assertThat(vm.routes().routes()).hasSize(routes - 1);
        assertThat(kernel.openHandles()).hasSizeLessThan(before.size());
        assertThat(config(0)).isEqualTo(-1);
        function = parts.add(EmulatedFunction.builder(bus, SLOT, vm, new OneRegister())
                .ids(1, 2)
                .build());
        assertThat(config(0)).isEqualTo(0x00020001);
        bell.close();
        assertThat(kernel.openHandles()).noneMatch(handle -> handle.contains("eventfd"));
    }

    @OnBothKernels
    void vectorsMayBeClosedBeforeTheirFunction(Kernels kernels) {
        open(kernels);
        entry(0, FIRST, false);
        enable(ENABLE);
        int routes = vm.routes().routes().size();
        vectors.close();
        assertThat(function.gsis()).isEmpty();
        function.hold();
        function.release();
        assertThat(warnings).hasSize(2).allMatch(warning -> warning.contains("vector 0 of " + vectors + " is closed"));
        function.close();
        assertThat(vm.routes().routes()).hasSize(routes - 1);
    }

    @Test
    void emulatedAndPassedFunctionShareTheBus() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
        FakePciDevice hardware = fake.pciDevice("0000:3b:00.0", 7)
                .express()
                .bar(0, 0x4000)
                .msix(8)
                .msixTable(0, 0x2000)
                .msixPending(0, 0x3000)
                .add();
        open(fake.open());
        VfioDevice device = parts.add(VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0")));
        Forwarding forwarding = parts.add(Forwarding.create(vm, device));
        PassedThroughDevice passed = parts.add(
                PassedThroughDevice.builder(bus, 3, vm, device, forwarding).build());
        assertThat(bus).hasToString("PCI bus 0 with devices [1af4:1041 in slot 2, " + passed + "]");
        entry(0, FIRST, false);
        enable(ENABLE);
        long select = 0x80000000L | 3 << 11;
        bus.write(true, 0xcf8, 4, select | 4);
        bus.write(true, 0xcfc, 2, 6);
        bus.write(true, 0xcf8, 4, select | 0x10);
        long table = (bus.read(true, 0xcfc, 4) & 0xfffffff0L) + 0x2000;
        bus.write(false, table, 8, MsiMessage.to(SECOND, of(1)).address());
        bus.write(false, table + 8, 8, of(1).number());
        int capability = device.config().getByte(0x34);
        while (device.config().getByte(capability) != 0x11) {
            capability = device.config().getByte(capability + 1);
        }
        bus.write(true, 0xcf8, 4, select | capability);
        bus.write(true, 0xcfe, 2, ENABLE);
        vectors.signal(0);
        hardware.sendMessage(0);
        assertThat(requested(0)).containsExactly(true, false);
        assertThat(requested(1)).containsExactly(false, true);
    }

    @Test
    void portsOfAnUnpluggedFunctionReadAsItsMemoryDoes() {
        open(Kernels.FAKE);
        long port = bar(1);
        long memory = bar(0) & 0xffffffffL;
        function.close();
        assertThat(bus.isOurs(true, port, 1)).isTrue();
        assertThat(bus.read(true, port, 4))
                .isEqualTo(bus.read(false, memory, 4))
                .isEqualTo(0xffff_ffffL);
    }

    @Test
    void guestMemoryInTheHoleIsRefused() {
        open(Kernels.FAKE);
        GuestMemory memory = parts.add(vm.addMemory(HOLE + 0x100000, 0x1000));
        EmulatedFunction.Builder builder =
                EmulatedFunction.builder(bus, 4, vm, new OneRegister()).ids(1, 2);
        assertThatThrownBy(builder::build)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("guest memory of " + vm
                        + " is in the hole for BARs, 0xc0000000 to 0xfebfffff: add the memory below and above"
                        + " it separately");
        memory.close();
        parts.add(builder.build());
    }

    /** The guest's write would fail, long after the mistake. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void eventfdOfAnotherKernelOrAClosedOneIsRefused(boolean closed) {
        open(Kernels.FAKE);
        Kernel other = parts.add(Kernels.FAKE.open());
        EventFd event = parts.add(EventFd.create(closed ? kernel : other));
        if (closed) {
            event.close();
        }
        String sentence = closed
                ? event + " is closed: it was used after close(); create or open another"
                : event + " belongs to another Kernel than " + vm + ": open both from the same Kernel";
        EmulatedFunction.Builder builder = EmulatedFunction.builder(bus, 4, vm, new OneRegister())
                .bar(0, 0x1000)
                .ports(1, 16);
        assertThatThrownBy(() -> EmulatedVectors.create(vm, List.of(bell, event)))
                .hasMessage(sentence);
        assertThatThrownBy(() -> builder.doorbell(0, 0, 4, event)).hasMessage(sentence);
        assertThatThrownBy(() -> builder.doorbell(1, 0, 1, 7, event)).hasMessage(sentence);
    }

    /** 64 BARs of 256 bytes fill the ports; one is there. */
    private void fillPorts(EmulatedFunction.Builder builder) {
        for (int slot = 5; slot < 16; slot++) {
            EmulatedFunction.Builder other =
                    EmulatedFunction.builder(bus, slot, vm, new OneRegister()).ids(1, 2);
            for (int bar = 0; bar < 6; bar++) {
                other.ports(bar, 256);
            }
            if (slot < 15) {
                parts.add(other.build());
            }
        }
        for (int bar = 1; bar < 5; bar++) {
            builder.ports(bar, 256);
        }
        builder.build();
    }

    @Test
    void stateOf2048VectorsIsTakenBack() {
        open(Kernels.FAKE);
        EmulatedVectors most = parts.add(EmulatedVectors.create(vm, 2048));
        EmulatedFunction other = parts.add(EmulatedFunction.builder(bus, 4, vm, new OneRegister())
                .ids(1, 2)
                .bar(0, 0x10000)
                .msix(most, 0, 0, 0x8000)
                .build());
        byte[] state = other.state();
        other.restore(state);
        assertThat(other.state()).isEqualTo(state);
    }

    /** The table of 4 vectors has 0x40 bytes, and their pending bits 8. */
    @ParameterizedTest
    @CsvSource({"0, 0x40, true", "8, 0, true", "0, 0x38, false", "0x8, 0x8, false"})
    void tableAndPendingBitsMayTouch(String table, String pending, boolean may) {
        open(Kernels.FAKE);
        EmulatedFunction.Builder builder = EmulatedFunction.builder(bus, 4, vm, new OneRegister())
                .ids(1, 2)
                .bar(0, 0x4000);
        ThrowingCallable add = () -> builder.msix(vectors, 0, Long.decode(table), Long.decode(pending));
        if (may) {
            assertThatCode(add).doesNotThrowAnyException();
        } else {
            assertThatThrownBy(add).hasMessageContaining("pending bits at " + pending);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "slot | 1af4:1041 in slot 2 is already there: choose a free slot",
                "range | slot 32: expected 1 to 31",
                "bar | BAR 6 of 4096 bytes: expected an index of 0 to 5 and a power of two from 16 to 2147483648",
                "size | BAR 1 of 100 bytes: expected an index of 0 to 5 and a power of two from 16 to 2147483648",
                "twice | BAR 0 already exists: give each BAR its own index",
                "table | a table at 0x3ff0 of BAR 0: expected a place in its 0x4000 bytes",
                "doorbell | a doorbell at 0x4000 of BAR 0: expected a place in its 0x4000 bytes",
                "overlap | a doorbell at 0xc of BAR 0 is in MSI-X's 0x40 bytes at 0x0: move one of them",
                "any length | a doorbell at 0x0 of BAR 0 is in MSI-X's 0x40 bytes at 0x0: move one of them",
                "ids | device id 0x10000: expected 16 bits, 0 to 0xffff",
                "vector | vector 4 of 4 vectors of vm (fd 4): expected 0 to 3",
                "empty | a function without ids is an empty slot: call ids(vendor, device)",
                "bells | two doorbells at 0x8 of BAR 0 match the same write, one of 4 bytes and any value and one of 4"
                        + " bytes and value 0x7: use two offsets, or different lengths or values",
                "room | 0001:0002 in slot 4 has a BAR of 256 bytes, which does not fit on the bus: all BARs of ports"
                        + " share 0xc000 to 0xffff, use fewer or smaller ones",
                "msix null | vectors is null",
                "msi null | vectors is null",
                "none | 0 vectors: expected 1 to 2048"
            })
    void wrongSetUpIsOneSentence(String mistake, String sentence) {
        open(Kernels.FAKE);
        EmulatedFunction.Builder builder = EmulatedFunction.builder(bus, 4, vm, new OneRegister())
                .ids(1, 2)
                .bar(0, 0x4000);
        assertThatThrownBy(() -> {
                    switch (mistake) {
                        case "slot" ->
                            EmulatedFunction.builder(bus, SLOT, vm, new OneRegister())
                                    .ids(1, 2)
                                    .build();
                        case "range" ->
                            EmulatedFunction.builder(bus, 32, vm, new OneRegister())
                                    .ids(1, 2)
                                    .build();
                        case "room" -> fillPorts(builder);
                        case "msix null" -> builder.msix(null, 0, 0, 0x100);
                        case "msi null" -> builder.msi(null);
                        case "empty" ->
                            EmulatedFunction.builder(bus, 4, vm, new OneRegister())
                                    .build();
                        case "bells" ->
                            builder.doorbell(0, 8, 4, bell)
                                    .doorbell(0, 8, 4, 7, bell)
                                    .build();
                        case "bar" -> builder.bar(6, 4096);
                        case "size" -> builder.bar(1, 100);
                        case "twice" -> builder.bar(0, 0x1000);
                        case "table" -> builder.msix(vectors, 0, 0x3ff0, 0);
                        case "doorbell" -> builder.doorbell(0, 0x4000, 4, bell);
                        case "overlap" ->
                            builder.doorbell(0, 0xc, 4, bell)
                                    .msix(vectors, 0, 0, 0x100)
                                    .build();
                        case "any length" ->
                            builder.doorbell(0, 0, 0, bell)
                                    .msix(vectors, 0, 0, 0x100)
                                    .build();
                        case "ids" -> builder.ids(1, 0x10000);
                        case "vector" -> vectors.signal(4);
                        default -> EmulatedVectors.create(vm, 0);
                    }
                })
                .hasMessage(sentence);
    }
}
