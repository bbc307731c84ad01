/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.model.VfioIntx;
import io.kvmirq.explain.VfioIrqAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.file.KernelOfFile;
import org.jspecify.annotations.Nullable;

/** A line that KVM-VFIO of the historic profile can forward: INTx of a PCI device, or a platform device's interrupt. */
final class ForwardableLine implements HostLine {
    private final KernelOfFile host;
    private final int physicalId;
    private final VfioIntx intx;
    private final Runnable settle;
    private @Nullable EventFile trigger;

    /** @param settle lets the CPUs take the interrupts of the line until it is quiet */
    ForwardableLine(KernelOfFile host, int physicalId, VfioIntx intx, Runnable settle) {
        this.host = host;
        this.physicalId = physicalId;
        this.intx = intx;
        this.settle = settle;
    }

    @Nullable
    EventFile trigger() {
        return trigger;
    }

    void setTrigger(@Nullable EventFile event) {
        trigger = event;
    }

    @Override
    public int physicalId() {
        return physicalId;
    }

    @Override
    public boolean isSignalled() {
        return trigger != null;
    }

    @Override
    public void forward() {
        host.note(VfioIrqAnswer.VFIO_INTX_DIRECT);
        intx.chooseDirect(() -> {
            EventFile to = trigger;
            if (to != null) {
                to.signal(1);
            }
        });
    }

    @Override
    public void unforward() {
        intx.chooseAutoMask();
        intx.endDirect();
        settle.run();
    }

    @Override
    public void deactivate() {
        intx.deactivate();
        settle.run();
    }
}
