/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Backends;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.Fact;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/**
 * An open KVM device, and the binding everything made from it goes through. Thread-safe.
 *
 * <pre>{@code
 * try (Kernel kernel = Kernel.open();
 *         Vm vm = Vm.create(kernel)) { ... }
 * }</pre>
 */
public final class Kernel implements AutoCloseable {
    /** The device node of KVM. */
    public static final Path DEVICE = Path.of("/dev/kvm");

    private static final int API_VERSION = 12;

    private final KernelBackend backend;
    private final System.Logger logger = System.getLogger("io.kvmirq");
    private final Handles handles = new Handles(logger);
    private final Calls calls = new Calls(this);
    private final Fd device;
    /** For the count an eventfd gives; a virtual thread, of which there may be millions, gets one per call. */
    private final ThreadLocal<ByteBuffer> scratch = ThreadLocal.withInitial(() -> Buffers.allocate(Long.BYTES));

    private Kernel(KernelBackend backend, Path path) {
        this.backend = backend;
        int fd = calls.check(backend.kvmOpen(Buffers.cString(path.toString())), "open", () -> path.toString());
        this.device = new Fd(this, path.toString(), fd, Ownership.OWNED);
    }

    /**
     * Through the binding that {@value Backends#PROPERTY}, then {@value Backends#ENVIRONMENT} name, else the best one
     * that works.
     *
     * @throws io.kvmirq.backend.BackendUnavailableException when no binding works, with the cause for each
     * @throws io.kvmirq.KernelException opening /dev/kvm: ENOENT (no KVM here), EACCES (not permitted)
     */
    public static Kernel open() {
        return open(Backends.selection());
    }

    /**
     * Through the binding of that name, or {@value Backends#AUTO}.
     *
     * @throws io.kvmirq.backend.BackendUnavailableException as {@link #open()}
     * @throws io.kvmirq.KernelException as {@link #open()}
     */
    public static Kernel open(String backend) {
        if (!backend.equals(Backends.FAKE)) {
            DeviceNode.requireOpenable(DEVICE);
        }
        return over(Backends.ofThisMachine().open(backend), DEVICE);
    }

    /** Over a given binding and device node. */
    public static Kernel over(KernelBackend backend, Path device) {
        Kernel kernel = new Kernel(backend, device);
        try {
            kernel.requireVersion();
            return kernel;
        } catch (RuntimeException e) {
            kernel.close();
            throw e;
        }
    }

    private void requireVersion() {
        int version = calls.kvmVersion(device);
        if (version != API_VERSION) {
            throw new BackendUnavailableException(
                    device + " speaks KVM API " + version + ", this kvmirq " + API_VERSION + ": is it a KVM device?");
        }
    }

    /** For the packages above, not for users. */
    public Calls calls() {
        return calls;
    }

    /** The open KVM device. */
    public Fd device() {
        return device;
    }

    /** Whether this is the kernel of this machine, and not the fake. */
    public boolean isReal() {
        return backend.isReal();
    }

    /** The binding's name, such as {@code jni}. */
    public String backendName() {
        return backend.name();
    }

    /** The binding's origin and ABI, for people. */
    public String backendDescription() {
        return backend.description();
    }

    /** What is known of it when a call fails. */
    Set<Fact> facts() {
        return isReal()
                ? Fact.ofMachine(System.getProperty("os.version"), System.getProperty("os.arch"))
                : Fact.ofMachine(backendDescription(), "x86_64");
    }

    KernelBackend backend() {
        return backend;
    }

    Handles handles() {
        return handles;
    }

    ByteBuffer scratch() {
        return CurrentThread.isVirtual() ? Buffers.allocate(Long.BYTES) : scratch.get();
    }

    /**
     * Refuses new calls on the KVM device. Handles made from it stay open, are their owners' to close, and are reported
     * if they have not been.
     */
    @Override
    public void close() {
        device.close();
        handles.reportForgotten();
        List<String> stillOpen = handles.stillOpen();
        if (!stillOpen.isEmpty()) {
            logger.log(System.Logger.Level.DEBUG, "kernel closed before {0}; each is its owner''s to close", stillOpen);
        }
    }
}
