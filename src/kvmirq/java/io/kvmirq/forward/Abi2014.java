/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.NotPromised;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.FileHolder.Hold;
import io.kvmirq.vfio.LineIrq;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A kernel ABI for forwarding lines, proposed in 2014 and never merged. It adds the attributes FORWARD_IRQ and
 * UNFORWARD_IRQ to KVM-VFIO, in the group KVM_DEV_VFIO_DEVICE. VFIO's handler for a forwarded line signals the eventfd
 * without masking the line, and the guest's EOI also ends the host interrupt. Thread-safe.
 *
 * <p>The attributes' numbers and layout come from the patches. Because a 2025 series proposes the same numbers for
 * TDI_BIND, {@link #probe} cannot prove that a kernel has this ABI. Call {@link #named} only on a kernel that you
 * patched yourself.
 *
 * <p>Call {@link #forward} before the line is armed, and {@link #unforward} at any time. On an architecture without
 * forwarding, FORWARD_IRQ returns 0 and does nothing. To test whether a line is forwarded, let the device interrupt
 * twice without an unmask: a forwarded line signals its eventfd twice, any other line once.
 *
 * <p>Source: "[PATCH v3 7/8] KVM: kvm-vfio: generic forwarding control", December 2014, and the replies on the list.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="abi2014"}
 */
@NotPromised
public final class Abi2014 {
    /** The result of {@link Abi2014#probe}, which checks for KVM-VFIO's attribute group KVM_DEV_VFIO_DEVICE. */
    public enum Probe {
        /** The kernel returns ENXIO, as every released kernel does. */
        ABSENT("the kernel lacks KVM_DEV_VFIO_DEVICE, so an irqfd with a resample eventfd is used instead"),
        /**
         * KVM-VFIO has attributes 1 and 2 in group 2: FORWARD_IRQ and UNFORWARD_IRQ of 2014, or TDI_BIND and TDI_UNBIND
         * of 2025.
         */
        AMBIGUOUS("the kernel has attributes 1 and 2 of group 2, which may be FORWARD_IRQ and UNFORWARD_IRQ of 2014 or"
                + " TDI_BIND and TDI_UNBIND of 2025; select the ABI of 2014 only if you know which patches the"
                + " kernel has");

        private final String text;

        Probe(String text) {
            this.text = text;
        }

        /** Explains this result in one sentence. */
        public String text() {
            return text;
        }
    }

    private final KvmVfio kvmVfio;
    private final ForwardCalls calls;
    private final Set<Hold> holds;
    private final Map<LineIrq, Forwarded> forwarded = new HashMap<>();

    /** @param holds the holds that end when {@code kvmVfio} is closed */
    Abi2014(KvmVfio kvmVfio, ForwardCalls calls, Set<Hold> holds) {
        this.kvmVfio = kvmVfio;
        this.calls = calls;
        this.holds = holds;
    }

    /**
     * Checks, without changing anything, whether the kernel has the attributes of the group KVM_DEV_VFIO_DEVICE.
     *
     * @throws io.kvmirq.KernelException EIO if another process created the VM
     */
    public static Probe probe(KvmVfio kvmVfio) {
        return kvmVfio.abi2014().calls.hasForwarding(kvmVfio.fd()) ? Probe.AMBIGUOUS : Probe.ABSENT;
    }

    /** Returns the ABI without checking that the kernel has the 2014 patches, which it needs. */
    public static Abi2014 named(KvmVfio kvmVfio) {
        return kvmVfio.abi2014();
    }

    /** A forwarded line and its UNFORWARD_IRQ attribute, allocated early because {@link #close} must not allocate. */
    private final class Forwarded implements Hold {
        private final LineIrq irq;
        private final Fd.Lease group;
        private final Fd.Lease device;
        private final ByteBuffer argument;
        private final ByteBuffer unforward;

        Forwarded(LineIrq irq, Gsi gsi) {
            this.irq = irq;
            try (Undo undo = new Undo()) {
                this.group = undo.add(kvmVfio.fd().lease());
                this.device = undo.add(irq.device().fd().lease());
                this.argument = calls.forwarded(device, irq, gsi);
                this.unforward = calls.attribute(Uapi.KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ, argument);
                undo.keep();
            }
        }

        void forward(Gsi gsi) {
            calls.forward(group, argument, irq, gsi);
        }

        void release() {
            device.close();
            group.close();
        }

        /** Ignores the kernel's result, because EINVAL means that the line was not forwarded. */
        @Override
        public void close() {
            synchronized (kvmVfio) {
                if (forwarded.remove(irq, this)) {
                    holds.remove(this);
                    end();
                }
            }
        }

        void end() {
            try {
                calls.set(group, unforward);
            } finally {
                Reference.reachabilityFence(argument);
                release();
            }
        }
    }

    /**
     * Forwards a line to a GSI. The VFIO device's descriptor stays open until {@link #unforward}, even if the device is
     * closed earlier. The line still needs an eventfd and an irqfd on the GSI.
     *
     * @throws io.kvmirq.KernelException EINVAL if the line is already forwarded or cannot be forwarded, EBUSY if it is
     *     already armed, ENXIO on every kernel without the 2014 patches
     */
    public void forward(LineIrq irq, Gsi gsi) {
        synchronized (kvmVfio) {
            Forwarded next = new Forwarded(irq, gsi);
            try (Undo undo = new Undo()) {
                undo.add(next::release);
                next.forward(gsi);
                undo.keep();
            }
            forwarded.put(irq, next);
            holds.add(next);
        }
    }

    /**
     * Ends a line's forwarding, even before the guest's EOI. VFIO's handler then masks the line at each interrupt.
     * Closing the {@link KvmVfio} ends all forwardings. Idempotent, never fails.
     */
    public void unforward(LineIrq irq) {
        synchronized (kvmVfio) {
            @Nullable Forwarded known = forwarded.get(irq);
            if (known != null) {
                known.close();
            } else {
                unforwardOfOthers(irq);
            }
        }
    }

    /** Ends a forwarding that this object did not begin: an adopted device's VMM may have begun it. */
    private void unforwardOfOthers(LineIrq irq) {
        try {
            new Forwarded(irq, new Gsi(0)).end();
        } catch (ClosedHandleException e) {
            // The device or the KVM-VFIO device is closed, so this process forwards nothing.
        }
    }
}
