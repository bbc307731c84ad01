/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of `kvmirq selftest`: one vCPU in real mode that counts and answers
 * its interrupts. scripts/guest assembles it; the bytes live in GuestCode.java.
 *
 * x2APIC, so that the EOI is a WRMSR: the xAPIC's page at 0xfee00000 is out of
 * reach in real mode. HLT between interrupts: a spinning guest starves the
 * thread that would interrupt it where CPUs are few.
 *
 * One handler serves every vector. The entry of vector v in the interrupt table
 * is (segment v, offset handler - 16 * v), which is the same linear address for
 * all v, so that the handler finds its vector in CS.
 *
 * Guest-physical memory: 0x0000 interrupt table, 0x1000 this code,
 * 0x2000 + 4 * v interrupts taken on vector v, 0x8000 stack, growing down.
 * Ports: 0x80 answer (the vector), 0x81 stopped, 0x82 ready.
 */
	.code16
	.text
start:
	movl	$0x1b, %ecx		/* IA32_APIC_BASE: enable, x2APIC */
	rdmsr
	orl	$0xc00, %eax
	wrmsr
	movl	$0x80f, %ecx		/* x2APIC SVR: enable, spurious 0xff */
	movl	$0x1ff, %eax
	xorl	%edx, %edx
	wrmsr
	outb	%al, $0x82		/* ready; exits to the VMM */
	sti
idle:
	hlt
	jmp	idle

handler:
	pushal
	movw	%cs, %bx		/* the vector */
	movw	%bx, %si
	shlw	$2, %si
	incl	0x2000(%si)
	movl	$0x80b, %ecx		/* x2APIC EOI */
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	movw	%bx, %ax
	outb	%al, $0x80		/* answer; an ioeventfd takes it */
	popal
	iretw

stop:					/* the handler of NMI */
	outb	%al, $0x81		/* exits to the VMM, which ends here */
	jmp	stop
