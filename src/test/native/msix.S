/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware of 64 KiB for a guest that ends by itself. It gives the PCI device
 * in slot 2 three messages of MSI-X, whose table is at the start of BAR 3 and
 * whose capability is at 0xa0, as those of e1000e are. It enables MSI-X, masks
 * and unmasks the second message, disables MSI-X and resets the machine.
 * Without that device it ends with a triple fault.
 */
	.set BAR, 0xfeb00000
	.set COMMAND, 0x04
	.set BAR3, 0x1c
	.set MSIX, 0xa0
	.set ENTRY, 16
	.set CONTROL, 12	/* of an entry; bit 0 masks */

	.code16
	.text
rom:
	/* Reads or writes eax: a register of slot 2, by ports. */
	.macro config register
	movl $(0x80001000 + \register), %eax
	movw $0xcf8, %dx
	outl %eax, %dx
	movw $0xcfc, %dx
	.endm
	.macro set register, value
	config \register
	movl $\value, %eax
	outl %eax, %dx
	.endm

	.org 0xfe00
start:
	cli
	config 0
	inl %dx, %eax
	cmpl $-1, %eax
	je fault
	set BAR3, BAR
	set COMMAND, 6		/* memory and bus mastering */
	/* A segment of 4 GiB, which lasts in real mode. */
	movw $(gdtr - rom), %bx
	lgdtl %cs:(%bx)
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	movw $8, %bx
	movw %bx, %es
	andb $0xfe, %al
	movl %eax, %cr0
	movl $BAR, %edi
	movl $0x40, %ecx	/* vectors 0x40 to 0x42 */
1:	movl $0xfee00000, %es:(%edi)
	movl $0, %es:4(%edi)
	movl %ecx, %es:8(%edi)
	movl $0, %es:CONTROL(%edi)
	addl $ENTRY, %edi
	incl %ecx
	cmpl $0x43, %ecx
	jne 1b
	set MSIX, 0x80000000
	movl $(BAR + ENTRY + CONTROL), %edi
	movl $1, %es:(%edi)
	movl $0, %es:(%edi)
	set MSIX, 0
	movb $0xfe, %al		/* the keyboard controller's reset */
	outb %al, $0x64
2:	hlt
	jmp 2b
fault:
	movw $(none - rom), %bx
	lidtl %cs:(%bx)
	int3
gdt:
	.quad 0
	.quad 0x00cf93000000ffff
gdtr:
	.word gdtr - gdt - 1
	.long 0xffff0000 + (gdt - rom)
none:
	.word 0
	.long 0

	.org 0xfff0
	jmp start
	.org 0x10000, 0xf4
