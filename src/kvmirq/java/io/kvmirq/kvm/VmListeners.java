/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.explain.Condition;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Supplier;

/**
 * A VM's listeners. A newly added listener first gets the earlier events. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="listener"}
 */
@NotPromised
public final class VmListeners {
    private final VmCalls calls;
    /** In creation order. */
    private final Queue<WatchedVcpu> vcpus = new ConcurrentLinkedQueue<>();

    private final List<VmListener> listeners = new CopyOnWriteArrayList<>();
    private volatile boolean apicIdsWidened;

    VmListeners(VmCalls calls) {
        this.calls = calls;
    }

    /** Whether vCPUs are reported. An adopted VM's are not, because its VMM may have created others. */
    private boolean knowsVcpus() {
        return calls.has(Condition.OWN);
    }

    /**
     * Adds a listener, which gets the events of existing and later vCPUs. An adopted VM's vCPUs are not reported,
     * because its VMM may create and run vCPUs without this library.
     */
    public void add(VmListener listener) {
        Objects.requireNonNull(listener, "listener is null");
        listeners.add(listener);
        if (apicIdsWidened) {
            calls.tell(listener, VmListener::apicIdsWidened);
        }
        if (!calls.hasBroadcastQuirk()) {
            calls.tell(listener, VmListener::broadcastQuirkDisabled);
        }
        if (knowsVcpus()) {
            calls.tell(listener, VmListener::vmCreated);
            vcpus.forEach(vcpu -> tell(listener, vcpu));
        }
    }

    /** Removes a listener that {@link #add} added. */
    public void remove(VmListener listener) {
        Objects.requireNonNull(listener, "listener is null");
        listeners.remove(listener);
    }

    /** Makes a vCPU and reports it to all listeners, including later ones. */
    Vcpu make(Supplier<Vcpu> call) {
        Vcpu vcpu;
        try (Undo undo = new Undo()) {
            vcpu = undo.add(call.get());
            vcpus.add(vcpu.watched());
            undo.keep();
        }
        if (knowsVcpus()) {
            vcpu.watched()
                    .setLapicListener(() -> listeners.forEach(listener -> calls.tell(listener, VmListener::lapicSet)));
            listeners.forEach(listener -> tell(listener, vcpu.watched()));
        }
        return vcpu;
    }

    private void tell(VmListener listener, WatchedVcpu vcpu) {
        calls.tell(listener, to -> to.vcpuAdded(vcpu.id()));
        calls.tell(listener, to -> to.vcpuWatched(vcpu));
    }

    /** Reports that APIC ids have 32 bits. */
    void widenApicIds() {
        apicIdsWidened = true;
        listeners.forEach(listener -> calls.tell(listener, VmListener::apicIdsWidened));
    }

    /** Reports that destination 255 is no longer a broadcast in x2APIC mode. */
    void endBroadcastQuirk() {
        listeners.forEach(listener -> calls.tell(listener, VmListener::broadcastQuirkDisabled));
    }
}
