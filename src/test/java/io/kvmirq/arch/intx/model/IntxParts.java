/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Explorer.Access;
import java.util.Map;
import java.util.Optional;

/** The parts of an {@link IntxSpace} in one memory, and the names of its words. */
abstract class IntxParts implements Explorer.Model {
    /** A line that no handler cared for is disabled after so many interrupts, so that a storm ends. */
    private static final int PERIOD = 4;

    final IntxVariant variant;
    final ExploredWords words;
    final long[] start;
    final HostCpus host;
    final IntxVcpu vcpu;
    final PhysicalLine line;
    final IntxDevice device;
    final IntxDevice other;
    final LineEvent resamplefd;
    final GuestLine guest;
    final VfioIntx vfio;
    final VfioIntx otherVfio;
    /** Whether the vCPU halts no more. */
    final int halted;
    /** Whether the other VM was signalled. */
    final int signalled;

    /** Whether another eventfd was chosen, and whether the old one was signalled after that. */
    final int replaced;

    final int late;
    private final Map<Integer, String> names;

    IntxParts(IntxVariant variant, Kind kind) {
        this.variant = variant;
        int ofVcpu = HostCpus.words(1);
        int ofGuest = ofVcpu + IntxVcpu.WORDS;
        int ofLine = ofGuest + GuestLine.WORDS;
        int ofDevices = ofLine + PhysicalLine.WORDS;
        int ofVfio = ofDevices + 2 * IntxDevice.WORDS;
        int ofEvent = ofVfio + 2 * VfioIntx.WORDS;
        this.halted = ofEvent + LineEvent.WORDS;
        this.signalled = halted + 1;
        this.replaced = signalled + 1;
        this.late = signalled + 2;
        this.words = new ExploredWords(late + 1);
        this.start = new long[words.size()];
        words.at(start);
        this.host = new HostCpus(words, 0, 0);
        this.vcpu = new IntxVcpu(host, 0, words, ofVcpu);
        this.line = new PhysicalLine(LineController.GIC, words, ofLine, PERIOD, PERIOD - 1);
        this.device = new IntxDevice(line, kind, words, ofDevices);
        this.other = new IntxDevice(line, kind, words, ofDevices + IntxDevice.WORDS);
        this.resamplefd = new LineEvent(words, ofEvent);
        this.vfio = variant.vfio(device, words, ofVfio);
        this.guest = new GuestLine(vcpu, 0, Optional.of(vfio), words, ofGuest);
        this.otherVfio = new VfioIntx(other, false, words, ofVfio + VfioIntx.WORDS);
        guest.resampler().add(resamplefd);
        vfio.chooseDirect(guest::signalMapped);
        vfio.chooseAutoMask();
        enable();
        words.set(halted, 1);
        vcpu.thread().load(0);
        vcpu.thread().enter();
        this.names = Map.ofEntries(
                Map.entry(device.at(), "device"),
                Map.entry(other.at(), "device b"),
                Map.entry(vcpu.at(IntxVcpu.IRR), "IRR"),
                Map.entry(vcpu.thread().at(VcpuThread.MODE), "guest mode"),
                Map.entry(vcpu.thread().at(VcpuThread.ASLEEP), "asleep"),
                Map.entry(guest.at(GuestLine.RAISED), "irqfd"),
                Map.entry(guest.at(GuestLine.SOURCES), "sources"),
                Map.entry(vfio.at(VfioIntx.MASKED), "masked"),
                Map.entry(vfio.at(VfioIntx.DIRECT), "direct"),
                Map.entry(vfio.at(VfioIntx.TRIGGER), "trigger"),
                Map.entry(line.at(PhysicalLine.REQUESTED), "handlers of the line"),
                Map.entry(line.at(PhysicalLine.ACTIVE), "active"),
                Map.entry(line.at(PhysicalLine.DEPTH), "disable depth"));
    }

    final void enable() {
        if (variant.enable(vfio, guest::signal)) {
            vfio.setUnmaskEvent(resamplefd);
        }
    }

    @Override
    public String describe(Access access) {
        String name = names.getOrDefault(access.word(), "");
        boolean plain = access.kind() == Access.Kind.LOAD;
        return name.isEmpty() ? "" : (plain ? "reads " : "") + name + " = " + access.after();
    }
}
