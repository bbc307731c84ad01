/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of `kvmirq selftest` on arm64: one vCPU at EL1 that counts and answers its interrupts. scripts/guest arm64
 * assembles it; the bytes live in ArmGuestCode.java.
 *
 * It begins at `start` with its MMU off: x0 is 0 for a GICv3, else the address of a GICv2's CPU interface; x1 is 1 to end
 * an interrupt in two steps, by a priority drop and a deactivation. The VMM has programmed the distributor, and the ITS.
 * The MMU is turned on: a count that is written past the caches is not seen by a VMM that reads it through them.
 *
 * Guest-physical memory from 0x40000000: 0x0000 vectors and code; 0x1000 + 4 * s the interrupts taken of slot s, which is
 * the INTID, for LPI n it is n - 8192 + 1024; 0x4000 four entries that map 4 GiB, written by the VMM.
 * Registers at 0x0a000000: +0 answer (the INTID), +4 ready, +8 fault (the syndrome of an exception).
 */
	.text
	.org 0x200
fault:					/* a synchronous exception: none is expected */
	mrs x3, esr_el1
	str w3, [x23, #8]		/* exits to the VMM, which ends here */
	b fault

	.org 0x280
irq:
	cbnz x20, 1f
	mrs x2, S3_0_C12_C12_0		/* ICC_IAR1_EL1 */
	and w3, w2, #0xffffff
	b 2f
1:	ldr w2, [x20, #0xc]		/* GICC_IAR */
	and w3, w2, #0x3ff
2:	dsb sy
	sub w4, w3, #1020
	cmp w4, #4
	b.lo 9f				/* 1020 to 1023: no interrupt */
	mov w4, w3
	cmp w3, #2, lsl #12
	b.lo 3f
	sub w4, w4, #1, lsl #12
	sub w4, w4, #0xc00
3:	add x4, x22, x4, lsl #2
	ldr w5, [x4]
	add w5, w5, #1
	str w5, [x4]
	cbnz x20, 4f
	msr S3_0_C12_C12_1, x2		/* ICC_EOIR1_EL1 */
	cbz x21, 5f
	msr S3_0_C12_C11_1, x2		/* ICC_DIR_EL1 */
	b 5f
4:	str w2, [x20, #0x10]		/* GICC_EOIR */
	cbz x21, 5f
	add x5, x20, #1, lsl #12
	str w2, [x5]			/* GICC_DIR */
5:	isb
	dsb sy				/* the count is seen before the answer */
	str w3, [x23]			/* answer; an ioeventfd takes it */
9:	eret

start:
	mov x20, x0
	mov x21, x1
	mov x22, #0x40000000
	msr vbar_el1, x22
	add x2, x22, #4, lsl #12
	msr ttbr0_el1, x2
	add x22, x22, #1, lsl #12
	mov x23, #0x0a000000
	mov x2, #0x04ff			/* 0: memory, write-back; 1: device */
	msr mair_el1, x2
	mov x2, #0x3520			/* 4 GiB, pages of 4 KiB, tables are in cached memory */
	movk x2, #0x80, lsl #16		/* no upper half */
	msr tcr_el1, x2
	isb
	mrs x2, sctlr_el1
	mov x3, #0x1005			/* MMU, caches */
	orr x2, x2, x3
	msr sctlr_el1, x2
	isb
	cbnz x20, 1f
	mrs x2, S3_0_C12_C12_5		/* ICC_SRE_EL1: system registers */
	orr x2, x2, #1
	msr S3_0_C12_C12_5, x2
	isb
	mov x2, #0xff
	msr S3_0_C4_C6_0, x2		/* ICC_PMR_EL1: all priorities */
	lsl x2, x21, #1
	msr S3_0_C12_C12_4, x2		/* ICC_CTLR_EL1: EOImode */
	mov x2, #1
	msr S3_0_C12_C12_7, x2		/* ICC_IGRPEN1_EL1 */
	b 2f
1:	mov w2, #0xff
	str w2, [x20, #4]		/* GICC_PMR */
	lsl w2, w21, #9
	orr w2, w2, #1
	str w2, [x20]			/* GICC_CTLR: EOImode, group 0 */
	dsb sy
2:	isb
	str wzr, [x23, #4]		/* ready; exits to the VMM */
	msr daifclr, #2
3:	wfi
	b 3b
