/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program to which the kernel refuses a system call, with EPERM, or
 * kills it for that. stop-info is the ptrace() that Linux before 5.3 lacks, with
 * EIO:
 *
 *   refuses ptrace|process_vm_readv|stop-info [kill] PROGRAM ARGUMENT...
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	if (count < 3)
		return 2;
	bool vm = !strcmp(words[1], "process_vm_readv");
	bool info = !strcmp(words[1], "stop-info");
	bool kills = !strcmp(words[2], "kill");
	unsigned int answer = kills ? SECCOMP_RET_KILL_PROCESS :
				      SECCOMP_RET_ERRNO | (info ? EIO : EPERM);
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			 vm ? SYS_process_vm_readv : SYS_ptrace, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args)),
		/* Requests before it are older. */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K,
			 info ? PTRACE_GET_SYSCALL_INFO : 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog whole = { .len = 6, .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole))
		return 3;
	execv(words[2 + kills], words + 2 + kills);
	return 4;
}
