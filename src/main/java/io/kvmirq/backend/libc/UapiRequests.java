/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.libc.UapiTable.FileKind;
import io.kvmirq.backend.libc.UapiTable.Request;
import java.util.List;
import java.util.Optional;

/**
 * The requests of include/uapi/linux/kvm.h that nothing here makes or describes, of those that a kernel from 6.1 to 7.1 on x86 may
 * answer: whether one does depends on its version, its configuration and its CPU. With them {@link UapiTable} is complete.
 * Sources: {@code kvm_dev_ioctl()}, {@code kvm_vm_ioctl()} and {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c, and what
 * these call in arch/x86/kvm/x86.c.
 */
final class UapiRequests {
    private UapiRequests() {}

    private static Request kvm(String name, long number) {
        return new Request(FileKind.KVM, name, number, Optional.empty());
    }

    private static Request vm(String name, long number) {
        return new Request(FileKind.VM, name, number, Optional.empty());
    }

    private static Request vcpu(String name, long number) {
        return new Request(FileKind.VCPU, name, number, Optional.empty());
    }

    static final List<Request> ALL = List.of(
            kvm("KVM_GET_MSRS", Uapi.KVM_GET_MSRS),
            kvm("KVM_GET_SUPPORTED_HV_CPUID", Uapi.iowr(0xc1, 8)),
            kvm("KVM_GET_DEVICE_ATTR", Uapi.KVM_GET_DEVICE_ATTR),
            kvm("KVM_HAS_DEVICE_ATTR", Uapi.KVM_HAS_DEVICE_ATTR),

            // Memory
            vm("KVM_SET_NR_MMU_PAGES", Uapi.io(0x44)),
            vm("KVM_GET_NR_MMU_PAGES", Uapi.io(0x45)), // gone by 6.18
            vm("KVM_CLEAR_DIRTY_LOG", Uapi.KVM_CLEAR_DIRTY_LOG),
            vm("KVM_RESET_DIRTY_RINGS", Uapi.KVM_RESET_DIRTY_RINGS),
            vm("KVM_SET_MEMORY_ATTRIBUTES", Uapi.iow(0xd2, 32)), // since 6.8
            vm("KVM_MEMORY_ENCRYPT_OP", Uapi.iowr(0xba, 8)),
            vm("KVM_MEMORY_ENCRYPT_REG_REGION", Uapi.ior(0xbb, 16)),
            vm("KVM_MEMORY_ENCRYPT_UNREG_REGION", Uapi.ior(0xbc, 16)),

            // Time
            vm("KVM_CREATE_PIT", Uapi.io(0x64)),
            vm("KVM_GET_PIT", Uapi.iowr(0x65, 72)),
            vm("KVM_SET_PIT", Uapi.ior(0x66, 72)),
            vm("KVM_REINJECT_CONTROL", Uapi.io(0x71)),
            vm("KVM_SET_TSC_KHZ", Uapi.KVM_SET_TSC_KHZ),
            vm("KVM_GET_TSC_KHZ", Uapi.KVM_GET_TSC_KHZ),

            // Other hypervisors, and counters
            vm("KVM_XEN_HVM_CONFIG", Uapi.iow(0x7a, 56)),
            vm("KVM_XEN_HVM_GET_ATTR", Uapi.iowr(0xc8, 72)),
            vm("KVM_XEN_HVM_SET_ATTR", Uapi.iow(0xc9, 72)),
            vm("KVM_XEN_HVM_EVTCHN_SEND", Uapi.iow(0xd0, 12)),
            vm("KVM_HYPERV_EVENTFD", Uapi.iow(0xbd, 24)),
            vm("KVM_SET_PMU_EVENT_FILTER", Uapi.iow(0xb2, 32)),

            // vCPUs
            vcpu("KVM_TRANSLATE", Uapi.iowr(0x85, 24)),
            vcpu("KVM_SET_CPUID", Uapi.iow(0x8a, 8)),
            vcpu("KVM_GET_CPUID2", Uapi.iowr(0x91, 8)),
            vcpu("KVM_GET_FPU", Uapi.ior(0x8c, 416)),
            vcpu("KVM_SET_FPU", Uapi.iow(0x8d, 416)),
            vcpu("KVM_X86_SET_MCE", Uapi.iow(0x9e, 64)),
            vcpu("KVM_GET_XSAVE", Uapi.ior(0xa4, 4096)),
            vcpu("KVM_GET_ONE_REG", Uapi.iow(0xab, 16)), // since 6.18
            vcpu("KVM_SET_ONE_REG", Uapi.iow(0xac, 16)), // since 6.18
            vcpu("KVM_GET_REG_LIST", Uapi.iowr(0xb0, 8)), // since 6.18
            vcpu("KVM_SMI", Uapi.io(0xb7)),
            vcpu("KVM_MEMORY_ENCRYPT_OP", Uapi.iowr(0xba, 8)), // since 6.16
            vcpu("KVM_GET_NESTED_STATE", Uapi.iowr(0xbe, 128)),
            vcpu("KVM_SET_NESTED_STATE", Uapi.iow(0xbf, 128)),
            vcpu("KVM_GET_SUPPORTED_HV_CPUID", Uapi.iowr(0xc1, 8)),
            vcpu("KVM_XEN_VCPU_GET_ATTR", Uapi.iowr(0xca, 72)),
            vcpu("KVM_XEN_VCPU_SET_ATTR", Uapi.iow(0xcb, 72)),
            vcpu("KVM_PRE_FAULT_MEMORY", Uapi.iowr(0xd5, 64)), // since 6.11
            vcpu("KVM_SET_DEVICE_ATTR", Uapi.KVM_SET_DEVICE_ATTR),
            vcpu("KVM_GET_DEVICE_ATTR", Uapi.KVM_GET_DEVICE_ATTR),
            vcpu("KVM_HAS_DEVICE_ATTR", Uapi.KVM_HAS_DEVICE_ATTR));
}
