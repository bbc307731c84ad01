/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the posted-interrupt descriptors of two vCPUs from kernel memory, in
 * each phase of a vCPU, before and after an interrupt comes, and compares them
 * with what posted_intr.c and vmx.c in arch/x86/kvm/vmx do up to Linux 6.16.
 * The module unit.c posts in place of a VT-d unit.
 *
 * vCPU 0 goes through the phases on CPU 1. This thread sends from CPU 0. The
 * machine remaps no interrupts, so NDST is an xAPIC id. The line of a test is
 * "lab-test:STATUS<tab>NAME<tab>REASON". Exits with 1 if a test failed.
 */
#define _GNU_SOURCE
#include "apicv.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>

#define PID_ON		1
#define PID_SN		2
#define NOTIFY		0xf2	/* POSTED_INTR_VECTOR */
#define WAKE_UP		0xf1	/* POSTED_INTR_WAKEUP_VECTOR */
#define MESSAGES	20
#define SETTLE_MS	20	/* KVM polls for less before it blocks */
#define LOAD		"vmx_vcpu_pi_load"
#define BLOCK		"pi_enable_wakeup_handler"
#define PUT		"vmx_vcpu_pi_put"
#define POST		"vmx_deliver_posted_interrupt"

enum sender { IRQFD, SIGNAL_MSI, UNIT, URGENT_UNIT };

static const struct {
	const char *name, *function;
	uint8_t vector;
} senders[] = {
	{ "irqfd", POST, 0x40 },
	{ "KVM_SIGNAL_MSI", POST, 0x51 },
	{ "unit", "(unit)", 0xa2 },
	{ "urgent unit", "(unit)", 0xe3 },
};

struct pid {
	uint64_t pir[4];
	uint64_t control;
	uint64_t unused[3];
};

enum how { STAY, STOP, PREEMPT, MOVE };

/* The descriptor at rest is that without an assignment, and that with one. */
static const struct phase {
	const char *name;
	enum command command;
	enum how how;
	struct { uint8_t nv, sn, ndst; const char *function; } rest[2];
	bool posts_stay;	/* in PIR, until the phase ends */
	bool takes;		/* in the phase, not behind it */
	uint8_t ndst;		/* after an interrupt */
} phases[] = {
	{ "running", SPIN, STAY,
	  { { NOTIFY, 0, 1, LOAD }, { NOTIFY, 0, 1, LOAD } }, false, true, 1 },
	{ "running with IF=0", SPIN_MASKED, STAY,
	  { { NOTIFY, 0, 1, LOAD }, { NOTIFY, 0, 1, LOAD } }, false, false, 1 },
	{ "in user space", SPIN, STOP,
	  { { NOTIFY, 0, 1, LOAD }, { NOTIFY, 0, 1, LOAD } }, true, false, 1 },
	{ "blocked", HALT, STAY,
	  { { NOTIFY, 0, 1, LOAD }, { WAKE_UP, 0, 1, BLOCK } }, false, true, 1 },
	{ "halted with IF=0", HALT_MASKED, STAY,
	  { { NOTIFY, 0, 1, LOAD }, { NOTIFY, 0, 1, LOAD } }, true, false, 1 },
	/*
	 * A unit leaves ON at 0. Before c112b5f50232 ("KVM: x86: Recompute
	 * PID.ON when clearing PID.SN"), KVM lost this interrupt.
	 */
	{ "preempted", SPIN, PREEMPT,
	  { { NOTIFY, 0, 1, LOAD }, { NOTIFY, 1, 1, PUT } }, true, false, 1 },
	{ "moved while running", SPIN, MOVE,
	  { { NOTIFY, 0, 0, LOAD }, { NOTIFY, 0, 0, LOAD } }, false, true, 0 },
	{ "moved while blocked", HALT, MOVE,
	  { { NOTIFY, 0, 1, LOAD }, { WAKE_UP, 0, 1, BLOCK } }, false, true, 0 },
	{ .name = NULL },
};

static uint64_t pids[VCPUS];
static int irqfd, unit, failures;
static char reason[512];	/* the first that fails the test */
static pthread_t hog;
static volatile enum { HOG_COMES, HOG_RUNS, HOG_ENDS } hog_state;

static void settle(void)
{
	struct timespec time = { .tv_nsec = SETTLE_MS * 1000000L };

	nanosleep(&time, NULL);
}

static struct pid expected(int nv, int sn, int ndst)
{
	return (struct pid){
		.control = (uint64_t)ndst << 40 | nv << 16 | (sn ? PID_SN : 0),
	};
}

static struct pid posted(struct pid pid, enum sender sender, bool on)
{
	uint8_t vector = senders[sender].vector;

	pid.pir[vector / 64] |= 1ULL << vector % 64;
	pid.control |= on ? PID_ON : 0;
	return pid;
}

static char *text(const struct pid *pid, char *to)
{
	int vector, end;

	end = sprintf(to, "ON=%d SN=%d NV=%02x NDST=%08x PIR={",
		      !!(pid->control & PID_ON), !!(pid->control & PID_SN),
		      (unsigned int)(pid->control >> 16 & 0xff),
		      (unsigned int)(pid->control >> 32));
	for (vector = 0; vector < 256; vector++)
		if (pid->pir[vector / 64] >> vector % 64 & 1)
			end += sprintf(to + end, "%s%02x",
				       to[end - 1] == '{' ? "" : ",", vector);
	strcpy(to + end, "}");
	return to;
}

/* ---- the transcript ---- */

static void begin(const char *name)
{
	reason[0] = '\0';
	printf("%s\n", name);
}

static void end(const char *name)
{
	failures += !!reason[0];
	printf("lab-test:%s\t%s\t%s\n", reason[0] ? "failed" : "passed", name,
	       reason);
	fflush(stdout);
}

static void check(const char *what, long is, long should)
{
	if (is != should && !reason[0])
		sprintf(reason, "%s: %ld, expected %ld", what, is, should);
}

static void check_pid(int id, const char *when, const char *function,
		      struct pid want, const char *interrupt)
{
	char is[1024], should[1024];
	struct pid pid;

	kernel_read(pids[id], &pid, sizeof(pid));
	printf("  %-20s vCPU %d  %-45s %-28s  %-7s  ", when, id, text(&pid, is),
	       function, interrupt);
	if (!strcmp(is, text(&want, should))) {
		printf("as expected\n");
		return;
	}
	printf("expected %s\n", should);
	if (!reason[0])
		snprintf(reason, sizeof(reason), "%s: %.200s, expected %.200s",
			 when, is, should);
}

static int taken(int id, enum sender sender)
{
	return vcpus[id].page->taken[senders[sender].vector];
}

/* Notifications to handlers of the host, "PIN:" or "PIW:", on both CPUs. */
static long notifications(const char *name)
{
	FILE *file = fopen("/proc/interrupts", "re");
	long first, second, sum = -1;
	char line[512], *at;

	if (!file)
		fail("/proc/interrupts cannot be read");
	while (fgets(line, sizeof(line), file)) {
		at = strstr(line, name);
		if (at && sscanf(at, "%*s %ld %ld", &first, &second) == 2)
			sum = first + second;
	}
	fclose(file);
	return sum;
}

/* ---- senders, and phases of vCPU 0 ---- */

static void ask_unit(const char *line)
{
	if (write(unit, line, strlen(line)) < 0)
		fail("the unit refuses '%s'", line);
}

static void start_assignment(void)
{
	char line[64];

	sprintf(line, "start %x", vm);
	ask_unit(line);
}

static void send(int id, enum sender sender)
{
	char line[64];

	if (sender == IRQFD) {
		eventfd_write(irqfd, 1);
	} else if (sender == SIGNAL_MSI) {
		vm_signal(id, senders[sender].vector);
	} else {
		sprintf(line, "post %llx %x %x", (unsigned long long)pids[id],
			senders[sender].vector, sender == URGENT_UNIT);
		ask_unit(line);
	}
}

static void *run_hog(void *unused)
{
	struct sched_param priority = { .sched_priority = 50 };

	pin(0, 1);
	if (sched_setscheduler(0, SCHED_FIFO, &priority))
		fail("a thread cannot have real-time priority");
	hog_state = HOG_RUNS;
	while (hog_state == HOG_RUNS)
		;
	return unused;
}

static void enter(const struct phase *phase)
{
	vcpus[0].page->command = phase->command;
	settle();
	if (phase->how == STOP) {
		vcpu_stop(0);
	} else if (phase->how == PREEMPT) {
		hog_state = HOG_COMES;
		if (pthread_create(&hog, NULL, run_hog, NULL))
			fail("there is no thread to preempt with");
		while (hog_state == HOG_COMES)	/* leave() ends it */
			settle();
	} else if (phase->how == MOVE) {
		/* Beside this thread, it would be preempted. */
		pin(0, 1);
		pin(vcpus[0].tid, 0);
	}
	settle();
}

static void leave(const struct phase *phase)
{
	vcpus[0].page->command = SPIN;
	if (phase->how == STOP) {
		vcpu_go(0);
	} else if (phase->how == PREEMPT) {
		hog_state = HOG_ENDS;
		pthread_join(hog, NULL);
	} else if (phase->how == MOVE) {
		pin(vcpus[0].tid, 1);
		pin(0, 0);
	}
	if (phase->command == HALT) {
		vm_signal(0, 0x30);
	} else if (phase->command == HALT_MASKED) {
		/* No interrupt ends it. */
		vcpu_stop(0);
		vcpu_end_halt(0);
		vcpu_go(0);
	}
	settle();
}

static void try_phase(const struct phase *phase, enum sender sender,
		      bool assigned)
{
	int nv = phase->rest[assigned].nv, sn = phase->rest[assigned].sn;
	/* Only a unit heeds SN, and only its notifications reach the host. */
	bool on = sender != UNIT || !sn, notifies = on && sender >= UNIT;
	struct pid rest = expected(nv, sn, phase->rest[assigned].ndst);
	struct pid after = expected(nv, sn, phase->ndst);
	int before = taken(0, sender);
	long pin, piw;
	char name[96];

	sprintf(name, "%s, %s%s", phase->name, senders[sender].name,
		assigned ? ", assigned" : "");
	begin(name);
	enter(phase);
	check_pid(0, phase->name, phase->rest[assigned].function, rest, "");
	pin = notifications("PIN:");
	piw = notifications("PIW:");
	send(0, sender);
	settle();
	check_pid(0, senders[sender].name, senders[sender].function,
		  phase->posts_stay ? posted(after, sender, on) : after,
		  taken(0, sender) > before ? "taken" : "pending");
	check("taken in the phase", taken(0, sender) - before, phase->takes);
	/* A guest that runs takes its notification, or its exit does. */
	if (phase->posts_stay)
		check("notifications", notifications("PIN:") - pin, notifies);
	check("wake-ups", notifications("PIW:") - piw,
	      notifies && nv == WAKE_UP);
	leave(phase);
	check_pid(0, "runs again", LOAD, expected(NOTIFY, 0, 1),
		  taken(0, sender) > before ? "taken" : "lost");
	check("taken", taken(0, sender) - before, 1);
	end(name);
}

/* ---- the beginnings of vCPUs and assignments ---- */

/* In between, nothing else has loaded vCPU ID, which will run on a CPU. */
static void try_first_run(const char *name, int id, enum sender first,
			  enum sender second, int cpu)
{
	struct pid pid = expected(NOTIFY, 0, 0);
	long pin = notifications("PIN:");

	begin(name);
	send(id, first);
	pid = posted(pid, first, true);
	check_pid(id, senders[first].name, senders[first].function, pid, "");
	send(id, second);
	pid = posted(pid, second, true);
	check_pid(id, senders[second].name, senders[second].function, pid, "");
	/* The second finds ON. */
	check("notifications", notifications("PIN:") - pin, first == UNIT);
	vcpu_start(id, cpu);
	settle();
	settle();
	check("first taken", taken(id, first), 1);
	check("second taken", taken(id, second), 1);
	vcpu_stop(id);
	check_pid(id, "ran", LOAD, expected(NOTIFY, 0, cpu), "taken");
	end(name);
}

static void try_many(const char *name, enum sender sender)
{
	int before = taken(0, sender), i;

	begin(name);
	for (i = 0; i < MESSAGES; i++) {
		send(0, sender);
		settle();
	}
	check("taken", taken(0, sender) - before, MESSAGES);
	check_pid(0, "running", LOAD, expected(NOTIFY, 0, 1), "");
	end(name);
}

static void try_twice(const char *name)
{
	int before = taken(0, IRQFD);

	begin(name);
	vcpu_stop(0);
	send(0, IRQFD);
	send(0, IRQFD);
	check_pid(0, "twice", POST, posted(expected(NOTIFY, 0, 1), IRQFD, true),
		  "pending");
	vcpu_go(0);
	settle();
	check("taken", taken(0, IRQFD) - before, 1);
	end(name);
}

static void try_assignment_in_user_space(const char *name)
{
	begin(name);
	vcpu_stop(0);
	start_assignment();
	settle();
	check_pid(0, "starts", "(unchanged)", expected(NOTIFY, 0, 1), "");
	vcpus[0].page->command = HALT;
	vcpu_go(0);
	settle();
	check_pid(0, "blocked", BLOCK, expected(WAKE_UP, 0, 1), "");
	ask_unit("end");
	settle();
	check_pid(0, "ends", "(unchanged)", expected(WAKE_UP, 0, 1), "");
	send(0, IRQFD);
	settle();
	check_pid(0, "blocked again", LOAD, expected(NOTIFY, 0, 1), "");
	end(name);
}

/* KVM wakes all vCPUs that are blocked when the first assignment starts. */
static void try_assignment_while_blocked(const char *name)
{
	begin(name);
	check_pid(0, "blocked", LOAD, expected(NOTIFY, 0, 1), "");
	start_assignment();
	settle();
	check_pid(0, "blocked again", BLOCK, expected(WAKE_UP, 0, 1), "");
	vcpus[0].page->command = SPIN;
	vm_signal(0, 0x30);
	settle();
	check_pid(0, "running", LOAD, expected(NOTIFY, 0, 1), "");
	end(name);
}

/*
 * The loss that commit c112b5f50232 ("KVM: x86: Recompute PID.ON when clearing
 * PID.SN") mended in 2019: the unit posts to a preempted vCPU, whose load does
 * not look at PIR. The next notification takes both vectors.
 */
static void try_loss(const char *name)
{
	const struct phase *preempted = phases;
	struct pid rest;
	char line[64];
	int before = taken(0, UNIT), late = taken(0, URGENT_UNIT);

	while (preempted->how != PREEMPT)
		preempted++;
	begin(name);
	sprintf(line, "forget %llx", (unsigned long long)pids[0]);
	ask_unit(line);
	enter(preempted);
	rest = expected(NOTIFY, 1, 1);
	check_pid(0, preempted->name, PUT, rest, "");
	send(0, UNIT);
	settle();
	check_pid(0, senders[UNIT].name, senders[UNIT].function,
		  posted(rest, UNIT, false), "pending");
	leave(preempted);
	check_pid(0, "runs again", LOAD,
		  posted(expected(NOTIFY, 0, 1), UNIT, false),
		  taken(0, UNIT) > before ? "taken" : "lost");
	check("taken", taken(0, UNIT) - before, 0);
	ask_unit("forget 0");
	send(0, URGENT_UNIT);
	settle();
	check_pid(0, senders[URGENT_UNIT].name, senders[URGENT_UNIT].function,
		  expected(NOTIFY, 0, 1),
		  taken(0, UNIT) > before ? "late" : "lost");
	check("taken late", taken(0, UNIT) - before, 1);
	check("second taken", taken(0, URGENT_UNIT) - late, 1);
	end(name);
}

static void try_phases(enum sender last, bool assigned)
{
	const struct phase *phase;
	enum sender sender;

	for (phase = phases; phase->name; phase++)
		for (sender = IRQFD; sender <= last; sender++)
			try_phase(phase, sender, assigned);
}

int main(void)
{
	pin(0, 0);
	kernel_open();
	vm_create();
	vcpu_create(0);
	pin(0, 1);
	vcpu_create(1);
	pin(0, 0);
	kernel_find_pids(pids);
	begin("created");
	check_pid(0, "on CPU 0", LOAD, expected(NOTIFY, 0, 0), "");
	check_pid(1, "on CPU 1", LOAD, expected(NOTIFY, 0, 1), "");
	end("created");
	vcpu_set_up(0);
	vcpu_set_up(1);
	irqfd = vm_irqfd(0, senders[IRQFD].vector);
	try_first_run("created, irqfd, KVM_SIGNAL_MSI", 0, IRQFD, SIGNAL_MSI, 1);
	vcpu_go(0);
	try_many("running, 20 messages of an irqfd", IRQFD);
	try_twice("in user space, a vector twice");
	try_phases(SIGNAL_MSI, false);
	unit = open("/proc/kvmirq-unit", O_WRONLY | O_CLOEXEC);
	if (unit < 0)
		fail("the module is not loaded");
	try_assignment_in_user_space("assignment starts in user space");
	try_assignment_while_blocked("assignment starts while blocked");
	/* On CPU 1, vCPU 0 would take the notification for its own. */
	try_first_run("created, unit, urgent unit, assigned", 1, UNIT,
		      URGENT_UNIT, 0);
	try_many("running, 20 messages of the unit, assigned", UNIT);
	try_phases(URGENT_UNIT, true);
	try_loss("preempted, unit, assigned, without the repair of 2019");
	ask_unit("end");
	printf("%d tests failed\n", failures);
	fflush(stdout);
	_exit(!!failures);
}
