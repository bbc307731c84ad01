/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.uapi.Uapi;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;

/**
 * Resets an x86 vCPU to its power-up state.
 *
 * <p>Source: {@code kvm_vcpu_reset()} in arch/x86/kvm/x86.c and {@code kvm_lapic_reset()} in lapic.c, both without
 * {@code init_event}; Intel SDM volume 3, table 10-1; for state that KVM leaves to the VMM, QEMU's {@code
 * x86_cpu_reset_hold()}.
 */
final class X86Reset {
    // Bits of IA32_APIC_BASE and EFER
    private static final long BOOT = 1 << 8;
    private static final long RESET_BASE = 0xfee00800L;
    private static final long SVME = 1 << 12;

    private static final X86Segment CODE = new X86Segment(0xffff0000L, 0xffff, 0xf000, 0x9b);
    private static final X86Segment DATA = new X86Segment(0, 0xffff, 0, 0x93);
    private static final X86Segment TABLE = new X86Segment(0, 0xffff, 0, 0x82);
    private static final X86Segment TASK = new X86Segment(0, 0xffff, 0, 0x8b);
    private static final int CACHE_OFF = 0x60000010;
    private static final int RESET_IP = 0xfff0;
    /** Family, model and stepping in RDX for a vCPU whose CPUID the VMM has not set, as in KVM. */
    private static final int FAMILY_6 = 0x600;

    private static final int RESET_MXCSR = 0x1f80;

    private static final int LVT_CMCI = 0x2f0;
    /** The VERSION bits that hold the number of LVT entries minus 1, and their value if the CMCI entry exists. */
    private static final int LAST_LOCAL_VECTOR = 0xff0000;

    private static final int WITH_CMCI = 0x060000;
    private static final int MASKED = 1 << 16;
    private static final int EXTERNAL = 0x700;
    private static final int XAPIC_ID = 24;
    private static final int DISABLED = 0xff;

    private static final int FEATURE_CONTROL = 0x3a;
    /**
     * The MISC_ENABLE bits that stay: those that report processor features, and fast strings (bit 0), which VMMs
     * enable, as firmware does. A new vCPU has bit 0 set on some kernels.
     */
    private static final long MISC_KEPT = 1 | 1 << 7 | 1 << 11 | 1 << 12;

    /** MSRs whose reset value is not 0: PAT, SMBASE, and KVM's halt-polling control. */
    private static final Map<Integer, Long> VALUES =
            Map.of(X86Msr.PAT.number(), 0x0007_0406_0007_0406L, 0x9e, 0x30000L, 0x4b564d05, 1L);

    /**
     * MSRs that keep their values: the TSC, which is reset separately, processor properties that a VMM may set, Hyper-V
     * time counters, and the global enable bits of performance counters, whose event selectors are reset.
     */
    private static final Set<Integer> KEPT = Set.of(
            X86Msr.TSC.number(),
            X86Msr.UCODE_REV.number(),
            X86Msr.PLATFORM_INFO.number(),
            0x10a, // ARCH_CAPABILITIES
            X86Msr.MCG_CAP.number(),
            X86Msr.MCG_CTL.number(),
            0x345, // PERF_CAPABILITIES
            0x38f, // PERF_GLOBAL_CTRL
            0xc0000104, // TSC_RATIO
            0xc0000301, // PERF_GLOBAL_CTRL of AMD
            0xc0010015, // HWCR
            0xc0011029, // DE_CFG
            0x40000002, // Hyper-V's VP_INDEX
            0x40000010, // VP_RUNTIME
            0x40000020, // TIME_REF_COUNT
            0x40000022, // TSC_FREQUENCY
            0x40000023, // APIC_FREQUENCY
            0x40000118); // TSC_INVARIANT_CONTROL

    private static final int FIRST_OF_VMX = 0x480;
    private static final int LAST_OF_VMX = 0x493;

    private X86Reset() {}

    /** Whether this new vCPU is KVM's boot processor ({@code bsp_vcpu_id}). The guest may change the bit later. */
    static boolean isBoot(X86Vcpu vcpu) {
        return (vcpu.systemRegisters().get(X86SystemRegisters.Name.APIC_BASE) & BOOT) != 0;
    }

    /**
     * Resets one of this thread's vCPUs. Reads the MP state first, so that KVM processes a pending INIT and SIPI.
     * Leaves SMM and a nested guest before it writes registers that they would swap.
     */
    static void apply(VcpuId id, boolean isBoot, VcpuCalls calls, VcpuRun run, X86Vcpu vcpu) {
        X86Msrs known = X86Msrs.ofHost(calls.fd().kernel()); // first, because it may fail
        run.completeInstruction();
        calls.state();
        vcpu.setEvents(noEvents(vcpu));
        leaveNestedGuest(vcpu);
        vcpu.setSystemRegisters(systemRegisters(RESET_BASE | (isBoot ? BOOT : 0)));
        calls.page().putLong(Uapi.KvmRun.CR8, 0); // without an in-kernel LAPIC, the next run loads CR8
        vcpu.setXcr0(1);
        vcpu.setXsave(new X86Xsave(vcpu.xsave().size()).setMxcsr(RESET_MXCSR));
        vcpu.setRegisters(registers(vcpu));
        resetMsrs(known, vcpu);
        boolean hasLapic = resetLapic(id, vcpu, isBoot);
        vcpu.setDebugRegisters(new X86DebugRegisters()
                .set(X86DebugRegisters.Name.DR6, 0xffff0ff0L)
                .set(X86DebugRegisters.Name.DR7, 0x400));
        vcpu.setEvents(noEvents(vcpu));
        calls.setState(hasLapic && !isBoot ? VcpuState.UNINITIALIZED : VcpuState.RUNNABLE);
    }

    /** No events, in the fields that the kernel reports. */
    private static X86Events noEvents(X86Vcpu vcpu) {
        X86Events none = new X86Events();
        int flags = Uapi.KvmVcpuEvents.FLAGS;
        none.structure.putInt(flags, vcpu.events().structure.getInt(flags));
        return none;
    }

    /** Leaves SVM by clearing EFER.SVME. Leaves VMX by writing 0 to IA32_FEATURE_CONTROL, as only a VMM can. */
    private static void leaveNestedGuest(X86Vcpu vcpu) {
        long efer = vcpu.systemRegisters().get(X86SystemRegisters.Name.EFER);
        if ((efer & SVME) != 0) {
            vcpu.setMsrs(new X86Msrs().set(X86Msr.EFER, efer & ~SVME));
        }
        if ((vcpu.systemRegisters().get(X86SystemRegisters.Name.CR4) & 1 << 13) != 0) { // CR4.VMXE
            vcpu.setMsrs(new X86Msrs().set(FEATURE_CONTROL, 0));
        }
    }

    private static X86SystemRegisters systemRegisters(long base) {
        X86SystemRegisters reset = new X86SystemRegisters()
                .set(X86SystemRegisters.Name.CR0, CACHE_OFF)
                .set(X86SystemRegisters.Name.APIC_BASE, base)
                .setGdt(0, 0xffff)
                .setIdt(0, 0xffff);
        for (Segment segment : Segment.values()) {
            reset.setSegment(
                    segment,
                    switch (segment) {
                        case CS -> CODE;
                        case TR -> TASK;
                        case LDT -> TABLE;
                        case DS, ES, FS, GS, SS -> DATA;
                    });
        }
        return reset;
    }

    private static X86Registers registers(X86Vcpu vcpu) {
        int signature = vcpu.cpuid().stream()
                .flatMap(cpuid -> cpuid.leaves().stream())
                .filter(leaf -> leaf.function() == 1)
                .mapToInt(Cpuid.Leaf::eax)
                .findFirst()
                .orElse(FAMILY_6);
        return new X86Registers()
                .set(X86Registers.Name.RDX, Integer.toUnsignedLong(signature))
                .set(X86Registers.Name.RIP, RESET_IP);
    }

    // MSRs

    /**
     * Writes the MSRs that do not have their reset value. An MSR that KVM refuses to write only reports a host
     * property. Writing 0 to the TSC synchronizes it with the VM's other vCPUs ({@code kvm_synchronize_tsc()}).
     */
    private static void resetMsrs(X86Msrs known, X86Vcpu vcpu) {
        X86Msrs now = vcpu.msrs(known.set(X86Msr.MTRR_DEF_TYPE, 0));
        X86Msrs next = new X86Msrs();
        for (int number : now.numbers()) {
            boolean kept = KEPT.contains(number) || number >= FIRST_OF_VMX && number <= LAST_OF_VMX;
            long misc = number == X86Msr.MISC_ENABLE.number() ? now.get(number) & MISC_KEPT : 0;
            long value = VALUES.getOrDefault(number, misc);
            if (!kept && now.get(number) != value) {
                next.set(number, value);
            }
        }
        next.set(X86Msr.TSC, 0);
        while (!next.numbers().isEmpty()) {
            try {
                vcpu.setMsrs(next);
                return;
            } catch (MsrRefusedException e) {
                next.remove(e.number());
            }
        }
    }

    // LAPIC

    /** @return false if the LAPIC is not in the kernel */
    private static boolean resetLapic(VcpuId id, X86Vcpu vcpu, boolean isBoot) {
        X86Lapic now;
        try {
            now = vcpu.lapic();
        } catch (KernelException e) {
            if (e.errno().equals(Errno.EINVAL)) {
                return false;
            }
            throw e;
        }
        int version = now.get(X86Lapic.Name.VERSION);
        X86Lapic reset = new X86Lapic()
                .set(X86Lapic.Name.ID, id.number() << XAPIC_ID)
                .set(X86Lapic.Name.VERSION, version)
                .set(X86Lapic.Name.DFR, -1)
                .set(X86Lapic.Name.SVR, DISABLED);
        EnumSet.range(X86Lapic.Name.LVT_TIMER, X86Lapic.Name.LVT_ERROR).forEach(entry -> reset.set(entry, MASKED));
        if (isBoot) {
            reset.set(X86Lapic.Name.LVT_LINT0, EXTERNAL);
        }
        if ((version & LAST_LOCAL_VECTOR) >= WITH_CMCI) {
            reset.set(LVT_CMCI, MASKED);
        }
        vcpu.setLapic(reset);
        return true;
    }
}
