/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.testing.Choices;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * What every call of a fake kernel promises: it answers with a number or is not modelled, it takes less than a second,
 * and one that is refused changes nothing, except what Linux changes too.
 */
final class CallJudge {
    static final int NOT_MODELLED = -100_000;

    private static final long SLOWEST = TimeUnit.SECONDS.toNanos(1);
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final int LAST_ERRNO = 4095;
    private static final int REMEMBERED = 12;

    /**
     * A refusal before which Linux has done a part.
     *
     * @param call a part of its name
     * @param fields of our classes: what it may have changed
     */
    private record Partial(String call, Set<String> errnos, Set<String> fields) {}

    /** A rate of more than 2^31 kHz is a negative answer ({@code SetupContract}). */
    private static final String UNSIGNED = " KVM_GET_TSC_KHZ,";

    private static final List<Partial> PARTIAL = List.of(
            // The duplicate id is noticed after the map of the LAPICs was made anew, which asks vCPUs for a scan.
            new Partial(" KVM_CREATE_VCPU,", Set.of("EEXIST"), Set.of("FakeLapics.map", "EoiExitBitmap.scanWanted")),
            // On 6.1 the features before the unknown one are kept (ARM_VCPU_FEATURES_KEPT).
            new Partial(" KVM_ARM_VCPU_INIT,", Set.of("ENOENT"), Set.of("ArmVcpu.features")),
            // The count is taken before it is copied.
            new Partial("read(", Set.of("EFAULT"), Set.of("EventFile.count")),
            new Partial("preadv2(", Set.of("EFAULT"), Set.of("EventFile.count")),
            // The call loads the vCPU, which moves its IRTEs to the processor and takes what was posted (vcpu_load()).
            new Partial(
                    " KVM_GET_LAPIC,",
                    Set.of("EFAULT"),
                    Set.of("OfArray.words", "PostingMachine.loaded", "FakeLapic.shown")),
            // The rate is kept before the kernel sees that the processor cannot have it (kvm_set_tsc_khz()).
            new Partial(" KVM_SET_TSC_KHZ,", Set.of("EINVAL"), Set.of("TimeStampCounter.rate")),
            // Flags are looked at where they are used: what comes before the SMM and the triple fault stays.
            new Partial(
                    " KVM_SET_VCPU_EVENTS,",
                    Set.of("EINVAL"),
                    Set.of(
                            "VcpuEvents.nmisSent",
                            "VcpuEvents.nmisPending",
                            "VcpuEvents.inNmi",
                            "VcpuEvents.init",
                            "VcpuEvents.startupVector",
                            "VcpuEvents.management",
                            "VcpuEvents.injected",
                            "VcpuEvents.hasPayload",
                            "VcpuEvents.payload",
                            "VcpuEvents.nmiInjected")),
            // CR8 comes from kvm_run, and is left there with the base of the LAPIC (RUN_SAVES). A read of the guest is
            // completed
            // (VCPU_READ_WAITS).
            new Partial(
                    " KVM_RUN,",
                    Set.of("EINTR", "EINVAL"),
                    Set.of(
                            "VcpuFile.shared",
                            "FakeCpu.shared",
                            "RunPage.page",
                            "FakeCpu.priority",
                            "Accesses.reads",
                            "ArmVcpu.hasRun",
                            "GeneralRegisters.ip",
                            "GeneralRegisters.values")));

    private final String kernelName;
    private final FakeKernel kernel;
    private final Choices random;
    private final int digests;
    private final Map<String, Integer> counts;
    private final StateDigest digest = new StateDigest();
    private final List<String> last = new ArrayList<>();
    private String flaw = "";

    /**
     * @param digests the state is compared around one of so many calls
     * @param counts by errno or kind of answer
     */
    CallJudge(String kernelName, FakeKernel kernel, Choices random, int digests, Map<String, Integer> counts) {
        this.kernelName = kernelName;
        this.kernel = kernel;
        this.random = random;
        this.digests = digests;
        this.counts = counts;
    }

    /**
     * Makes a call. Returns its answer, or {@link #NOT_MODELLED}.
     *
     * @throws AssertionError if it breaks a promise
     */
    long check(String call, LongSupplier made) {
        last.add(call);
        if (last.size() > REMEMBERED) {
            last.remove(0);
        }
        if (random.nextInt(digests) != 0) {
            return answer(call, made);
        }
        long all = digest.of(kernel, Set.of());
        Partial partial = PARTIAL.stream()
                .filter(known -> call.contains(known.call()))
                .findFirst()
                .orElse(null);
        long max = partial == null ? 0 : digest.of(kernel, partial.fields());
        long result = answer(call, made);
        String errno = name(result);
        if (!errno.equals("ok")) {
            boolean same = partial != null && partial.errnos().contains(errno)
                    ? digest.of(kernel, partial.fields()) == max
                    : digest.of(kernel, Set.of()) == all;
            if (!same) {
                throw new AssertionError(report(call + " answered " + errno + " and changed the state"));
            }
        }
        return result;
    }

    private long answer(String call, LongSupplier made) {
        long start = System.nanoTime();
        long cpuStart = THREADS.getCurrentThreadCpuTime();
        long result;
        try {
            result = made.getAsLong();
        } catch (NotModelledException e) {
            result = NOT_MODELLED;
        } catch (RuntimeException | Error e) {
            throw new AssertionError(report(call + " ended in " + e), e);
        }
        if (result < -LAST_ERRNO && result != NOT_MODELLED && !call.contains(UNSIGNED)) {
            throw new AssertionError(report(call + " answered " + result));
        }
        counts.merge(name(result), 1, Integer::sum);
        List<String> broken = kernel.messages().brokenRules();
        if (!broken.isEmpty()) {
            throw new AssertionError(report(call + " broke a rule of the ledger: " + broken));
        }
        // On a busy machine the clock alone says little.
        if (System.nanoTime() - start > SLOWEST && THREADS.getCurrentThreadCpuTime() - cpuStart > SLOWEST / 2) {
            long taken = System.nanoTime() - start;
            throw new AssertionError(report(call + " took " + TimeUnit.NANOSECONDS.toMillis(taken) + " ms"));
        }
        return result;
    }

    private static String name(long result) {
        return result >= 0 || result < -LAST_ERRNO && result != NOT_MODELLED
                ? "ok"
                : result == NOT_MODELLED ? "not modelled" : new Errno((int) -result).toString();
    }

    /** The promise that was broken, without numbers; empty for none. */
    String flaw() {
        return flaw;
    }

    private String report(String broken) {
        flaw = broken.replaceAll("-?[0-9]{2,}|\\([0-9]+", "");
        return kernelName + ": " + broken + "; before it: " + last;
    }
}
