/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;
import static io.kvmirq.diag.rules.VmThread.*;
import static io.kvmirq.diag.rules.Vmm.*;

import io.kvmirq.diag.Severity;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.path.Flaw.Subject;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.stream.Stream;

/** Rules for the VM's process, its threads and its helpers, which {@link VmmCheck} applies. */
public final class VmmRules {
    /** The default is 0; 10 leaves a tenth of a CPU beside a process of the default. */
    private static final long MANY_FILES = 65_536;

    private static final int MANY_NICE = 10;

    // spotless:off: tables
    static final Table<VmThread> STATE = new Table<>(
        rule("vmm.dumps-core", STATUS, VmThread::dumpsCore).with(VmThread::called).on("the process", VmThread::isLeader),
        rule("vmm.stopped", STATUS, thread -> thread.state() == 'T' && thread.isNeeded()).with(VmThread::called)
            .fill(thread -> thread.pid()).first(),
        rule("vmm.stopped-by-tracer", STATUS, thread -> thread.state() == 't').with(VmThread::called, VmThread::tracer)
            .fill(thread -> thread.tracer()).first(),
        rule("vmm.ended", STATUS, thread -> "ZXx".indexOf(thread.state()) >= 0 && thread.isNeeded())
            .with(VmThread::called, thread -> thread.isLeader() && thread.host().threads(thread.tid()).size() > 1
            ? ", but some of its threads have not" : thread.state() == 'Z' ? " and is a zombie" : "").first(),
        // One look proves nothing, because reading a page from a disk takes a moment.
        rule("vmm.uninterruptible", STATUS, thread -> thread.state() == 'D' && thread.isNeeded())
            .with(VmThread::called, VmThread::place, thread -> thread.isLeader() ? "" : ": it takes no interrupts meanwhile")
            .fill(thread -> thread.path("proc/{thread}/stack")).first(),
        rule("vmm.far-memory", NEAR, VmThread::isFarFromMemory).with(VmThread::called, VmThread::allowed, VmThread::memory)
            .fill(thread -> thread.memory()).on("vCPUs", thread -> thread.vcpu().isPresent() && thread.isOfOneNode()),
        // While it waits for a page that comes later, the kernel sleeps in S.
        rule("vmm.page-awaited", WCHAN, thread -> WCHAN.in(thread).contains("userfault")).with(VmThread::called, VmThread::place)
            .fill(thread -> thread.path("proc/{thread}/stack")).on("vCPUs", thread -> thread.vcpu().isPresent() && thread.state() == 'S'),
        rule("vmm.swapped", STATUS, thread -> thread.swapped() > thread.kibis("VmRSS") / 3)
            .with(thread -> thread.swapped() >> 10, VmThread::called).on("the process", VmThread::isLeader),
        rule("vmm.lockup", LOCKUP, thread -> true).with(VmThread::called, thread -> LOCKUP.in(thread).ago(), thread -> LOCKUP.in(thread).text())
            .fill(thread -> thread.path("proc/{thread}/stack")).on("needed", VmThread::isNeeded),
        rule("vmm.split-locks", SPLIT, thread -> true).with(VmThread::called, thread -> SPLIT.in(thread).ago(), thread -> SPLIT.in(thread).text())
            .on("needed", VmThread::isNeeded),
        rule("vmm.traced", STATUS, thread -> "TtZXxD".indexOf(thread.state()) < 0 && thread.isTraced())
            .with(thread -> thread.pid(), VmThread::tracer).fill(thread -> thread.tracer()),
        rule("vmm.exits", STAT, thread -> STAT.in(thread).isExiting()).with(VmThread::called).fill(thread -> thread.pid())
            .first().on("needed", thread -> thread.isNeeded() && STAT.is(thread, value -> true)));

    /** Threads and processes that serve the guest beside its vCPUs. */
    static final Table<VmThread> HELPER = new Table<>(
        rule("helper.stopped", STAT, thread -> "TtZXx".indexOf(STAT.in(thread).state()) >= 0)
            .with(VmThread::called, thread -> STAT.in(thread).state())
            .remedy(thread -> STAT.in(thread).state() == 'T' && !thread.isOfKernel() ? Rows.remedy("@continue", thread.pid())
            : Rows.remedy("@stack", thread.path("proc/{thread}/stack"))).first().on("helpers", VmThread::isHelper),
        rule("helper.frozen", CGROUP, thread -> !ControlGroups.thaw(thread.host(), CGROUP.in(thread)).isEmpty())
            .with(VmThread::called).remedies(thread -> ControlGroups.thaw(thread.host(), CGROUP.in(thread)))
            .on("back ends", thread -> thread.kind() == VmThread.Kind.BACK_END && thread.isLeader()),
        rule("helper.traced", STATUS, VmThread::isTraced).with(VmThread::called, VmThread::tracer).fill(thread -> thread.tracer())
            .on("back ends", thread -> thread.kind() == VmThread.Kind.BACK_END && STATUS.is(thread, value -> true)),
        rule("helper.hangs", STAT, thread -> STAT.in(thread).state() == 'D').with(VmThread::called, VmThread::place)
            .fill(thread -> thread.path("proc/{thread}/stack")).first().on("helpers", VmThread::isHelper));

    static final Table<VmThread> ORDER = new Table<>(
        rule("vmm.behind", ABOVE, thread -> true).and(STAT).with(VmThread::called, thread -> STAT.in(thread).cpu(), ABOVE::in)
            .remedy(VmmRules::pin),
        rule("helper.starved", TIMES, thread -> STAT.is(thread, ThreadStat::isRunnable) && thread.waits()).and(STAT)
            .with(VmThread::called, VmThread::share).remedy(VmmRules::pin).on("helpers", VmThread::isHelper).otherwise(),
        rule("vmm.low", STAT, thread -> STAT.in(thread).isIdleClass() || STAT.in(thread).nice() >= MANY_NICE)
            .with(VmThread::called, thread -> STAT.in(thread).isIdleClass() ? "the class SCHED_IDLE" : "nice "
            + STAT.in(thread).nice())
            .fill(thread -> (STAT.in(thread).isIdleClass() ? "chrt -o -p 0 " : "renice 0 "), thread -> thread.tid())
            .on("needed", thread -> STAT.is(thread, value -> true) && (thread.isNeeded() || thread.isHelper())));

    static final Table<VmThread> HELPERS_ORDER = ORDER.about(Subject.HELPER);

    /** A device of which the guest has a part: the parent of an mdev or of a vDPA device. */
    static final Table<PciFunction> PARENT = new Table<>(
        rule("parent.asleep", PciFunction.POWER, PciFunction::isAsleep)
            .with(PciFunction::address, function -> PciFunction.POWER.in(function).state()).fill(PciFunction::address),
        rule("parent.gone", PciFunction.CONFIG, function -> function.config().isGone()).with(PciFunction::address).otherwise(),
        rule("parent.broken", DeviceRules.PARENT, function -> DeviceRules.PARENT.in(function).state() == Link.State.BROKEN)
            .with(PciFunction::address, function -> DeviceRules.PARENT.in(function).text())
            .remedies(VmmRules::ofHost).otherwise(),
        // A count since the boot is no doubt about now.
        rule("parent.doubtful", DeviceRules.PARENT, function -> DeviceRules.PARENT.in(function).state() == Link.State.DOUBTFUL
            && Severity.of(DeviceRules.PARENT.in(function)) != Severity.INFO)
            .with(PciFunction::address, function -> DeviceRules.PARENT.in(function).text())
            .remedies(VmmRules::ofHost).otherwise());

    /** A VMM keeps the descriptor of a vCPU that was unplugged, and ends its thread; the first vCPU stays. */
    static final Table<VmThread> GONE = new Table<>(
        rule("vmm.vcpu-gone", TASKS, thread -> true).with(VmThread::called));

    static final Table<VmThread> UNPLUGGED = new Table<>(
        rule("vmm.vcpu-unplugged", TASKS, thread -> true).with(VmThread::called));

    static final Table<VmThread> WAITS = new Table<>(
        rule("vmm.never-ran", MEASURED, VmThread::hasNeverRun).with(VmThread::called).and(TIMES),
        rule("vmm.not-balanced", TIMES, VmThread::isIsolated).with(VmThread::called, VmThread::allowed, VmThread::share)
            .remedy(VmmRules::pin).and(ISOLATED).on("several CPUs", thread -> !thread.isAlone() && thread.waits()).otherwise(),
        rule("vmm.starved", NEIGHBOURS, thread -> true).with(VmThread::called, VmThread::share, VmThread::allowed)
            .remedy(thread -> thread.onFree("@pin-all", thread.pid()))
            .otherwise(),
        rule("vmm.kept-out", NEIGHBOUR, thread -> TIMES.is(thread, times -> times.ran() == 0))
            .with(VmThread::called, VmThread::allowed, NEIGHBOUR::in).remedy(VmmRules::pin).otherwise(),
        rule("vmm.displaced", NEIGHBOUR, thread -> true)
            .with(VmThread::called, VmThread::allowed, VmThread::share, NEIGHBOUR::in).remedy(VmmRules::pin).otherwise(),
        rule("vmm.displaced-before", TIMES, thread -> thread.isPinned() && thread.waits())
            .with(VmThread::called, VmThread::allowed, VmThread::share).remedy(VmmRules::pin).otherwise());

    static final Table<Vmm> VCPU = new Table<>(
        rule("vmm.vcpu-without-thread", THREAD, vmm -> !THREAD.in(vmm)).with(Vmm::id));

    static final Table<Vmm> PROCESS = new Table<>(
        rule("vmm.incoming", OUTSIDE, vmm -> vmm.given().isIncoming()),
        rule("vmm.no-its", OPTIONS, vmm -> !vmm.process().devices().isEmpty() && vmm.given().hasNoIts()),
        rule("vmm.vcpus-share-cpu", TOGETHER, vmm -> true)
            .with(vmm -> TOGETHER.in(vmm).get(0).called(), vmm -> TOGETHER.in(vmm).get(1).called(),
            vmm -> TOGETHER.in(vmm).get(1).allowed()).remedy(vmm -> pin(TOGETHER.in(vmm).get(1))),
        rule("vmm.disturbed", DISTURBED, vmm -> true)
            .with(vmm -> DISTURBED.in(vmm).vcpu().allowed(), vmm -> DISTURBED.in(vmm).vcpu().called(),
            vmm -> DISTURBED.in(vmm).row().irq().number(), vmm -> DISTURBED.in(vmm).row().handlers(),
            vmm -> DISTURBED.in(vmm).row().count())
            .counting(vmm -> String.valueOf(DISTURBED.in(vmm).row().irq().number()), vmm -> DISTURBED.in(vmm).row().count())
            .fill(vmm -> DISTURBED.in(vmm).row().irq().number()),
        rule("vmm.paused", OUTSIDE, vmm -> true).on("no migration", vmm -> !vmm.given().isIncoming()));

    static final Table<Vmm> NAMED = new Table<>(
        rule("vmm.device-missing", MISSING, vmm -> true).with(MISSING::in),
        rule("vmm.fewer-vcpus", OPTIONS, vmm -> vmm.given().smp() > vmm.process().vcpus().size())
            .with(vmm -> vmm.given().smp(), vmm -> vmm.process().vcpus().size()));

    static final Table<Vmm> SERVED = new Table<>(
        rule("backend.missing", UNSERVED, vmm -> true).with(UNSERVED::in));

    static final Table<Vmm> LIMIT = new Table<>(
        rule("vmm.files", LIMITS, vmm -> vmm.open() >= vmm.max()).with(Vmm::open, Vmm::max)
            .fill(vmm -> Math.max(MANY_FILES, 2L * vmm.max()), vmm -> vmm.name("process")));

    static final Table<VmThread> EXITING = new Table<>(
        rule("vmm.hangs-in-exit", STAT, thread -> STAT.in(thread).isExiting() && "DZ".indexOf(STAT.in(thread).state()) >= 0)
            .with(thread -> thread.tid(), thread -> STAT.in(thread).name(), VmmRules::inExit).fill(thread -> thread.tid()),
        rule("vmm.in-exit", STAT, thread -> STAT.in(thread).isExiting())
            .with(thread -> thread.tid(), thread -> STAT.in(thread).name(), VmmRules::inExit).fill(thread -> thread.tid()).otherwise());
    // spotless:on

    /** The rules of a process and its threads. */
    public static final List<Table<?>> TABLES = Stream.<List<? extends Table<?>>>of(
                    ControlGroups.TABLES,
                    List.of(STATE, HELPER, ORDER, GONE, UNPLUGGED, WAITS, EXITING),
                    List.of(PARENT),
                    List.of(VCPU, PROCESS, NAMED, SERVED, LIMIT))
            .<Table<?>>flatMap(List::stream)
            .toList();

    private VmmRules() {}

    /** The remedies of a device that the host's driver has: a driver of the guest, or its restart, changes nothing. */
    private static List<Remedy> ofHost(PciFunction function) {
        return DeviceRules.PARENT.in(function).remedies().stream()
                .map(remedy -> remedy.change().shows() ? remedy : Rows.remedy("@host-driver"))
                .distinct()
                .toList();
    }

    private static Remedy pin(VmThread thread) {
        return thread.onFree("@pin", thread.tid());
    }

    private static String inExit(VmThread thread) {
        return STAT.in(thread).state() == 'Z' ? "a zombie with threads that have not exited" : "exiting (PF_EXITING)";
    }
}
