/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.kvm.Attribute;
import io.kvmirq.fake.kvm.KvmFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** The file /dev/kvm on x86. Source: {@code kvm_arch_dev_ioctl()} in arch/x86/kvm/x86.c. */
public final class X86KvmFile extends KvmFile {
    /** KVM_X86_GRP_SEV. */
    private static final int ENCRYPTED = 1;

    private static final Requests<X86KvmFile> REQUESTS = KvmFile.<X86KvmFile>requests(
                    number -> Requests.name(UapiTable.FileKind.KVM, number))
            .inHeader(Uapi.KVM_GET_SUPPORTED_CPUID, X86KvmFile::supportedCpuid)
            .inHeader(Uapi.KVM_GET_MSR_INDEX_LIST, (kvm, header, address) -> kvm.listMsrs(header, address))
            .in(Uapi.KVM_GET_DEVICE_ATTR, X86KvmFile::getAttribute)
            .in(Uapi.KVM_HAS_DEVICE_ATTR, X86KvmFile::hasAttribute);

    public X86KvmFile(KernelOfFile host) {
        super(host, X86VcpuFile.RUN_SIZE);
    }

    @Override
    public int ioctl(long request, long argument) {
        return REQUESTS.answer(this, request, argument);
    }

    @Override
    protected int check(long capability) {
        return X86Capabilities.check(host, capability);
    }

    @Override
    protected int createVmOf(long type) {
        return type == 0 ? host.install(new X86VmFile(host)) : host.refuse(VmAnswer.KVM_VM_TYPE);
    }

    /** Handles attributes: XCR0 bits of guests, and with kvm_amd since 6.10 features of encrypted guests. */
    private int hasAttribute(ByteBuffer structure) {
        Attribute attribute = Attribute.parse(structure);
        boolean encrypts = host.build().hardware().isAmd() && host.build().isSince(6, 10);
        boolean hasGroup = attribute.group() == 0 || attribute.group() == ENCRYPTED && encrypts;
        if (attribute.group() == ENCRYPTED && encrypts) {
            host.note(InterruptAnswer.KVM_ATTRIBUTE_OF_AMD);
        }
        return hasGroup && attribute.number() == 0 ? 0 : host.refuse(InterruptAnswer.KVM_ATTRIBUTE);
    }

    private int getAttribute(ByteBuffer structure) {
        int refused = hasAttribute(structure);
        long features = Attribute.parse(structure).group() == ENCRYPTED ? 0 : KeptState.XCR0_OF_HOST;
        ByteBuffer value =
                ByteBuffer.allocate(Long.BYTES).order(ByteOrder.nativeOrder()).putLong(0, features);
        return refused < 0 ? refused : host.put(Attribute.parse(structure).address(), value, Long.BYTES);
    }

    private int supportedCpuid(ByteBuffer header, long address) {
        ByteBuffer leaves = CpuidCalls.supported(host.build());
        int count = leaves.capacity() / Uapi.KvmCpuidEntry2.SIZE;
        if (Integer.compareUnsigned(header.getInt(Uapi.KvmCpuid2.NENT), count) < 0) {
            return host.refuse(VmAnswer.KVM_CPUID_ROOM);
        }
        int refused = host.copyOut(address + Uapi.KvmCpuid2.SIZE, leaves, leaves.capacity());
        return refused < 0
                ? refused
                : host.copyOut(address, header.putInt(Uapi.KvmCpuid2.NENT, count), Uapi.KvmCpuid2.SIZE);
    }

    private int listMsrs(ByteBuffer header, long address) {
        List<Integer> msrs = Msrs.listed(host);
        int room = header.getInt(Uapi.KvmMsrList.NMSRS);
        int length = Uapi.KvmMsrList.SIZE + msrs.size() * Integer.BYTES;
        ByteBuffer list =
                ByteBuffer.allocate(length).order(ByteOrder.nativeOrder()).putInt(msrs.size());
        msrs.forEach(list::putInt);
        boolean fits = Integer.compareUnsigned(room, msrs.size()) >= 0;
        int copied = host.copyOut(address, list, fits ? length : Uapi.KvmMsrList.SIZE);
        return fits || copied != 0 ? copied : host.refuse(VmAnswer.MSR_ROOM);
    }
}
