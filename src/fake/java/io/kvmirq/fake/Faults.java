/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * A proxy that makes chosen calls of a {@link Libc} or a backend fail, on the fake or a real kernel. Thread-safe.
 *
 * <p>A rule names a call, which is a function ({@code eventfd}, {@code mmap}), an ioctl's request ({@code KVM_IRQFD}),
 * or a method of {@link KernelBackend}, by the method's name ({@code irqfdAssign}) or the name of its kernel call.
 * {@link #ANY} names all calls that can fail. Each rule counts the calls with its name, starting at 1 when it is added.
 * A failed call does not reach the kernel, except that a releasing call ({@code close}, {@code munmap}, {@code
 * mapZeros}) does its work, because Linux closes a file even if close returns EINTR.
 *
 * <pre>{@code
 * Faults faults = new Faults().fail("KVM_CREATE_VCPU", 2, Errno.ENOMEM).failEvery("ppoll", Errno.EINTR);
 * Kernel kernel = Kernel.over(faults.over(backend));
 * ...
 * assert faults.unused().isEmpty();
 * }</pre>
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="faults"}
 */
public final class Faults {
    /** The name that matches all calls that can fail. */
    public static final String ANY = FaultNames.ANY;

    private static final int EVERY_CALL = 0;
    private static final Set<String> TAKE_DOWN = Set.of("close", "fdClose", "munmap", "mapZeros");

    private final List<Fault> rules = new ArrayList<>();
    private final List<Call> calls = new ArrayList<>();
    private boolean listening;

    /** A call of a function of the binding, and the name of its kernel call. */
    private record Call(String function, String name) {
        boolean canFail() {
            return FaultNames.canFail(name);
        }

        /** Whether a rule with this name applies to the call. */
        boolean isNamed(String rule) {
            return rule.equals(ANY) && canFail()
                    || rule.equals(function)
                    || rule.equals(name)
                    || FaultNames.ofKernel(function).contains(rule);
        }
    }

    /** A rule about the nth call with a name, or about every call with it. */
    private static final class Fault {
        private final String call;
        private final Predicate<Call> named;
        private final int nth;
        private final long answer;
        private final Optional<Runnable> before;
        private int seen;
        private boolean used;

        Fault(String call, Predicate<Call> named, int nth, long answer, Optional<Runnable> before) {
            this.call = call;
            this.named = named;
            this.nth = nth;
            this.answer = answer;
            this.before = before;
        }

        boolean applies(Call to) {
            if (!named.test(to)) {
                return false;
            }
            seen++;
            boolean applies = nth == EVERY_CALL || seen == nth;
            used |= applies;
            return applies;
        }

        @Override
        public String toString() {
            return nth == EVERY_CALL ? call : call + " " + nth;
        }
    }

    private synchronized Faults add(String call, int nth, long answer, Optional<Runnable> before) {
        FaultNames.require(call);
        rules.add(new Fault(call, to -> to.isNamed(call), nth, answer, before));
        return this;
    }

    private static int requireNth(int nth) {
        if (nth < 1) {
            throw new IllegalArgumentException("call " + nth + " is out of range: the first is 1");
        }
        return nth;
    }

    private static void requireCanFail(String call) {
        if (!FaultNames.canFail(call)) {
            throw new IllegalArgumentException(call + " never fails in Linux: name another call, or delay this one");
        }
    }

    /**
     * Makes the nth call with this name fail.
     *
     * @throws IllegalArgumentException if no call has the name (the message lists similar names), or if the call cannot
     *     fail, such as {@code getpid}
     */
    public Faults fail(String call, int nth, Errno errno) {
        Objects.requireNonNull(call, "call is null");
        requireCanFail(call);
        return add(call, requireNth(nth), -errno.number(), Optional.empty());
    }

    /** Makes every call with this name fail. Throws like {@link #fail}. */
    public Faults failEvery(String call, Errno errno) {
        Objects.requireNonNull(call, "call is null");
        Objects.requireNonNull(errno, "errno is null");
        requireCanFail(call);
        return add(call, EVERY_CALL, -errno.number(), Optional.empty());
    }

    /**
     * Makes each call fail for which {@code chosen} is true. The predicate gets the call's name, as in {@link #calls},
     * and runs in the calling thread. It is evaluated once for each call that can fail, by one thread at a time, and
     * must not wait.
     */
    public synchronized Faults failIf(Predicate<String> chosen, Errno errno) {
        Objects.requireNonNull(chosen, "chosen is null");
        Objects.requireNonNull(errno, "errno is null");
        Predicate<Call> named = call -> call.canFail() && chosen.test(call.name());
        rules.add(new Fault("chosen", named, EVERY_CALL, -errno.number(), Optional.empty()));
        return this;
    }

    /**
     * Returns the errnos that Linux can return from the call with this name, ordered by name. Empty if the errnos are
     * not known, or if the name matches several requests, as {@code ioctl} does. Throws like {@link #fail}.
     */
    public static Set<Errno> errnos(String call) {
        Objects.requireNonNull(call, "call is null");
        FaultNames.require(call);
        return FaultNames.errnos(call);
    }

    /** Makes the nth call with this name transfer nothing and return {@code count}, like a short read or write. */
    public Faults shorten(String call, int nth, int count) {
        return add(call, requireNth(nth), count, Optional.empty());
    }

    /** Runs an action, which may wait for another thread, before the nth call with this name. */
    public Faults delay(String call, int nth, Runnable before) {
        return add(call, requireNth(nth), 0, Optional.of(before));
    }

    /** Returns the rules that no call has matched yet, such as {@code KVM_IRQFD 2} if only one such call was made. */
    public synchronized List<String> unused() {
        return rules.stream().filter(rule -> !rule.used).map(Fault::toString).toList();
    }

    /** Removes all rules. */
    public synchronized void clear() {
        rules.clear();
    }

    /** Starts to record calls for {@link #calls}. */
    public synchronized void listen() {
        calls.clear();
        listening = true;
    }

    /** Returns the names of the calls since {@link #listen} that can fail. An ioctl has its request's name. */
    public synchronized List<String> calls() {
        return calls.stream().filter(Call::canFail).map(Call::name).toList();
    }

    /**
     * Returns the number of calls with this name since {@link #listen}, including failed calls. Throws like {@link
     * #fail}.
     */
    public synchronized int count(String call) {
        Objects.requireNonNull(call, "call is null");
        FaultNames.require(call);
        return (int) calls.stream().filter(made -> made.isNamed(call)).count();
    }

    private synchronized Optional<Fault> next(String function, String name) {
        Call call = new Call(function, name);
        if (listening) {
            calls.add(call);
        }
        Optional<Fault> found = Optional.empty();
        for (Fault rule : rules) {
            // Every rule counts the call, even if another rule has failed it.
            if (rule.applies(call) && found.isEmpty()) {
                found = Optional.of(rule);
            }
        }
        return found;
    }

    /** Returns a proxy of {@code libc} whose system calls fail according to the rules. */
    public Libc over(Libc libc) {
        Objects.requireNonNull(libc, "libc is null");
        return (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(),
                new Class<?>[] {Libc.class},
                (proxy, method, arguments) -> call(proxy, libc, method, arguments));
    }

    /** Returns a proxy of {@code backend} whose typed methods and raw system calls fail according to the rules. */
    public KernelBackend over(KernelBackend backend) {
        Objects.requireNonNull(backend, "backend is null");
        Libc door = over(backend.libc());
        return (KernelBackend) Proxy.newProxyInstance(
                KernelBackend.class.getClassLoader(),
                new Class<?>[] {KernelBackend.class},
                (proxy, method, arguments) -> {
                    if (method.isDefault()) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments); // calls may fail
                    }
                    return method.getName().equals("libc") ? door : call(proxy, backend, method, arguments);
                });
    }

    private @Nullable Object call(Object proxy, Object target, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        if (method.getName().equals("hashCode")) {
            return System.identityHashCode(proxy);
        }
        if (method.getName().equals("equals") && arguments != null) {
            return proxy == arguments[0];
        }
        Class<?> type = method.getReturnType();
        boolean answers = FaultNames.answers(method);
        Optional<Fault> rule =
                answers ? next(method.getName(), FaultNames.ofCall(method.getName(), arguments)) : Optional.empty();
        if (rule.isEmpty()) {
            return invoke(target, method, arguments);
        }
        if (rule.get().before.isPresent()) {
            rule.get().before.get().run();
            return invoke(target, method, arguments);
        }
        if (TAKE_DOWN.contains(method.getName())) {
            invoke(target, method, arguments);
        }
        return type == int.class ? (Object) (int) rule.get().answer : (Object) rule.get().answer;
    }

    static @Nullable Object invoke(Object target, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
    }
}
