/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.Faults;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ForkJoinWorkerThread;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.extension.InvocationInterceptor.Invocation;

/**
 * A proxy between a kernel and its binding. The test's calls can be made to fail, and their irqfds, routes and threads
 * are recorded. The kit's calls bypass the faults and are not recorded. Thread-safe.
 */
final class RecordingBackend {
    /** An ioeventfd that is assigned in KVM, with the operands of its call. */
    private record Doorbell(int vm, int event, List<Object> operands) {
        /** An I/O port or a guest-physical address. */
        String address() {
            return "0x" + Long.toHexString((Long) operands.get(0));
        }
    }

    /** An irqfd that is assigned in KVM. */
    private record Irqfd(int vm, int event, int gsi) {}

    /** A class loader that marks the test's threads. Its parent loads the classes. */
    private static final class Mark extends ClassLoader {
        Mark(ClassLoader parent) {
            super(parent);
        }
    }

    /** Room for threads that start while threads are being listed. */
    private static final int MORE_THREADS = 16;

    private final KernelBackend backend;
    private final Set<ClassLoader> marks = ConcurrentHashMap.newKeySet();
    private final ThreadLocal<Boolean> ofKit = ThreadLocal.withInitial(() -> false);
    /** Threads with a smaller id were created before this proxy. */
    private final long firstThread = new Thread().getId();
    /** Threads of the test that called the kernel, each with the line of its first call. */
    private final Map<Thread, String> threads = new ConcurrentHashMap<>();

    /** Called with the number of an eventfd before the test signals it. */
    private volatile @Nullable IntConsumer onSignal;

    // Guarded by this
    private final Map<Irqfd, String> irqfds = new LinkedHashMap<>();
    private final Map<Doorbell, String> doorbells = new LinkedHashMap<>();
    /** The line that first routed a GSI, keyed by VM, then GSI. */
    private final Map<Integer, Map<Integer, String>> routes = new HashMap<>();
    /** Signals of irqfds whose GSI had no route. */
    private final List<String> unrouted = new ArrayList<>();

    RecordingBackend(KernelBackend plain, Faults faults) {
        KernelBackend faulty = faults.over(plain);
        Libc door = over(Libc.class, plain.libc(), faulty.libc());
        this.backend = (KernelBackend) Proxy.newProxyInstance(
                KernelBackend.class.getClassLoader(),
                new Class<?>[] {KernelBackend.class},
                (proxy, method, arguments) -> {
                    if (method.isDefault()) {
                        return InvocationHandler.invokeDefault(proxy, method, arguments); // whose calls are recorded
                    }
                    return method.getName().equals("libc") ? door : call(proxy, plain, faulty, method, arguments);
                });
    }

    private <T> T over(Class<T> type, T plain, T faulty) {
        return type.cast(Proxy.newProxyInstance(
                type.getClassLoader(),
                new Class<?>[] {type},
                (proxy, method, arguments) -> call(proxy, plain, faulty, method, arguments)));
    }

    KernelBackend backend() {
        return backend;
    }

    /** Runs code of the kit, whose calls neither fail nor count. */
    <T> T aside(Supplier<T> part) {
        boolean before = ofKit.get();
        ofKit.set(true);
        try {
            return part.get();
        } finally {
            ofKit.set(before);
        }
    }

    void aside(Runnable part) {
        aside(() -> {
            part.run();
            return true;
        });
    }

    private @Nullable Object call(
            Object proxy, Object plain, Object faulty, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        if (method.getDeclaringClass() == Object.class) {
            return switch (method.getName()) {
                case "hashCode" -> System.identityHashCode(proxy);
                case "equals" -> arguments != null && proxy == arguments[0];
                default -> plain.toString();
            };
        }
        if (ofKit.get()) {
            return invoke(plain, method, arguments);
        }
        Thread thread = Thread.currentThread();
        if (thread.getId() > firstThread && !threads.containsKey(thread)) {
            threads.put(thread, TestLine.here());
        }
        if (method.getName().equals("fdClose") && arguments != null) {
            closed(number(arguments[0])); // forget the number before another file gets it
        }
        if (arguments != null && method.getName().equals("eventfdSignal")) {
            signalled(number(arguments[0]));
            @Nullable IntConsumer listener = onSignal;
            if (listener != null) {
                listener.accept(number(arguments[0]));
            }
        }
        @Nullable Object result = invoke(faulty, method, arguments);
        if (arguments != null && result instanceof Integer number && number >= 0) {
            note(method.getName(), arguments);
        }
        return result;
    }

    private static @Nullable Object invoke(Object target, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
    }

    private void note(String call, @Nullable Object[] arguments) {
        switch (call) {
            case "irqfdAssign" -> assigned(irqfd(arguments, 2));
            case "irqfdAssignLevel" -> assigned(irqfd(arguments, 3));
            case "irqfdDeassign" -> deassigned(irqfd(arguments, 2));
            case "ioeventfdAssign" -> rung(doorbell(arguments));
            case "ioeventfdDeassign" -> silenced(doorbell(arguments));
            case "routesSet" -> routed(number(arguments[0]), (ByteBuffer) arguments[1], number(arguments[2]));
            default -> {}
        }
    }

    private static int number(@Nullable Object argument) {
        return argument instanceof Integer number ? number : -1;
    }

    private static Irqfd irqfd(@Nullable Object[] arguments, int gsi) {
        return new Irqfd(number(arguments[0]), number(arguments[1]), number(arguments[gsi]));
    }

    private static Doorbell doorbell(@Nullable Object[] arguments) {
        return new Doorbell(
                number(arguments[0]),
                number(arguments[1]),
                Arrays.stream(arguments, 2, arguments.length)
                        .map(Objects::requireNonNull)
                        .toList());
    }

    private synchronized void rung(Doorbell doorbell) {
        doorbells.put(doorbell, TestLine.here());
    }

    private synchronized void silenced(Doorbell doorbell) {
        doorbells.remove(doorbell);
    }

    private synchronized void assigned(Irqfd irqfd) {
        irqfds.put(irqfd, TestLine.here());
    }

    private synchronized void deassigned(Irqfd irqfd) {
        irqfds.remove(irqfd);
    }

    private synchronized void closed(int fd) {
        irqfds.keySet().removeIf(irqfd -> irqfd.vm() == fd || irqfd.event() == fd);
        doorbells.keySet().removeIf(doorbell -> doorbell.vm() == fd);
        routes.remove(fd);
    }

    private synchronized void routed(int vm, ByteBuffer table, int count) {
        Set<Integer> now = new HashSet<>();
        for (int i = 0; i < count; i++) {
            now.add(table.getInt(i * KernelBackend.ROUTE_SIZE + KernelBackend.ROUTE_GSI));
        }
        Map<Integer, String> lines = routes.computeIfAbsent(vm, key -> new TreeMap<>());
        lines.keySet().retainAll(now);
        for (int gsi : now) {
            if (!lines.containsKey(gsi)) {
                lines.put(gsi, TestLine.here());
            }
        }
    }

    private synchronized void signalled(int event) {
        irqfds.keySet().stream()
                .filter(irqfd -> irqfd.event() == event && routes.containsKey(irqfd.vm()))
                .filter(irqfd -> !routes.getOrDefault(irqfd.vm(), Map.of()).containsKey(irqfd.gsi()))
                .map(irqfd -> "GSI " + irqfd.gsi() + " was raised but has no route, at " + TestLine.here())
                .forEach(unrouted::add);
    }

    synchronized List<String> unrouted() {
        return List.copyOf(unrouted);
    }

    void onSignal(IntConsumer listener) {
        onSignal = listener;
    }

    /** The GSI that an irqfd of the test raises for this eventfd in this VM. */
    synchronized OptionalInt gsi(int vm, int event) {
        return irqfds.keySet().stream()
                .filter(irqfd -> irqfd.vm() == vm && irqfd.event() == event)
                .mapToInt(Irqfd::gsi)
                .findFirst();
    }

    /** The irqfds and ioeventfds of the test that are still assigned. */
    synchronized List<String> assigned() {
        List<String> left = new ArrayList<>();
        irqfds.forEach((irqfd, line) ->
                left.add("irqfd (eventfd fd " + irqfd.event() + " → GSI " + irqfd.gsi() + "), assigned at " + line));
        doorbells.forEach((doorbell, line) -> left.add(
                "ioeventfd (" + doorbell.address() + " → eventfd fd " + doorbell.event() + "), assigned at " + line));
        return left;
    }

    /** GSIs that are routed since the test last changed a VM's routes, each with the line that first routed it. */
    synchronized Map<Integer, String> routed(int vm) {
        return Map.copyOf(routes.getOrDefault(vm, Map.of()));
    }

    /** Whether this thread executes code of the kit now. */
    boolean isOfKit() {
        return ofKit.get();
    }

    /** Whether threads that the test started have called the kernel. */
    boolean hasThreads() {
        return !threads.isEmpty();
    }

    /** Runs code of the test. The threads that it starts inherit a class loader that identifies them. */
    void watch(Invocation<Void> part) throws Throwable {
        Thread thread = Thread.currentThread();
        ClassLoader before = thread.getContextClassLoader();
        Mark mark = new Mark(before);
        marks.add(mark);
        thread.setContextClassLoader(mark);
        try {
            part.proceed();
        } finally {
            if (thread.getContextClassLoader() == mark) {
                thread.setContextClassLoader(before);
            }
        }
    }

    /** Non-daemon threads of the test that never called the kernel. */
    private List<Thread> otherThreads() {
        ThreadGroup all = Thread.currentThread().getThreadGroup();
        Thread[] found = new Thread[all.activeCount() + MORE_THREADS];
        return Arrays.stream(found, 0, all.enumerate(found))
                .filter(thread -> !thread.isDaemon()
                        && !threads.containsKey(thread)
                        && marks.contains(thread.getContextClassLoader()))
                .toList();
    }

    /**
     * Threads of the test that still run after {@code patienceMillis}: those that called the kernel, and other
     * non-daemon threads.
     */
    List<String> threads(long patienceMillis) {
        long end = System.nanoTime() + patienceMillis * 1_000_000;
        List<String> left = new ArrayList<>();
        for (Map.Entry<Thread, String> entry : threads.entrySet()) {
            Thread thread = entry.getKey();
            if (thread == Thread.currentThread() || thread instanceof ForkJoinWorkerThread) {
                continue;
            }
            join(thread, (end - System.nanoTime()) / 1_000_000);
            if (thread.isAlive()) {
                left.add("thread " + thread.getName() + ", which first called the kernel at " + entry.getValue());
            }
        }
        for (Thread thread : otherThreads()) {
            join(thread, (end - System.nanoTime()) / 1_000_000);
            if (thread.isAlive()) {
                left.add("thread " + thread.getName() + ", which never called the kernel"
                        + TestLine.of(thread).map(" and is at "::concat).orElse(""));
            }
        }
        return left;
    }

    private static void join(Thread thread, long millis) {
        try {
            thread.join(Math.max(1, millis));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
