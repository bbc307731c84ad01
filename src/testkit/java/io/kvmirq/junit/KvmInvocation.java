/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.lang.reflect.Executable;
import java.lang.reflect.Method;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.Extension;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.LifecycleMethodExecutionExceptionHandler;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;
import org.junit.jupiter.api.extension.TestExecutionExceptionHandler;
import org.junit.jupiter.api.extension.TestTemplateInvocationContext;
import org.opentest4j.AssertionFailedError;
import org.opentest4j.TestAbortedException;

/** One run of a test on one kernel. JUnit calls it in one thread at a time. */
final class KvmInvocation
        implements TestTemplateInvocationContext,
                ExecutionCondition,
                ParameterResolver,
                BeforeEachCallback,
                AfterEachCallback,
                TestExecutionExceptionHandler,
                LifecycleMethodExecutionExceptionHandler,
                InvocationInterceptor {
    private static final Namespace NAMESPACE = Namespace.create(KvmInvocation.class);

    private static final Map<Class<?>, Function<KvmHost, Object>> GIVEN = Map.of(
            KvmHost.class, host -> host,
            Kernel.class, KvmHost::kernel,
            Vm.class, KvmHost::vm,
            EventFd.class, KvmHost::eventFd,
            Faults.class, KvmHost::faults,
            FakeKernel.class, KvmHost::fake,
            FakePciDevice.class, KvmHost::device,
            VfioDevice.class, KvmHost::vfio);

    private static final int MOST_KNOWN = 16;
    private static final long SILENCE_MILLIS = 10_000;
    private static final String SILENCE_SECONDS = "kvmirq.silence.seconds";

    /** The call that fails in this run, and its number among the calls of the first run, from 1. */
    record Turn(int number, TurnCalls.Call call) {}

    private final Settings settings;
    private final Target target;
    private final Optional<Turn> turn;
    private final Faults faults = new Faults();
    private final TurnCalls calls;
    private @Nullable KvmHost host;
    private long silenceMillis = SILENCE_MILLIS;
    /** Whether the run was interrupted. */
    private boolean silenced;
    /** Whether the call that failed has ended the set-up. */
    private boolean setUpEnded;

    private @Nullable List<Turn> turns;

    KvmInvocation(Settings settings, Target target, Optional<Turn> turn) {
        this.settings = settings;
        this.target = target;
        this.turn = turn;
        settings.faults().forEach(fault -> fault.addTo(faults));
        calls = new TurnCalls(turn.map(Turn::call));
        settings.everyCall().ifPresent(errno -> faults.failIf(calls, errno));
    }

    private Errno errno() {
        return settings.everyCall().orElseThrow();
    }

    static boolean gives(Class<?> type) {
        return GIVEN.containsKey(type) || type == Vcpu.class;
    }

    /** The run's calls for which Linux can return the errno. Empty if the run failed or was disabled. */
    List<Turn> turns() {
        if (turns == null) {
            throw new Mistake(
                    Optional.of(settings.test()),
                    "@EveryCallInTurn records the calls in the first run, which has not ended: run the method in one"
                            + " thread");
        }
        return turns;
    }

    @Override
    public String getDisplayName(int index) {
        return "["
                + target.name()
                + turn.map(now -> ", call " + now.number() + ": " + now.call() + " fails with " + errno())
                        .orElse("")
                + "]";
    }

    @Override
    public List<Extension> getAdditionalExtensions() {
        return List.of(this);
    }

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
        Optional<String> reason = target.disabled();
        if (reason.isPresent()) {
            turns = List.of();
            return ConditionEvaluationResult.disabled(reason.get());
        }
        return ConditionEvaluationResult.enabled("");
    }

    // Parameters

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        Class<?> type = parameter.getParameter().getType();
        return type == Actors.class || gives(type);
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
        if (parameter.getParameter().getType() == Actors.class) {
            throw new Mistake(
                    Optional.of(settings.test()),
                    "a parameter Actors is passed to a method with @Interleavings instead of @KvmTest");
        }
        return given(host(context), parameter);
    }

    static Object given(KvmHost from, ParameterContext parameter) {
        Class<?> type = parameter.getParameter().getType();
        if (type == Vcpu.class) {
            return from.handle(vcpusBefore(parameter.getDeclaringExecutable(), parameter.getIndex()));
        }
        return Objects.requireNonNull(GIVEN.get(type)).apply(from);
    }

    private static int vcpusBefore(Executable method, int index) {
        return (int) Arrays.stream(method.getParameters(), 0, index)
                .map(Parameter::getType)
                .filter(Vcpu.class::equals)
                .count();
    }

    private KvmHost host(ExtensionContext context) {
        if (host == null) {
            KvmHost opened = target.open(faults, settings.plan());
            host = opened;
            // Closes the objects if JUnit never calls afterEach.
            context.getStore(NAMESPACE).put(this, (AutoCloseable) opened::end);
        }
        return host;
    }

    // The run

    /** Opens the kernel, so that a test that requires KVM also fails if it has no parameters of the kit. */
    @Override
    public void beforeEach(ExtensionContext context) {
        host(context);
        silenceMillis = context.getConfigurationParameter(SILENCE_SECONDS, seconds -> Long.parseLong(seconds) * 1000)
                .orElse(SILENCE_MILLIS);
    }

    @Override
    public void handleTestExecutionException(ExtensionContext context, Throwable thrown) throws Throwable {
        rethrow(thrown);
    }

    @Override
    public void handleBeforeEachMethodExecutionException(ExtensionContext context, Throwable thrown) throws Throwable {
        rethrow(thrown);
        setUpEnded = true;
    }

    @Override
    public void interceptBeforeEachMethod(
            Invocation<Void> invocation, ReflectiveInvocationContext<Method> method, ExtensionContext context)
            throws Throwable {
        proceedUnlessEnded(invocation);
    }

    @Override
    public void interceptTestTemplateMethod(
            Invocation<Void> invocation, ReflectiveInvocationContext<Method> method, ExtensionContext context)
            throws Throwable {
        proceedUnlessEnded(invocation);
    }

    /** Skips the rest of a test whose set-up a fault has ended, because it would fail for another reason. */
    private void proceedUnlessEnded(Invocation<Void> invocation) throws Throwable {
        if (setUpEnded) {
            invocation.skip();
        } else if (turn.isEmpty()) {
            Objects.requireNonNull(host).seam().watch(invocation);
        } else {
            proceedUnlessSilent(invocation, Objects.requireNonNull(host));
        }
    }

    private void proceedUnlessSilent(Invocation<Void> invocation, KvmHost on) throws Throwable {
        Silence silence = new Silence(
                getDisplayName(0), silenceMillis, () -> faults.calls().size(), on::kickAll);
        try (silence) {
            on.seam().watch(invocation);
        } catch (Throwable thrown) {
            silence.close();
            silenced = silence.found().isPresent();
            throw silenced ? silent(silence.found().get(), thrown) : thrown;
        }
        silenced = silence.found().isPresent();
        if (silenced) {
            throw silent(silence.found().get(), null);
        }
    }

    private static AssertionFailedError silent(String found, @Nullable Throwable thrown) {
        AssertionFailedError error = new AssertionFailedError(found, thrown);
        if (thrown != null) {
            error.setStackTrace(thrown.getStackTrace());
        }
        return error;
    }

    @Override
    public void handleAfterEachMethodExecutionException(ExtensionContext context, Throwable thrown) throws Throwable {
        rethrow(thrown);
    }

    /** Accepts an exception with the failing call's errno, which may end the test. */
    private void rethrow(Throwable thrown) throws Throwable {
        for (Throwable cause = thrown; calls.hasFailed() && !silenced && cause != null; cause = cause.getCause()) {
            if (cause instanceof KernelException failure && failure.errno().equals(errno())) {
                return;
            }
        }
        throw !calls.hasFailed() || thrown instanceof TestAbortedException ? thrown : named(thrown);
    }

    /** Adds the failed call to a failure, and keeps the expected and the actual value for tools. */
    private Throwable named(Throwable thrown) {
        String text = inTurn() + (thrown instanceof AssertionError ? thrown.getMessage() : thrown);
        AssertionFailedError named = thrown instanceof AssertionFailedError failed && failed.isExpectedDefined()
                ? new AssertionFailedError(text, failed.getExpected(), failed.getActual(), thrown)
                : new AssertionFailedError(text, thrown);
        named.setStackTrace(thrown.getStackTrace());
        return named;
    }

    @Override
    public void afterEach(ExtensionContext context) {
        if (host == null) {
            turns = List.of(); // beforeEach has thrown the reason
            return;
        }
        boolean failed = context.getExecutionException().isPresent();
        Stream<String> known =
                failed ? unnamed(host, context.getExecutionException().get()) : Stream.of();
        List<String> said = new ArrayList<>(known.toList());
        said.addAll(host.end());
        if (!failed) {
            sayUnused(said);
        }
        turns = failed || !said.isEmpty() ? List.of() : possible();
        if (!said.isEmpty()) {
            AssertionFailedError error = new AssertionFailedError(inTurn() + String.join("\n", said));
            error.setStackTrace(new StackTraceElement[] {
                new StackTraceElement(
                        settings.test().getDeclaringClass().getName(),
                        settings.test().getName(),
                        null,
                        -1)
            });
            throw error;
        }
        if (!failed && turn.isPresent() && !calls.hasFailed()) {
            throw new TestAbortedException(getDisplayName(0)
                    + " did not occur: the threads of this run made other calls than in the first run");
        }
    }

    /** Interrupts that the failure does not name. Empty if the test was aborted or the kernel cannot be queried. */
    private static Stream<String> unnamed(KvmHost host, Throwable thrown) {
        try {
            return (thrown instanceof TestAbortedException ? Stream.<String>of() : host.known())
                    .filter(line -> !String.valueOf(thrown.getMessage()).contains(line.replaceFirst(".*?: ", "")))
                    .limit(MOST_KNOWN);
        } catch (RuntimeException e) {
            return Stream.of();
        }
    }

    private List<Turn> possible() {
        List<Turn> possible = new ArrayList<>();
        List<TurnCalls.Call> all = calls.calls();
        for (int i = 0; i < all.size(); i++) {
            Set<Errno> errnos = Faults.errnos(all.get(i).name());
            if (errnos.isEmpty() || errnos.contains(errno())) {
                possible.add(new Turn(i + 1, all.get(i)));
            }
        }
        return possible;
    }

    /** The run's name if its call has failed, because Maven's console prints only its number. */
    private String inTurn() {
        return calls.hasFailed() ? getDisplayName(0) + " " : "";
    }

    private void sayUnused(List<String> said) {
        if (settings.everyCall().isPresent() && turn.isEmpty() && possible().isEmpty()) {
            String names =
                    calls.calls().stream().map(TurnCalls.Call::name).distinct().collect(Collectors.joining(", "));
            said.add(
                    names.isEmpty()
                            ? "@EveryCallInTurn: the test made no kernel call, so none can fail"
                            : "@EveryCallInTurn: Linux returns " + errno() + " for none of the test's calls: " + names);
        }
        List<String> unused = faults.unused();
        for (Settings.Failing fault : settings.faults()) {
            if (unused.contains(fault.call() + " " + fault.nth())) {
                said.add("the fault of " + fault.call() + " " + fault.nth() + " did not occur: the test made "
                        + faults.count(fault.call()) + " such calls");
            }
        }
    }
}
