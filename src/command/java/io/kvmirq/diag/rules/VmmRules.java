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
        rule("vmm.stopped", STATUS, one -> one.state() == 'T' && one.isNeeded()).with(VmThread::called)
            .fill(one -> one.pid()).first(),
        rule("vmm.stopped-by-tracer", STATUS, one -> one.state() == 't').with(VmThread::called, VmThread::tracer)
            .fill(one -> one.tracer()).first(),
        rule("vmm.ended", STATUS, one -> "ZXx".indexOf(one.state()) >= 0 && one.isNeeded())
            .with(VmThread::called, one -> one.isLeader() && one.host().threads(one.tid()).size() > 1
            ? ": threads of it have not ended" : "").first(),
        // One look proves nothing, because reading a page from a disk takes a moment.
        rule("vmm.uninterruptible", STATUS, one -> one.state() == 'D' && one.isNeeded())
            .with(VmThread::called, VmThread::place, one -> one.isLeader() ? "" : ": it takes no interrupt meanwhile")
            .fill(one -> one.path("proc/{thread}/stack")).first(),
        rule("vmm.far-memory", NEAR, VmThread::isFarFromMemory).with(VmThread::called, VmThread::allowed, VmThread::memory)
            .fill(one -> one.memory()).on("vCPUs", one -> one.vcpu().isPresent() && one.isOfOneNode()),
        // While it waits for a page that comes later, the kernel sleeps in S.
        rule("vmm.page-awaited", WCHAN, one -> WCHAN.in(one).contains("userfault")).with(VmThread::called, VmThread::place)
            .fill(one -> one.path("proc/{thread}/stack")).on("vCPUs", one -> one.vcpu().isPresent() && one.state() == 'S'),
        rule("vmm.swapped", STATUS, one -> one.swapped() > one.kibis("VmRSS") / 3)
            .with(one -> one.swapped() >> 10, VmThread::called).on("the process", VmThread::isLeader),
        rule("vmm.lockup", LOCKUP, one -> true).with(VmThread::called, one -> LOCKUP.in(one).ago(), one -> LOCKUP.in(one).text())
            .fill(one -> one.path("proc/{thread}/stack")).on("needed", VmThread::isNeeded),
        rule("vmm.split-locks", SPLIT, one -> true).with(VmThread::called, one -> SPLIT.in(one).ago(), one -> SPLIT.in(one).text())
            .on("needed", VmThread::isNeeded),
        rule("vmm.traced", STATUS, one -> "TtZXxD".indexOf(one.state()) < 0 && one.isTraced())
            .with(one -> one.pid(), VmThread::tracer).fill(one -> one.tracer()),
        rule("vmm.exits", STAT, one -> STAT.in(one).isExiting()).with(VmThread::called).fill(one -> one.pid())
            .first().on("needed", one -> one.isNeeded() && STAT.is(one, any -> true)));

    /** Threads and processes that serve the guest beside its vCPUs. */
    static final Table<VmThread> HELPER = new Table<>(
        rule("helper.stopped", STAT, one -> "TtZXx".indexOf(STAT.in(one).state()) >= 0)
            .with(VmThread::called, one -> STAT.in(one).state())
            .remedy(one -> STAT.in(one).state() == 'T' && !one.isOfKernel() ? Rows.remedy("@continue", one.pid())
            : Rows.remedy("@stack", one.path("proc/{thread}/stack"))).first().on("helpers", VmThread::isHelper),
        rule("helper.frozen", CGROUP, one -> !ControlGroups.thaw(one.host(), CGROUP.in(one)).isEmpty())
            .with(VmThread::called).remedies(one -> ControlGroups.thaw(one.host(), CGROUP.in(one)))
            .on("back ends", one -> one.kind() == VmThread.Kind.BACK_END && one.isLeader()),
        rule("helper.traced", STATUS, VmThread::isTraced).with(VmThread::called, VmThread::tracer).fill(one -> one.tracer())
            .on("back ends", one -> one.kind() == VmThread.Kind.BACK_END && STATUS.is(one, any -> true)),
        rule("helper.hangs", STAT, one -> STAT.in(one).state() == 'D').with(VmThread::called, VmThread::place)
            .fill(one -> one.path("proc/{thread}/stack")).first().on("helpers", VmThread::isHelper));

    static final Table<VmThread> ORDER = new Table<>(
        rule("vmm.behind", ABOVE, one -> true).and(STAT).with(VmThread::called, one -> STAT.in(one).cpu(), ABOVE::in)
            .remedy(VmmRules::pin),
        rule("helper.starved", TIMES, one -> STAT.is(one, ThreadStat::isRunnable) && one.waits()).and(STAT)
            .with(VmThread::called, VmThread::share).remedy(VmmRules::pin).on("helpers", VmThread::isHelper).otherwise(),
        rule("vmm.low", STAT, one -> STAT.in(one).isIdleClass() || STAT.in(one).nice() >= MANY_NICE)
            .with(VmThread::called, one -> STAT.in(one).isIdleClass() ? "the class SCHED_IDLE" : "nice "
            + STAT.in(one).nice())
            .fill(one -> (STAT.in(one).isIdleClass() ? "chrt -o -p 0 " : "renice 0 "), one -> one.tid())
            .on("needed", one -> STAT.is(one, any -> true) && (one.isNeeded() || one.isHelper())));

    static final Table<VmThread> HELPERS_ORDER = ORDER.about(Subject.HELPER);

    /** A device of which the guest has a part: the parent of an mdev or of a vDPA device. */
    static final Table<PciFunction> PARENT = new Table<>(
        rule("parent.asleep", PciFunction.POWER, PciFunction::isAsleep)
            .with(PciFunction::address, one -> PciFunction.POWER.in(one).state()).fill(PciFunction::address),
        rule("parent.gone", PciFunction.CONFIG, one -> one.config().isGone()).with(PciFunction::address).otherwise(),
        rule("parent.broken", DeviceRules.PARENT, one -> DeviceRules.PARENT.in(one).state() == Link.State.BROKEN)
            .with(PciFunction::address, one -> DeviceRules.PARENT.in(one).text())
            .remedies(VmmRules::ofHost).otherwise(),
        // A count since the boot is no doubt about now.
        rule("parent.doubtful", DeviceRules.PARENT, one -> DeviceRules.PARENT.in(one).state() == Link.State.DOUBTFUL
            && Severity.of(DeviceRules.PARENT.in(one)) != Severity.INFO)
            .with(PciFunction::address, one -> DeviceRules.PARENT.in(one).text())
            .remedies(VmmRules::ofHost).otherwise());

    /** A VMM keeps the descriptor of a vCPU that was unplugged, and ends its thread; the first vCPU stays. */
    static final Table<VmThread> GONE = new Table<>(
        rule("vmm.vcpu-gone", TASKS, one -> true).with(VmThread::called));

    static final Table<VmThread> UNPLUGGED = new Table<>(
        rule("vmm.vcpu-unplugged", TASKS, one -> true).with(VmThread::called));

    static final Table<VmThread> WAITS = new Table<>(
        rule("vmm.never-ran", MEASURED, VmThread::hasNeverRun).with(VmThread::called).and(TIMES),
        rule("vmm.not-balanced", TIMES, VmThread::isIsolated).with(VmThread::called, VmThread::allowed, VmThread::share)
            .remedy(VmmRules::pin).and(ISOLATED).on("several CPUs", one -> !one.isAlone() && one.waits()).otherwise(),
        rule("vmm.starved", NEIGHBOURS, one -> true).with(VmThread::called, VmThread::share, VmThread::allowed)
            .remedy(one -> one.onFree("@pin-all", one.pid()))
            .otherwise(),
        rule("vmm.kept-out", NEIGHBOUR, one -> TIMES.is(one, times -> times.ran() == 0))
            .with(VmThread::called, VmThread::allowed, NEIGHBOUR::in).remedy(VmmRules::pin).otherwise(),
        rule("vmm.displaced", NEIGHBOUR, one -> true)
            .with(VmThread::called, VmThread::allowed, VmThread::share, NEIGHBOUR::in).remedy(VmmRules::pin).otherwise(),
        rule("vmm.displaced-before", TIMES, one -> one.isPinned() && one.waits())
            .with(VmThread::called, VmThread::allowed, VmThread::share).remedy(VmmRules::pin).otherwise());

    static final Table<Vmm> VCPU = new Table<>(
        rule("vmm.vcpu-without-thread", THREAD, one -> !THREAD.in(one)).with(Vmm::id));

    static final Table<Vmm> PROCESS = new Table<>(
        rule("vmm.incoming", OUTSIDE, one -> one.given().isIncoming()),
        rule("vmm.no-its", OPTIONS, one -> !one.process().devices().isEmpty() && one.given().hasNoIts()),
        rule("vmm.vcpus-share-cpu", TOGETHER, one -> true)
            .with(one -> TOGETHER.in(one).get(0).called(), one -> TOGETHER.in(one).get(1).called(),
            one -> TOGETHER.in(one).get(1).allowed()).remedy(one -> pin(TOGETHER.in(one).get(1))),
        rule("vmm.disturbed", DISTURBED, one -> true)
            .with(one -> DISTURBED.in(one).vcpu().allowed(), one -> DISTURBED.in(one).vcpu().called(),
            one -> DISTURBED.in(one).row().irq().number(), one -> DISTURBED.in(one).row().handlers(),
            one -> DISTURBED.in(one).row().count())
            .counting(one -> String.valueOf(DISTURBED.in(one).row().irq().number()), one -> DISTURBED.in(one).row().count())
            .fill(one -> DISTURBED.in(one).row().irq().number()),
        rule("vmm.paused", OUTSIDE, one -> true).on("no migration", one -> !one.given().isIncoming()));

    static final Table<Vmm> NAMED = new Table<>(
        rule("vmm.device-missing", MISSING, one -> true).with(MISSING::in),
        rule("vmm.fewer-vcpus", OPTIONS, one -> one.given().smp() > one.process().vcpus().size())
            .with(one -> one.given().smp(), one -> one.process().vcpus().size()));

    static final Table<Vmm> SERVED = new Table<>(
        rule("backend.missing", UNSERVED, one -> true).with(UNSERVED::in));

    static final Table<Vmm> LIMIT = new Table<>(
        rule("vmm.files", LIMITS, one -> one.open() >= one.most()).with(Vmm::open, Vmm::most)
            .fill(one -> Math.max(MANY_FILES, 2L * one.most()), one -> one.name("process")));

    static final Table<VmThread> EXITING = new Table<>(
        rule("vmm.hangs-in-exit", STAT, one -> STAT.in(one).isExiting() && "DZ".indexOf(STAT.in(one).state()) >= 0)
            .with(one -> one.tid(), one -> STAT.in(one).name(), VmmRules::inExit).fill(one -> one.tid()),
        rule("vmm.in-exit", STAT, one -> STAT.in(one).isExiting())
            .with(one -> one.tid(), one -> STAT.in(one).name(), VmmRules::inExit).fill(one -> one.tid()).otherwise());
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
    private static List<Remedy> ofHost(PciFunction one) {
        return DeviceRules.PARENT.in(one).remedies().stream()
                .map(remedy -> remedy.change().shows() ? remedy : Rows.remedy("@host-driver"))
                .distinct()
                .toList();
    }

    private static Remedy pin(VmThread one) {
        return one.onFree("@pin", one.tid());
    }

    private static String inExit(VmThread one) {
        return STAT.in(one).state() == 'Z' ? "a zombie with threads that have not ended" : "in exit (PF_EXITING)";
    }
}
