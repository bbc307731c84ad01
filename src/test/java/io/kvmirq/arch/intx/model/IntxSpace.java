/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.intx.model.IntxDevice.Kind;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Operation;
import io.kvmirq.explorer.Space;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/** A device, a CPU of the host, the worker of the irqfd, a vCPU and others, in every order. */
final class IntxSpace extends IntxParts implements Space {
    private static final int LINE = 0;
    private static final int VCPU = 0;
    /** The other VM was signalled, and its EOI deactivates. */
    private static final long DIRECT = 2;

    private final List<Actor> actors = new ArrayList<>();
    private int requests;
    private boolean runs = true;
    private boolean changesMode;
    private boolean ends;
    private boolean endsFirst;
    private boolean writesDisIntx;
    private boolean shares;
    private boolean joined;
    private boolean switches;
    private boolean replaces;

    IntxSpace(IntxVariant variant, Kind kind) {
        super(variant, kind);
    }

    IntxSpace requests(int count) {
        requests = count;
        return this;
    }

    /** The vCPU halts once, before or after an interrupt. */
    IntxSpace halts() {
        words.at(start);
        words.set(halted, 0);
        return this;
    }

    /** The guest may end an interrupt before it serves the device. */
    IntxSpace endsFirst() {
        endsFirst = true;
        return this;
    }

    IntxSpace neverRuns() {
        runs = false;
        return this;
    }

    IntxSpace direct() {
        words.at(start);
        vfio.chooseDirect(guest::signalMapped);
        return this;
    }

    IntxSpace directIfVariantSays() {
        return variant.isDirectWhenShared() ? direct() : this;
    }

    IntxSpace sharedWithAnother() {
        words.at(start);
        otherVfio.enable(() -> words.or(signalled, 1));
        shares = true;
        return this;
    }

    /** The other VM enables INTx at any time. */
    IntxSpace joinedByAnother() {
        joined = true;
        actors.add(Actor.of(
                "vm b", words.operation("enable INTx", () -> variant.enable(otherVfio, () -> words.or(signalled, 1)))));
        return this;
    }

    IntxSpace sharedWithADirectOne() {
        words.at(start);
        otherVfio.chooseDirect(() -> words.or(signalled, DIRECT));
        return sharedWithAnother();
    }

    /** The other device never requests: its handler has the line. */
    IntxSpace sharedWithAnIdleOne() {
        words.at(start);
        otherVfio.enable(() -> {});
        return this;
    }

    /** A user replaces the trigger. The old one must not be signalled afterwards. */
    IntxSpace replacesTheTrigger() {
        words.at(start);
        replaces = true;
        vfio.trigger(() -> {
            words.or(late, words.get(replaced));
            guest.signal();
        });
        actors.add(Actor.of("user", words.operation("replace the trigger", () -> {
            vfio.trigger(guest::signal);
            words.set(replaced, 1);
        })));
        return this;
    }

    IntxSpace removesTheTrigger() {
        replaces = true;
        actors.add(Actor.of(
                "user",
                words.operation("remove the trigger", vfio::unwire),
                words.operation("set it again", () -> vfio.trigger(guest::signal))));
        return this;
    }

    IntxSpace loopsBack() {
        actors.add(Actor.of("user", words.operation("loopback", vfio::loopback)));
        return this;
    }

    IntxSpace masks() {
        actors.add(Actor.of("user", words.operation("mask", vfio::mask), words.operation("unmask", vfio::unmask)));
        return this;
    }

    IntxSpace writesDisIntx() {
        writesDisIntx = true;
        actors.add(Actor.of(
                "vcpu 1",
                words.operation("set DisINTx", () -> vfio.writeDisIntx(true)),
                words.operation("clear DisINTx", () -> vfio.writeDisIntx(false))));
        return this;
    }

    /** The VM ends at any time: VFIO closes the device. */
    IntxSpace ends() {
        ends = true;
        changesMode = true;
        writesDisIntx = true;
        actors.add(Actor.of("exit", words.operation("close", vfio::close)));
        return this;
    }

    /** The VM is torn down at any time, before VFIO closes the device. */
    IntxSpace endsWithItsPin() {
        IntxSpace space = ends();
        Actor close = actors.remove(actors.size() - 1);
        actors.add(new Actor(
                close.name(),
                List.of(words.operation("destroy", guest::destroy), words.operation("close", vfio::close)),
                false));
        return space;
    }

    IntxSpace changesMode() {
        changesMode = true;
        actors.add(
                Actor.of("user", words.operation("disable INTx", vfio::disable), words.operation("MSI and back", () -> {
                    vfio.enableMessages(InterruptMode.MSI);
                    vfio.disableMessages();
                    enable();
                })));
        return this;
    }

    IntxSpace switches() {
        switches = true;
        actors.add(Actor.of(
                "user",
                words.operation(
                        "choose direct EOI",
                        () -> vfio.chooseDirect(() -> {
                            words.or(late, words.get(replaced));
                            guest.signalMapped();
                        })),
                words.operation("choose the mask", () -> {
                    vfio.chooseAutoMask();
                    words.set(replaced, vfio.isDirect() ? 0 : 1);
                })));
        return this;
    }

    private Actor requester(String name, IntxDevice of, int count) {
        Operation request =
                Operation.atomic("request", words.running(of::request)).when(state -> (state[of.at()] & 1) == 0);
        return new Actor(name, Collections.nCopies(count, request), false);
    }

    @Override
    public Explorer explorer(Memory memory) {
        List<Actor> all = new ArrayList<>();
        all.add(Actor.answering(
                "vcpu 0",
                words.operation("", this::live)
                        .when(state -> runs
                                && state[vcpu.thread().at(VcpuThread.ASLEEP)] == 0
                                && (state[vcpu.at(IntxVcpu.IRR)] != 0
                                        || state[vcpu.at(IntxVcpu.ISR)] != 0
                                        || state[halted] == 0))));
        all.add(Actor.answering(
                "cpu 1",
                words.operation("take the line", line::take)
                        .when(state -> state[line.at(PhysicalLine.RUNNING)] == 0 && interrupts(state))));
        all.add(Actor.answering(
                "worker",
                words.operation("inject", guest::inject).when(state -> state[guest.at(GuestLine.RAISED)] != 0)));
        all.addAll(actors);
        all.add(requester("device", device, requests));
        if (shares) {
            all.add(requester("device b", other, 1));
            all.add(Actor.answering(
                    "vm b",
                    words.operation("serve and end", () -> {
                                boolean isMapped = words.swap(signalled, 0) >= DIRECT;
                                other.serve();
                                if (isMapped) {
                                    otherVfio.deactivate();
                                }
                                otherVfio.unmask();
                            })
                            .when(state -> state[signalled] != 0)));
        }
        return new Explorer(all, memory, this);
    }

    private boolean interrupts(long[] state) {
        words.at(state);
        return line.isInterrupting();
    }

    @Override
    public long[] start() {
        return start.clone();
    }

    /** One turn of the vCPU: halts, or comes to its interrupt, serves the device and ends it. */
    private void live() {
        VcpuThread thread = vcpu.thread();
        if (!thread.isLoaded()) {
            words.cpu().does("wake");
            thread.load(0);
            thread.unblock();
        } else if (vcpu.isInService(LINE)) {
            boolean late = endsFirst && words.cpu().choose(2) == 1;
            words.cpu().does(late ? "end, serve" : "serve, end");
            if (!late) {
                device.serve();
            }
            vcpu.end(LINE);
            if (late) {
                device.serve();
            }
        } else if (words.get(halted) == 0) {
            words.cpu().does("halt");
            words.set(halted, 1);
            thread.exit();
            thread.block(true);
        } else {
            words.cpu().does("enter");
            if (words.get(thread.at(VcpuThread.MODE)) != 0) {
                thread.exit();
            }
            thread.enter();
        }
    }

    @Override
    public Optional<String> lost(long[] memory) {
        words.at(memory.clone());
        if (line.isStuck()) {
            return Optional.of("no handler cares for the line, which is disabled");
        }
        if (shares && other.isRequesting()) {
            return Optional.of("the device of the other VM waits forever");
        }
        if (words.get(late) != 0) {
            return Optional.of("an eventfd is signalled after another was chosen");
        }
        if (!runs || ends) {
            return Optional.empty();
        }
        if (vfio.mode() != InterruptMode.INTX || joined && otherVfio.mode() != InterruptMode.INTX) {
            return Optional.of("a VM has no INTx: its request for the line got EBUSY");
        }
        if (device.isRequesting()) {
            return Optional.of("the device waits forever");
        }
        if (line.isActive()) {
            return Optional.of("the line stays active");
        }
        if (vfio.isMasked() || line.isDisabled()) {
            return Optional.of("the device stays masked");
        }
        return guest.isHigh() ? Optional.of("the pin of the guest stays high") : Optional.empty();
    }

    @Override
    public boolean owns(int actor, int word) {
        return actor == VCPU && word == vcpu.thread().at(VcpuThread.CPU);
    }

    @Override
    public boolean isPrivate(int actor, int word) {
        return actor == VCPU
                && (word == vcpu.thread().at(VcpuThread.LOADED)
                        || word == vcpu.thread().at(VcpuThread.BLOCKING)
                        || word == vcpu.at(IntxVcpu.ISR)
                        || word == vcpu.at(IntxVcpu.IN_GUEST)
                        || word == halted
                        || word == host.cpu(0).at(HostCpu.GUEST));
    }

    @Override
    public int lockOf(int word) {
        if (word >= line.at(PhysicalLine.ACTIVE) && word <= line.at(PhysicalLine.STUCK)) {
            return line.at(PhysicalLine.LOCK);
        }
        if (word >= guest.at(GuestLine.SOURCES) && word <= guest.at(GuestLine.GONE)) {
            return guest.at(GuestLine.LOCK);
        }
        if (word == resamplefd.at(LineEvent.LISTENED)) {
            return resamplefd.at(LineEvent.PASSING);
        }
        boolean locked =
                !changesMode && (word == vfio.at(VfioIntx.MASKED) || word == vfio.at(VfioIntx.DIRECT) && !switches);
        if (locked) {
            return vfio.at(VfioIntx.LOCK);
        }
        return !joined && word == otherVfio.at(VfioIntx.MASKED) ? otherVfio.at(VfioIntx.LOCK) : -1;
    }

    @Override
    public boolean isConstant(int word) {
        HostCpu cpu = host.cpu(0);
        if (word >= cpu.at(HostCpu.PENDING) && word < cpu.at(HostCpu.INTERRUPTS_OFF)) {
            return true;
        }
        if (word == vfio.at(VfioIntx.DIRECT)) {
            return !switches && !ends;
        }
        if (word == vfio.at(VfioIntx.VIRTUAL_DISINTX)) {
            return !writesDisIntx;
        }
        boolean mode = word == vfio.at(VfioIntx.MODE)
                || word == vfio.at(VfioIntx.CLOSED)
                || word == vfio.at(VfioIntx.TRIGGER) && !replaces
                || word == vfio.at(VfioIntx.UNMASK)
                || word == resamplefd.at(LineEvent.LISTENED)
                || word == line.at(PhysicalLine.REQUESTED)
                || word == line.at(PhysicalLine.EXCLUSIVE);
        return mode && !changesMode
                || !shares && !joined && word == other.at()
                || !joined && word >= otherVfio.at(VfioIntx.VIRTUAL_DISINTX) && word < resamplefd.at(0);
    }
}
