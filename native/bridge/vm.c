/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

#include <linux/fcntl.h>
#include <linux/kvm.h>

/* Open a KVM device node read-write; path is normally /dev/kvm. */
int kvmirq_kvm_open(const char *path)
{
	return (int)kvmirq_syscall(__NR_openat, AT_FDCWD, (long)path,
				   O_RDWR | O_CLOEXEC, 0, 0, 0);
}

int kvmirq_kvm_version(int kvm)
{
	return call_value(kvm, KVM_GET_API_VERSION, 0);
}

/* KVM_CHECK_EXTENSION on /dev/kvm or a VM; 0 for an unknown capability. */
int kvmirq_capability_check(int fd, uint32_t capability)
{
	return call_value(fd, KVM_CHECK_EXTENSION, capability);
}

int kvmirq_vm_create(int kvm, uint64_t type)
{
	return call_value(kvm, KVM_CREATE_VM, type);
}
