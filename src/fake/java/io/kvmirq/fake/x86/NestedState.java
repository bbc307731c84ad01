/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.x86.cpu.GuestCpuid;
import io.kvmirq.fake.x86.cpu.SystemRegisters;
import io.kvmirq.uapi.Uapi.KvmNestedState;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Supplier;

/**
 * The nested state of a vCPU without a nested guest, which is only a header. Source: {@code kvm_arch_vcpu_ioctl()} in
 * arch/x86/kvm/x86.c, {@code vmx_set_nested_state()} in vmx/nested.c, {@code svm_set_nested_state()} in svm/nested.c.
 */
final class NestedState {
    private static final int GUEST_MODE = 1;
    private static final int RUN_PENDING = 1 << 1;
    private static final int ENLIGHTENED = 1 << 2;
    private static final int TRAP_PENDING = 1 << 3;
    /** The global interrupt flag of SVM. */
    private static final int INTERRUPT_FLAG = 1 << 8;

    private static final int KNOWN = GUEST_MODE | RUN_PENDING | ENLIGHTENED | TRAP_PENDING | INTERRUPT_FLAG;

    private static final int FORMAT_VMX = 0;
    private static final int FORMAT_SVM = 1;

    // The header of VMX: two addresses, flags of SMM, flags. All of it is 0 for SVM.
    private static final int VMXON = KvmNestedState.HDR;
    private static final int VMCS = VMXON + Long.BYTES;
    private static final int MANAGEMENT = VMCS + Long.BYTES;
    private static final int TIMER = MANAGEMENT + Integer.BYTES;
    private static final int TIMER_FLAG = 1;
    private static final int NO_ADDRESS = -1;

    /** The size of a VMCB, of a VMCS and of its shadow in bytes. */
    private static final int PAGE = 4096;

    private final Host host;
    private final SystemRegisters system;
    private final Supplier<GuestCpuid> cpuid;
    private final boolean svm;

    NestedState(Host host, SystemRegisters system, Supplier<GuestCpuid> cpuid) {
        this.host = host;
        this.system = system;
        this.cpuid = cpuid;
        this.svm = host.build().hardware().isAmd();
    }

    /** KVM_CAP_NESTED_STATE: the size of the largest state; 0 for none, and on a host of no vendor. */
    static int capability(Host host) {
        if (host.build().pvm() || isOfNoVendor(host)) {
            return 0;
        }
        return KvmNestedState.SIZE + (host.build().hardware().isAmd() ? PAGE : 2 * PAGE);
    }

    private static boolean isOfNoVendor(Host host) {
        return host.build().hardware() == Hardware.REMAPPING;
    }

    private void checkModelled(String request) {
        if (isOfNoVendor(host)) {
            throw new NotModelledException(request);
        }
    }

    /** KVM_GET_NESTED_STATE. Checks for nested support before it reads the size. */
    int get(long address) {
        if (host.build().pvm()) {
            return host.refuse(SetupAnswer.NESTED_NONE);
        }
        checkModelled("KVM_GET_NESTED_STATE");
        long sizeAt = address + KvmNestedState.LENGTH;
        return host.copied(sizeAt, Integer.BYTES, size -> {
            if (Integer.compareUnsigned(size.getInt(0), KvmNestedState.SIZE) >= 0) {
                return host.copyOut(address, header(), KvmNestedState.SIZE);
            }
            int put = host.put(sizeAt, size.putInt(0, KvmNestedState.SIZE), Integer.BYTES);
            return put < 0 ? put : host.refuse(SetupAnswer.NESTED_ROOM);
        });
    }

    private ByteBuffer header() {
        ByteBuffer header = ByteBuffer.allocate(KvmNestedState.SIZE).order(ByteOrder.nativeOrder());
        header.putShort(KvmNestedState.FORMAT, (short) (svm ? FORMAT_SVM : FORMAT_VMX))
                .putInt(KvmNestedState.LENGTH, KvmNestedState.SIZE);
        if (svm) {
            return header.putShort(KvmNestedState.FLAGS, (short) INTERRUPT_FLAG);
        }
        return header.putLong(VMXON, NO_ADDRESS).putLong(VMCS, NO_ADDRESS);
    }

    int set(long address) {
        if (host.build().pvm()) {
            return host.refuse(SetupAnswer.NESTED_NONE);
        }
        checkModelled("KVM_SET_NESTED_STATE");
        return host.copied(address, KvmNestedState.SIZE, this::set);
    }

    private int set(ByteBuffer state) {
        if (system.hasVirtualization()) {
            throw new NotModelledException("nested state with EFER.SVME");
        }
        int flags = Short.toUnsignedInt(state.getShort(KvmNestedState.FLAGS));
        boolean valid = Integer.compareUnsigned(state.getInt(KvmNestedState.LENGTH), KvmNestedState.SIZE) >= 0
                && (flags & ~KNOWN) == 0
                && ((flags & RUN_PENDING) == 0 || (flags & GUEST_MODE) != 0)
                && (svm ? isValidSvm(state, flags) : isValidVmx(state, flags));
        return valid ? 0 : host.refuse(SetupAnswer.NESTED_INVALID);
    }

    /** Whether SVM state is valid without EFER.SVME. */
    private static boolean isValidSvm(ByteBuffer state, int flags) {
        return state.getShort(KvmNestedState.FORMAT) == FORMAT_SVM && flags == INTERRUPT_FLAG;
    }

    /** Whether VMX state is valid without VMX in the CPUID, or outside VMX operation. */
    private boolean isValidVmx(ByteBuffer state, int flags) {
        if (state.getShort(KvmNestedState.FORMAT) != FORMAT_VMX) {
            return false;
        }
        if (state.getLong(VMXON) != NO_ADDRESS && cpuid.get().hasVmx()) {
            throw new NotModelledException("a guest that is a hypervisor");
        }
        return state.getLong(VMXON) == NO_ADDRESS
                && state.getLong(VMCS) == NO_ADDRESS
                && state.getShort(MANAGEMENT) == 0
                && (state.getInt(TIMER) & ~TIMER_FLAG) == 0
                && flags == 0;
    }
}
