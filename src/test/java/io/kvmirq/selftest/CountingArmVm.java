/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RegisterFields;
import io.kvmirq.guest.ArmGuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.undo.Undo;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicBoolean;

/** A VM of arm64 whose guest counts the LPIs that an eventfd raises. A snapshot of it may go on in another process. */
public final class CountingArmVm implements AutoCloseable {
    private static final int SIZE = ArmGuestCode.SIZE + ItsDriver.MEMORY;
    private static final VcpuId VCPU = new VcpuId(0);
    private static final int EVENT = 0;
    private static final int LPI = InterruptId.FIRST_LPI;
    private static final String EVENTFD = "event";

    private final Undo parts = new Undo();
    private final Vm vm;
    private final Vcpu vcpu;
    private final GuestMemory memory;
    private final VgicV3 vgic;
    private final Its its;
    private final EventFd event;
    private final AtomicBoolean pausing = new AtomicBoolean();
    private final Irqfd irqfd;
    private Thread thread = new Thread();

    private CountingArmVm(Kernel kernel) {
        vm = parts.add(Vm.create(kernel));
        vcpu = parts.add(vm.createVcpu(VCPU));
        vcpu.arm64().initialize();
        memory = parts.add(vm.addMemory(ArmGuestCode.MEMORY, SIZE));
        vgic = parts.add(vm.arm64().createVgicV3());
        vgic.setDistributor(0x800_0000L);
        vgic.setRedistributors(0x80a_0000L);
        vgic.init();
        its = parts.add(vm.arm64().createIts());
        its.setAddress(ItsDriver.ITS);
        its.init();
        event = parts.add(EventFd.create(kernel));
        irqfd = parts.add(vm.maskedIrqfd(event, vm.routes().add(ItsDriver.message(EVENT))));
    }

    /** At its first instruction. */
    public static CountingArmVm boot(Kernel kernel) {
        CountingArmVm made = new CountingArmVm(kernel);
        ArmGuestCode.load(made.memory.mapping());
        made.vgic.writeDistributor(
                DistributorRegister.GICD_CTLR.offset(), (int) RegisterFields.CTLR_ENABLE_GROUP1.mask());
        ItsDriver driver = new ItsDriver(made.vgic, made.its, ArmGuestCode.MEMORY, ArmGuestCode.SIZE, made.memory);
        driver.enable(VCPU);
        driver.mapDevice();
        driver.mapEvent(EVENT, LPI);
        made.vcpu.arm64().setRegister(ArmRegister.PC, ArmGuestCode.START);
        made.irqfd.unmask();
        return made;
    }

    /** As {@link #save} left it. */
    public static CountingArmVm restore(Kernel kernel, Path directory) throws IOException {
        CountingArmVm made = new CountingArmVm(kernel);
        made.memory.mapping().put(0, Files.readAllBytes(directory.resolve("memory")));
        VmSnapshot.parse(Files.readString(directory.resolve("snapshot"))).restore(made.named());
        return made;
    }

    private VmParts named() {
        return new VmParts(vm).vgic(vgic).its(its).vcpu(VCPU, vcpu).irqfd(EVENTFD, irqfd);
    }

    /** The VM ends here. It does not run. */
    public void save(Path directory) throws IOException {
        String text;
        try (VmMove move = VmMove.from(named())) {
            text = move.text();
        }
        ByteBuffer contents = ByteBuffer.allocate(SIZE);
        memory.mapping().get(0, contents);
        Files.write(directory.resolve("memory"), contents.array());
        Files.writeString(directory.resolve("snapshot"), text);
    }

    /** The interrupts that the guest has ended, also before a snapshot. */
    public int counted() {
        return ArmGuestCode.handled(memory.mapping(), LPI);
    }

    public void signal() {
        event.signal();
    }

    public void run() {
        pausing.set(false);
        thread = new Thread(this::live, "counting guest");
        thread.start();
    }

    private void live() {
        vcpu.moveHere();
        while (!pausing.get()) {
            VcpuExit exit = vcpu.run();
            boolean answer = exit.reason() == VcpuExit.Reason.MMIO && exit.address() != ArmGuestCode.FAULTED;
            if (!answer && exit.reason() != VcpuExit.Reason.INTR) {
                throw new AssertionError("the guest exited with " + exit);
            }
        }
        // A write that the guest made is complete only at the next entry.
        while (vcpu.isWithinInstruction()) {
            vcpu.kick();
            vcpu.run();
        }
    }

    /** The guest stops where it is, maybe with an interrupt in service or pending. */
    public void pause() throws InterruptedException {
        pausing.set(true);
        vcpu.kick();
        thread.join();
        vcpu.moveHere();
    }

    @Override
    public void close() {
        parts.close();
    }
}
