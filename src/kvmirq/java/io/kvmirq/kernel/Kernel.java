/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.Pool;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Makes system calls through one binding, to the real or a fake kernel. The first VM opens {@code /dev/kvm}.
 * Thread-safe.
 *
 * <pre>{@code
 * try (Kernel kernel = Kernel.open();
 *         Vm vm = Vm.create(kernel)) { ... }
 * }</pre>
 *
 * {@snippet class="io.kvmirq.snippets.KernelSnippetsTest" region="kernel"}
 */
public final class Kernel implements AutoCloseable {
    /** The device node of KVM. */
    public static final Path DEVICE = Path.of("/dev/kvm");

    private static final int API_VERSION = 12;
    /** The facts that apply to every call made by a typed handle. */
    private static final Set<Condition> TYPED = Set.of(Condition.TYPED_CALL);

    private final KernelBackend backend;
    private final Path node;
    /** Whether to check the node before opening it, for a clearer message than an errno. */
    private final boolean looksFirst;

    private final System.Logger logger = System.getLogger("io.kvmirq");
    private final Reports reports = new Reports(logger);
    private final Handles handles = new Handles(reports);
    private final Calls calls = new Calls(this);
    /** A buffer for an eventfd's count. */
    private final ThreadLocal<ByteBuffer> scratch = ThreadLocal.withInitial(() -> Buffers.allocate(Long.BYTES));

    private final Pool<ByteBuffer> scratchOfVirtualThreads = new Pool<>(() -> Buffers.allocate(Long.BYTES));

    /** 0 before its first use. If two threads choose at once, they choose the same signal. */
    private volatile int kickSignal;

    private @Nullable Fd device;
    /** If two threads query KVM at once, they get the same facts. */
    private volatile @Nullable KernelFacts facts;

    private boolean closed;

    private Kernel(KernelBackend backend, Path node, boolean looksFirst) {
        this.backend = backend;
        this.node = node;
        this.looksFirst = looksFirst;
    }

    /**
     * Opens the kernel through the binding named by the system property {@value Backends#PROPERTY} or else by the
     * environment variable {@value Backends#ENVIRONMENT}. If neither is set, the first working binding is used. Either
     * may name the fake kernel, which logs a WARNING and needs the module {@code io.kvmirq.testkit}. Opens no device.
     *
     * @throws io.kvmirq.backend.BackendUnavailableException if no binding works (the message names each cause), or the
     *     fake kernel is selected without the module {@code io.kvmirq.testkit}
     */
    public static Kernel open() {
        KernelBackend backend = Backends.ofThisMachine().openSelected();
        return new Kernel(backend, DEVICE, !backend.name().equals(Backends.FAKE));
    }

    /**
     * Opens the kernel through the binding named {@code backend}, or for {@value Backends#AUTO} through the first that
     * works. The binding {@code fake} needs only the module {@code io.kvmirq.fake}. Opens no device.
     *
     * @throws io.kvmirq.backend.BackendUnavailableException as {@link #open()}
     */
    public static Kernel open(String backend) {
        Objects.requireNonNull(backend, "backend is null");
        return new Kernel(Backends.ofThisMachine().open(backend), DEVICE, !backend.equals(Backends.FAKE));
    }

    /** Opens the kernel through this binding, with the KVM device at {@link #DEVICE}. Opens no device. */
    public static Kernel over(KernelBackend backend) {
        return over(backend, DEVICE);
    }

    /** Opens the kernel through this binding, with the KVM device at this node. Opens no device. */
    public static Kernel over(KernelBackend backend, Path device) {
        Objects.requireNonNull(backend, "backend is null");
        Objects.requireNonNull(device, "device is null");
        return new Kernel(backend, device, false);
    }

    /**
     * The KVM device's descriptor, which the first call opens.
     *
     * @throws io.kvmirq.KernelException ENOENT if the host has no KVM, EACCES without permission
     * @throws io.kvmirq.backend.BackendUnavailableException if the device has another KVM API version
     * @throws ClosedHandleException after {@link #close}
     */
    public Fd device() {
        Optional<Fd> before = openDescriptor();
        if (before.isPresent()) {
            return before.get();
        }
        Fd mine = openDevice();
        if (!keep(mine)) {
            mine.close();
            return device();
        }
        return mine;
    }

    private synchronized Optional<Fd> openDescriptor() {
        if (closed) {
            throw new ClosedHandleException("kernel of " + node);
        }
        return Optional.ofNullable(device);
    }

    /** @return false if another thread meanwhile opened the device or closed this kernel */
    private synchronized boolean keep(Fd mine) {
        if (closed || device != null) {
            return false;
        }
        device = mine;
        return true;
    }

    private Fd openDevice() {
        if (looksFirst) {
            DeviceNode.requireOpenable(node);
        }
        ByteBuffer path = Buffers.cString(node.toString());
        return calls.made(
                node.toString(),
                () -> backend.kvmOpen(path),
                result -> calls.failure(result, KernelCall.OPEN, Set.of(), node::toString),
                this::checked);
    }

    private Fd checked(Fd opened) {
        int version = calls.check(
                calls.call(opened, backend::kvmVersion), KernelCall.KVM_VERSION, Set.of(), opened::toString);
        if (version != API_VERSION) {
            throw new BackendUnavailableException(opened + " implements KVM API " + version + ", but this kvmirq needs "
                    + API_VERSION + ": is it a KVM device?");
        }
        return opened;
    }

    /** Whether this is the machine's real kernel, not a fake. */
    public boolean isReal() {
        return backend.isReal();
    }

    /** The binding's name, such as {@code jni}. */
    public String backendName() {
        return text(backend.name());
    }

    /** The binding's origin and ABI, as human-readable text. */
    public String backendDescription() {
        return text(backend.description());
    }

    /** Names the binding of the real kernel, or describes the fake kernel. */
    @Override
    public String toString() {
        return isReal() ? "real kernel through " + backendName() : "fake kernel " + backendDescription();
    }

    /** Replaces the null that a mock without a stub returns. */
    private static String text(@Nullable String given) {
        return given == null ? "" : given;
    }

    /**
     * This kernel's properties. The first call opens and queries the KVM device, unless a VM was queried before.
     *
     * @throws io.kvmirq.KernelException as {@link #device}; EPERM if a system call filter refuses KVM_CHECK_EXTENSION
     */
    public KernelFacts facts() {
        @Nullable KernelFacts known = facts;
        return known == null ? facts(device()) : known;
    }

    /** Like {@link #facts()}, but the first call queries {@code file}, the KVM device or a VM, with the same facts. */
    KernelFacts facts(Fd file) {
        @Nullable KernelFacts known = facts;
        if (known == null) {
            known = askFacts(file);
            facts = known;
        }
        return known;
    }

    /** The signal that ends vCPU runs. */
    int kickSignal() {
        if (kickSignal == 0) {
            kickSignal = KickSignal.choose();
        }
        return kickSignal;
    }

    private KernelFacts askFacts(Fd file) {
        if (capability(file, Uapi.KVM_CAP_SPLIT_IRQCHIP) > 0) {
            return new KernelFacts(KernelFacts.Architecture.X86_64, OptionalInt.empty());
        }
        int bits = capability(file, UapiArm64.KVM_CAP_ARM_VM_IPA_SIZE);
        return bits > 0
                ? new KernelFacts(KernelFacts.Architecture.ARM64, OptionalInt.of(bits))
                : new KernelFacts(KernelFacts.Architecture.OTHER, OptionalInt.empty());
    }

    private int capability(Fd file, int number) {
        return calls.check(
                calls.call(file, raw -> backend.capabilityCheck(raw, number)),
                KernelCall.CAPABILITY,
                Set.of(),
                () -> "capability=" + number);
    }

    /**
     * The known facts that can explain a failed call. Makes no system call, because the failed call may have been the
     * query for them.
     */
    Set<Condition> knownFacts() {
        Set<Condition> all = EnumSet.copyOf(TYPED);
        if (isReal()) {
            all.addAll(Condition.ofMachine(System.getProperty("os.version"), System.getProperty("os.arch")));
        } else {
            String profile = backendDescription();
            all.addAll(Condition.ofMachine(profile, profile.contains("arm64") ? "arm64" : "x86_64"));
        }
        return all;
    }

    KernelBackend backend() {
        return backend;
    }

    /**
     * The binding's raw system calls, for requests without a method. Pass a constant of {@link io.kvmirq.uapi} and the
     * number of a lease, such as of {@code Vcpu.fd()}. The library neither checks these calls nor tracks their effects.
     *
     * @throws IllegalStateException if the backend is a mock that returns no {@link Libc}
     */
    public Libc libc() {
        Libc libc = backend.libc();
        if (libc == null) {
            throw new IllegalStateException(
                    "KernelBackend.libc() is null, like that of a mock without a stub: delegate the mock to a fake"
                            + " kernel, with mock(KernelBackend.class, delegatesTo(fake.backend()))");
        }
        return libc;
    }

    Calls calls() {
        return calls;
    }

    Handles handles() {
        return handles;
    }

    /** Logs a message. If a log handler throws, the current operation continues. */
    void log(Level level, String message, @Nullable Throwable cause) {
        try {
            logger.log(level, message, cause);
        } catch (RuntimeException | Error e) {
            // Reporting it is the handler's job.
        }
    }

    /** The program's current line, for the end of a warning; empty unless lines are traced. */
    String here() {
        return handles.here();
    }

    Reports reports() {
        return reports;
    }

    ByteBuffer scratch() {
        return CurrentThread.isVirtual() ? scratchOfVirtualThreads.take() : scratch.get();
    }

    void done(ByteBuffer used) {
        if (CurrentThread.isVirtual()) {
            scratchOfVirtualThreads.giveBack(used);
        }
    }

    /** The open handles made from this kernel, including the KVM device, so that tests can check that none is left. */
    public List<String> openHandles() {
        return handles.stillOpen();
    }

    /**
     * Makes {@link #openHandles} and warnings name the line of code that made the handle or caused the warning.
     *
     * @param line returns the current line of code, from the stack. It runs in the thread that makes the handle, which
     *     may hold locks, so it must not wait or call this library
     */
    public void traceHandles(Supplier<String> line) {
        Objects.requireNonNull(line, "line is null");
        handles.trace(line);
    }

    /**
     * Refuses new calls on the KVM device. Handles made from this kernel stay open until their owners close them. Logs
     * handles that the program forgot to close, and waits at most 2 s for all warnings to be logged. A log handler may
     * call this method. After five warnings for one kind of handle, further ones are logged at level DEBUG and counted
     * in one more warning.
     */
    @Override
    public void close() {
        synchronized (this) {
            closed = true;
            if (device != null) {
                device.close();
            }
        }
        handles.reportForgotten();
        handles.reportUnlisted();
        List<String> stillOpen = handles.stillOpen();
        if (!stillOpen.isEmpty()) {
            log(Level.DEBUG, "kernel closed before " + stillOpen + ", which their owners close", null);
        }
        reports.awaitLogged();
    }
}
