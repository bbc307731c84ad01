/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.file.ScriptedExit;
import org.jspecify.annotations.Nullable;

/** The architecture-independent part of a vCPU whose exits a test defines. */
public final class ScriptPlayer {
    private final Script script;
    private final VmInterrupts vm;
    private final FakeMemorySlots slots;
    private final RunPage page;
    /** The read exit that waits for the VMM's value. */
    private @Nullable ScriptedExit read;

    public ScriptPlayer(Script script, VmInterrupts vm, FakeMemorySlots slots, RunPage page) {
        this.script = script;
        this.vm = vm;
        this.slots = slots;
        this.page = page;
    }

    public boolean isReading() {
        return read != null;
    }

    /** Called at a KVM_RUN: takes the value that the VMM gave for the last read. */
    public void completeRead() {
        if (read != null) {
            for (int i = 0; i < read.count(); i++) {
                script.answered(page.answer(i, read.size()));
            }
            read = null;
        }
    }

    /** Notes that the guest's read has exited: the next KVM_RUN brings the VMM's value. */
    public void awaitAnswer(ScriptedExit exit) {
        read = exit;
    }

    /** Performs an exit that is common to all architectures. Returns whether KVM_RUN returns to the VMM. */
    public boolean plays(ScriptedExit exit) {
        boolean write = exit.kind() == ScriptedExit.Kind.MMIO_WRITE;
        if (exit.kind() == ScriptedExit.Kind.OTHER) {
            page.exit(exit);
            return true;
        }
        boolean memory = write
                ? slots.isWritable(exit.place())
                : slots.user(exit.place()).isPresent();
        if (memory) {
            throw misuse(exit, "there is memory of the guest, and no exit");
        }
        if (write && vm.signals(FakeIoEventFd.Bus.MEMORY, exit.place(), exit.size(), exit.data(0))) {
            return false;
        }
        page.exitForMemory(write, exit.place(), exit.size());
        if (write) {
            page.put(0, exit.size(), exit.data(0));
        } else {
            awaitAnswer(exit);
        }
        return true;
    }

    public static IllegalStateException misuse(ScriptedExit exit, String why) {
        return new IllegalStateException("a vCPU of the fake cannot play " + exit + ": " + why);
    }
}
