/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "apicv.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define MEMORY_SIZE	0x40000
#define GDT		0x1000
#define IDT		0x2000
#define CODE		0x4000
#define HANDLER_SIZE	16
#define PAGES		0x10000
#define STACKS		0x20000
#define PAGE_SIZE	0x1000
#define FIRST_GSI	24	/* the IOAPIC has those before */
#define SVR		0xf0

/*
 * Flat 32-bit code without paging: a handler for each vector, and the loop
 * that obeys. ESI always has the address of the vCPU's page.
 */
__asm__(
".pushsection .rodata\n"
".code32\n"
".balign 16\n"
"guest_code:\n"
".set vector, 0\n"
".rept 256\n"
"	.balign 16\n"
"	pushl %eax\n"
"	movl $vector, %eax\n"
"	jmp .Ltake\n"
"	.set vector, vector + 1\n"
".endr\n"
".balign 16\n"
"guest_main:\n"
"	sti\n"
".Lobey:\n"
"	movl (%esi), %eax\n"
"	cmpl $1, %eax\n"
"	je .Lmask\n"
"	cmpl $2, %eax\n"
"	je .Lhalt\n"
"	cmpl $3, %eax\n"
"	jne guest_main\n"
"	cli\n"
".Lhalt:\n"
"	hlt\n"
"	jmp guest_main\n"
".Lmask:\n"
"	cli\n"
"	jmp .Lobey\n"
".Ltake:\n"
"	incl 0x400(%esi,%eax,4)\n"
"	movl $0, 0xfee000b0\n"	/* EOI */
"	popl %eax\n"
"	iret\n"
"guest_end:\n"
".code64\n"
".popsection\n");
extern const uint8_t guest_code[], guest_main[], guest_end[];

int vm;
struct vcpu vcpus[VCPUS];
static uint8_t *memory;
static struct {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entries[VCPUS];
} routes;

void pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(tid, sizeof(set), &set))
		fail("a thread cannot be moved to CPU %d", cpu);
}

void vm_create(void)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = MEMORY_SIZE,
	};
	/* Selector 8 is code of 4 GiB, and 16 such data. */
	uint64_t gdt[] = { 0, 0x00cf9a000000ffff, 0x00cf92000000ffff };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	uint64_t *idt;
	int i;

	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		fail("/dev/kvm makes no VM");
	close(kvm);
	memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail("there is no memory for the guest");
	region.userspace_addr = (uintptr_t)memory;
	if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) ||
	    ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) ||
	    ioctl(vm, KVM_CREATE_IRQCHIP, 0))
		fail("the VM cannot be set up");
	memcpy(memory + GDT, gdt, sizeof(gdt));
	memcpy(memory + CODE, guest_code, guest_end - guest_code);
	idt = (uint64_t *)(memory + IDT);
	for (i = 0; i < 256; i++)	/* interrupt gates; code is below 64 KiB */
		idt[i] = 0x8e0000080000 | (CODE + HANDLER_SIZE * i);
}

void vcpu_create(int id)
{
	struct vcpu *vcpu = &vcpus[id];

	vcpu->fd = ioctl(vm, KVM_CREATE_VCPU, id);
	vcpu->run = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		fail("there is no vCPU %d", id);
	vcpu->page = (struct page *)(memory + PAGES + PAGE_SIZE * id);
	sem_init(&vcpu->stopped, 0, 0);
	sem_init(&vcpu->go, 0, 0);
}

void vcpu_set_up(int id)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
		.db = 1, .s = 1, .g = 1,
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = {
		.rip = CODE + (guest_main - guest_code), .rflags = 2,
		.rsp = STACKS + PAGE_SIZE * (id + 1),
		.rsi = PAGES + PAGE_SIZE * id,
	};
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	int fd = vcpus[id].fd;

	data.selector = 16;
	data.type = 3;
	if (ioctl(fd, KVM_GET_SREGS, &sregs) ||
	    ioctl(fd, KVM_GET_LAPIC, &lapic))
		fail("the state of vCPU %d cannot be read", id);
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = GDT;
	sregs.gdt.limit = 0x17;
	sregs.idt.base = IDT;
	sregs.idt.limit = 0x7ff;
	sregs.cr0 = 0x11;	/* PE, ET */
	/* A LAPIC that software has not enabled drops messages. */
	*(uint32_t *)(lapic.regs + SVR) = 0x1ff;
	if (ioctl(fd, KVM_SET_SREGS, &sregs) ||
	    ioctl(fd, KVM_SET_REGS, &regs) ||
	    ioctl(fd, KVM_SET_LAPIC, &lapic))
		fail("the state of vCPU %d cannot be set", id);
	vcpu_end_halt(id);
}

static void interrupt_run(int signal)
{
	(void)signal;
}

static void *run(void *argument)
{
	struct vcpu *vcpu = argument;

	vcpu->tid = syscall(SYS_gettid);
	vcpu->stop = true;
	do {
		if (vcpu->stop) {
			sem_post(&vcpu->stopped);
			sem_wait(&vcpu->go);
		}
		errno = 0;
		ioctl(vcpu->fd, KVM_RUN, 0);
	} while (errno == EINTR);
	fail("KVM_RUN ended with exit %u, hardware reason %#llx",
	     vcpu->run->exit_reason, (unsigned long long)
	     vcpu->run->fail_entry.hardware_entry_failure_reason);
}

void vcpu_start(int id, int cpu)
{
	/* KVM_RUN ends with EINTR; a wait goes on. */
	struct sigaction action = {
		.sa_handler = interrupt_run, .sa_flags = SA_RESTART,
	};
	struct vcpu *vcpu = &vcpus[id];

	sigaction(SIGUSR1, &action, NULL);
	if (pthread_create(&vcpu->thread, NULL, run, vcpu))
		fail("vCPU %d has no thread", id);
	sem_wait(&vcpu->stopped);
	pin(vcpu->tid, cpu);
	vcpu_go(id);
}

void vcpu_stop(int id)
{
	struct vcpu *vcpu = &vcpus[id];

	vcpu->stop = true;
	/* For a signal that comes before KVM_RUN. */
	vcpu->run->immediate_exit = 1;
	pthread_kill(vcpu->thread, SIGUSR1);
	sem_wait(&vcpu->stopped);
}

void vcpu_go(int id)
{
	vcpus[id].run->immediate_exit = 0;
	vcpus[id].stop = false;
	sem_post(&vcpus[id].go);
}

void vcpu_end_halt(int id)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };

	if (ioctl(vcpus[id].fd, KVM_SET_MP_STATE, &runnable))
		fail("vCPU %d cannot be made to run", id);
}

void vm_signal(int id, uint8_t vector)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | id << 12, .data = vector,
	};

	if (ioctl(vm, KVM_SIGNAL_MSI, &msi) != 1)
		fail("KVM_SIGNAL_MSI delivered nothing");
}

int vm_irqfd(int id, uint8_t vector)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	uint32_t gsi = FIRST_GSI + routes.head.nr;
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi };

	routes.entries[routes.head.nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000 | id << 12,
			   .data = vector },
	};
	if (ioctl(vm, KVM_SET_GSI_ROUTING, &routes) ||
	    ioctl(vm, KVM_IRQFD, &irqfd))
		fail("an irqfd cannot be assigned");
	return fd;
}
