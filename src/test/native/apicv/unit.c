// SPDX-License-Identifier: GPL-2.0
/*
 * Plays the VT-d unit that Bochs does not have, for phases.c alone: who may
 * write to /proc/kvmirq-unit can change kernel memory. A write is
 *
 *   start FD		an assignment of the VM with this descriptor
 *   end		of that assignment; closing the file ends it, too
 *   post PID VECTOR URGENT
 *			what an interrupt does whose IRTE has these values
 *   forget PID		undoes commit c112b5f50232 for this descriptor: KVM
 *			loads its vCPU without a look at PIR; ends with 0,
 *			or when the file is closed
 *
 * with hexadecimal numbers. KVM prepares descriptors for a unit only if the
 * host's unit posts, which this module claims, and the VM has a device. The
 * unit's side is written from the VT-d specification (5.2.3, "Interrupt-Posting
 * Hardware Operation"), so it shows nothing about hardware.
 */
#include <linux/file.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sizes.h>
#include <asm/apic.h>

#define IRQ_POSTING_CAP	0
#define PID_CONTROL	4	/* the word with ON, SN, NV and NDST */
#define PID_ON		BIT_ULL(0)
#define PID_SN		BIT_ULL(1)
#define PID_NV(control)	((control) >> 16 & 0xff)
#define PID_NDST(control) ((control) >> 40 & 0xff)	/* of an xAPIC */

static int keep_capability(struct kretprobe_instance *call,
			   struct pt_regs *regs)
{
	*(unsigned long *)call->data = regs->di;
	return 0;
}

static int grant_posting(struct kretprobe_instance *call, struct pt_regs *regs)
{
	if (*(unsigned long *)call->data == IRQ_POSTING_CAP)
		regs->ax = true;
	return 0;
}

static struct kretprobe posting_cap = {
	.kp.symbol_name = "irq_remapping_cap",
	.entry_handler = keep_capability,
	.handler = grant_posting,
	.data_size = sizeof(unsigned long),
	.maxactive = 64,
};

static u64 *forgotten;

/* A descriptor with ON=0 at the load of its vCPU, with which vcpu_vmx begins. */
static int keep_on(struct kretprobe_instance *call, struct pt_regs *regs)
{
	u64 *pid = READ_ONCE(forgotten);
	bool is_of = pid && (unsigned long)pid - regs->di < SZ_16K;

	*(u64 **)call->data =
		is_of && !(READ_ONCE(pid[PID_CONTROL]) & PID_ON) ? pid : NULL;
	return 0;
}

/* Before the commit, the load cleared SN, and did not set ON. */
static int drop_on(struct kretprobe_instance *call, struct pt_regs *regs)
{
	u64 *pid = *(u64 **)call->data;

	if (pid)
		clear_bit(0, (unsigned long *)&pid[PID_CONTROL]);
	return 0;
}

static struct kretprobe pi_load = {
	.kp.symbol_name = "vmx_vcpu_pi_load",
	.entry_handler = keep_on,
	.handler = drop_on,
	.data_size = sizeof(u64 *),
	.maxactive = 64,
};

static int unit_start(struct file *file, unsigned int fd)
{
	struct file *vm = fget(fd);

	if (!vm)
		return -EBADF;
	if (file->private_data || !file_is_kvm(vm)) {
		fput(vm);
		return -EINVAL;
	}
	kvm_arch_start_assignment(vm->private_data);
	file->private_data = vm;
	return 0;
}

static void unit_end(struct file *file)
{
	struct file *vm = file->private_data;

	if (!vm)
		return;
	kvm_arch_end_assignment(vm->private_data);
	file->private_data = NULL;
	fput(vm);
}

static void unit_post(u64 *pid, u8 vector, bool urgent)
{
	u64 old;

	/* Before ON: who clears ON, and then reads PIR, finds the vector. */
	set_bit(vector, (unsigned long *)pid);
	old = READ_ONCE(pid[PID_CONTROL]);
	do {
		if ((old & PID_ON) || ((old & PID_SN) && !urgent))
			return;
	} while (!try_cmpxchg64(&pid[PID_CONTROL], &old, old | PID_ON));
	preempt_disable();
	/* In this machine, the numbers of CPUs are their APIC ids. */
	apic->send_IPI(PID_NDST(old), PID_NV(old));
	preempt_enable();
}

/* Writes of one file exclude each other, as those of all regular files. */
static ssize_t unit_write(struct file *file, const char __user *from,
			  size_t size, loff_t *offset)
{
	unsigned int fd, vector, urgent;
	unsigned long pid;
	char line[64];
	int result = 0;

	if (size >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, from, size))
		return -EFAULT;
	line[size] = '\0';
	if (sscanf(line, "start %x", &fd) == 1)
		result = unit_start(file, fd);
	else if (!strcmp(line, "end"))
		unit_end(file);
	else if (sscanf(line, "post %lx %x %x", &pid, &vector, &urgent) == 3)
		unit_post((u64 *)pid, vector, urgent);
	else if (sscanf(line, "forget %lx", &pid) == 1)
		WRITE_ONCE(forgotten, (u64 *)pid);
	else
		result = -EINVAL;
	return result ?: size;
}

static int unit_release(struct inode *inode, struct file *file)
{
	WRITE_ONCE(forgotten, NULL);
	unit_end(file);
	return 0;
}

static const struct proc_ops unit_ops = {
	.proc_write = unit_write,
	.proc_release = unit_release,
};

static int __init unit_load(void)
{
	int result = register_kretprobe(&posting_cap);

	if (result)
		return result;
	result = register_kretprobe(&pi_load);
	if (result)
		goto unregister;
	if (proc_create("kvmirq-unit", 0200, NULL, &unit_ops))
		return 0;
	result = -ENOMEM;
	unregister_kretprobe(&pi_load);
unregister:
	unregister_kretprobe(&posting_cap);
	return result;
}

/* The machine ends with the module, so nothing unloads it. */
module_init(unit_load);
MODULE_DESCRIPTION("Stand-in for a VT-d unit that posts interrupts");
MODULE_LICENSE("GPL");
