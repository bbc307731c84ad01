/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RegisterFields;
import io.kvmirq.guest.ArmGuestCode;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vgic;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.undo.Undo;
import java.util.List;

/**
 * An arm64 machine whose guest runs with its MMU on, with a GICv3 where the host has one, or else a GICv2. Its
 * interrupts are LPIs of one device where the GICv3 has an ITS, else SPIs. The line is an SPI. It is programmed here,
 * as a guest's driver does it: no register can be written while the vCPU runs.
 */
final class ArmBoard implements Board {
    private static final long DISTRIBUTOR = 0x800_0000L;
    private static final long CPU_INTERFACE = 0x801_0000L;
    private static final long REDISTRIBUTORS = 0x80a_0000L;
    private static final Spi LINE = new Spi(42);
    private static final int FIRST_SPI = 64;
    /** Beyond the default routes of pins. */
    private static final int FIRST_GSI = 1024;

    private final Undo parts = new Undo();
    private final Vm vm;
    private final Vcpu vcpu;
    private final Vgic vgic;
    private final GuestMemory memory;
    private final boolean hasIts;
    private int nextGsi = FIRST_GSI;
    private boolean endsInTwoSteps;

    /** On a host that gives a VM a GIC. */
    ArmBoard(Kernel kernel) {
        try (Undo undo = new Undo()) {
            undo.add(parts);
            vm = parts.add(Vm.create(kernel));
            vcpu = parts.add(vm.createVcpu(Board.VCPU));
            vcpu.arm64().initialize();
            boolean v3 = vm.supports(KvmDevice.Type.VGIC_V3);
            hasIts = v3 && vm.supports(KvmDevice.Type.ITS);
            memory = parts.add(vm.addMemory(ArmGuestCode.MEMORY, ArmGuestCode.SIZE + (hasIts ? ItsDriver.MEMORY : 0)));
            ArmGuestCode.load(memory.mapping());
            vgic = parts.add(v3 ? vm.arm64().createVgicV3() : vm.arm64().createVgicV2());
            vgic.setDistributor(DISTRIBUTOR);
            if (vgic instanceof VgicV3 v) {
                v.setRedistributors(REDISTRIBUTORS);
            } else {
                ((VgicV2) vgic).setCpuInterface(CPU_INTERFACE);
            }
            vgic.init();
            programDistributor();
            if (hasIts) {
                programIts();
            }
            undo.keep();
        }
    }

    /** All SPIs are on. Those of a GICv3 are of group 1, those of a GICv2 of group 0. */
    private void programDistributor() {
        vgic.makeLevel(LINE);
        boolean v3 = vgic instanceof VgicV3;
        for (int word = 1; word < vgic.interrupts() / Integer.SIZE; word++) {
            if (v3) {
                write(DistributorRegister.GICD_IGROUPR, word, -1);
            }
            write(DistributorRegister.GICD_ISENABLER, word, -1);
        }
        write(DistributorRegister.GICD_CTLR, 0, v3 ? (int) RegisterFields.CTLR_ENABLE_GROUP1.mask() : 1);
    }

    private void write(DistributorRegister register, int word, int value) {
        vgic.writeDistributor(register.offset() + word * Integer.BYTES, value);
    }

    private void programIts() {
        Its service = parts.add(vm.arm64().createIts());
        service.setAddress(ItsDriver.ITS);
        service.init();
        ItsDriver driver = new ItsDriver((VgicV3) vgic, service, ArmGuestCode.MEMORY, ArmGuestCode.SIZE, memory);
        driver.enable(Board.VCPU);
        driver.mapDevice();
        for (int i = 0; i < INTERRUPTS; i++) {
            driver.mapEvent(i, InterruptId.FIRST_LPI + i);
        }
    }

    private int id(int interrupt) {
        if (interrupt == line()) {
            return LINE.number();
        }
        return (hasIts ? InterruptId.FIRST_LPI : FIRST_SPI) + interrupt;
    }

    @Override
    public Words words() {
        String answerPlace = "0x" + Long.toHexString(ArmGuestCode.ANSWER);
        return new Words(answerPlace, hasIts ? "LPI" : "SPI", LINE + ", level", "line high", "line low, not active");
    }

    @Override
    public Vm vm() {
        return vm;
    }

    @Override
    public Vcpu vcpu() {
        vcpu.moveHere();
        vcpu.arm64().setRegister(ArmRegister.PC, ArmGuestCode.START);
        vcpu.arm64().setRegister(ArmRegister.x(0), vgic instanceof VgicV3 ? 0 : CPU_INTERFACE);
        vcpu.arm64().setRegister(ArmRegister.x(1), endsInTwoSteps ? 1 : 0);
        return vcpu;
    }

    private static boolean isWriteTo(VcpuExit exit, long address) {
        return exit.reason() == VcpuExit.Reason.MMIO && exit.isWrite() && exit.address() == address;
    }

    @Override
    public boolean isReady(VcpuExit exit) {
        return isWriteTo(exit, ArmGuestCode.READY);
    }

    @Override
    public String ready() {
        return "CPU interface enabled (GICv" + (vgic instanceof VgicV3 ? 3 : 2)
                + (endsInTwoSteps ? ", EOI and deactivation are separate)" : ")");
    }

    @Override
    public void stop(Vcpu running) {
        running.kick();
    }

    @Override
    public boolean isStopped(VcpuExit exit) {
        return false;
    }

    /** VGIC registers are EBUSY while a vCPU runs. */
    @Override
    public boolean isReadableWhileRunning() {
        return false;
    }

    @Override
    public boolean isAnswer(VcpuExit exit) {
        return isWriteTo(exit, ArmGuestCode.ANSWER);
    }

    @Override
    public String strangeExit(VcpuExit exit) {
        return isWriteTo(exit, ArmGuestCode.FAULTED)
                ? "the guest took an exception with ESR_EL1 0x" + Long.toHexString(exit.data() & 0xffff_ffffL)
                : "the guest exited with " + exit + ", expected a write to 0x" + Long.toHexString(ArmGuestCode.READY);
    }

    @Override
    public IoAddress answer() {
        return IoAddress.mmio(ArmGuestCode.ANSWER, Integer.BYTES);
    }

    @Override
    public IoAddress answer(int interrupt) {
        return IoAddress.mmio(ArmGuestCode.ANSWER, Integer.BYTES, id(interrupt));
    }

    @Override
    public void handle(int interrupt) {}

    @Override
    public int handled(int interrupt) {
        return ArmGuestCode.handled(memory.mapping(), id(interrupt));
    }

    @Override
    public String name(int interrupt) {
        return (interrupt == line() ? "SPI" : words().kind()) + " " + number(interrupt);
    }

    @Override
    public String number(int interrupt) {
        return String.valueOf(id(interrupt));
    }

    @Override
    public String destination(int interrupt) {
        return hasIts ? message(interrupt) + " → " + name(interrupt) : name(interrupt);
    }

    @Override
    public Gsi add(RouteTable.Edit edit, int interrupt) {
        if (hasIts) {
            return edit.add(message(interrupt));
        }
        Gsi gsi = new Gsi(nextGsi++);
        replace(edit, gsi, interrupt);
        return gsi;
    }

    @Override
    public void replace(RouteTable.Edit edit, Gsi gsi, int interrupt) {
        if (hasIts) {
            edit.replace(gsi, message(interrupt));
        } else {
            edit.remove(gsi).add(Route.Pin.to(gsi, new Spi(id(interrupt))));
        }
    }

    @Override
    public MsiMessage message(int interrupt) {
        if (!hasIts) {
            throw new UnsupportedOperationException(ItsDriver.NO_ITS + ": test INTx");
        }
        return ItsDriver.message(interrupt);
    }

    @Override
    public List<Event> events(int interrupt) {
        return ItsDriver.mapped(interrupt, id(interrupt));
    }

    @Override
    public int line() {
        return INTERRUPTS;
    }

    /** The guest ends its interrupts by a priority drop and a deactivation, if it has not booted. */
    @Override
    public Gsi openLine() {
        endsInTwoSteps = true;
        return new Gsi(LINE.pin());
    }

    @Override
    public boolean isLineSeen() {
        return isLineHigh();
    }

    @Override
    public boolean isLineHigh() {
        return new PendingState(vgic).isHigh(LINE);
    }

    @Override
    public boolean isLineInService() {
        return new PendingState(vgic).isActive(LINE);
    }

    @Override
    public void close() {
        parts.close();
    }
}
