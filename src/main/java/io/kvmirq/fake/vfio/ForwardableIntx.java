/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.arch.intx.VfioIntx;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.file.HostLine;
import io.kvmirq.fake.rules.VfioRule;
import org.jspecify.annotations.Nullable;

/** INTx of a PCI device, as KVM-VFIO of the historic profile forwards it. */
final class ForwardableIntx implements HostLine {
    private final Host host;
    private final PciLine line;
    private final VfioIntx intx;
    private @Nullable EventFile trigger;

    ForwardableIntx(Host host, PciLine line, VfioIntx intx) {
        this.host = host;
        this.line = line;
        this.intx = intx;
    }

    /** Sets the eventfd that INTx signals. */
    void setTrigger(@Nullable EventFile event) {
        trigger = event;
    }

    @Override
    public int physicalId() {
        return line.physicalId();
    }

    @Override
    public boolean isSignalled() {
        return trigger != null;
    }

    @Override
    public void forward() {
        host.note(VfioRule.VFIO_INTX_DIRECT);
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
        intx.endForwarded();
        line.settle();
    }

    @Override
    public void deactivate() {
        line.physical().deactivate();
        line.settle();
    }
}
