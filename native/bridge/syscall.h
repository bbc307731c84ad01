/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVMIRQ_SYSCALL_H
#define KVMIRQ_SYSCALL_H

#include <asm/unistd.h>

/*
 * One system call: the instruction itself, and the kernel's own result, which
 * is -errno from -4095 to -1. Arguments that a call does not have are 0. None
 * of the calls here is one that the vDSO answers without the kernel.
 *
 * The kernel keeps all registers but those named: the result, and on x86-64
 * rcx and r11, into which the instruction writes the return address and the
 * flags. It may write memory that an argument points to. On arm64 it keeps the
 * lower 128 bits of vector registers, which are all that code without SVE has.
 * It uses no stack of the caller. A signal's handler may run before the result
 * is there; the kernel then repeats the instruction or answers -EINTR.
 *
 * This is no cancellation point of POSIX threads, which a JVM does not use. A
 * system call that seccomp refuses with SIGSYS traps as it does in libc.
 */
static inline long kvmirq_syscall(long number, long a, long b, long c, long d,
				  long e, long f)
{
#if defined(__x86_64__) && !defined(__ILP32__)
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10),
			   "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__) && !defined(__ILP32__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "system calls of x86-64 and arm64 alone are known here"
#endif
}

#endif
