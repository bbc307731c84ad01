/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.ListRegister.ACTIVE;
import static io.kvmirq.arch.gic.ListRegister.HW;
import static io.kvmirq.arch.gic.ListRegister.PENDING;
import static io.kvmirq.arch.gic.ListRegister.PHYSICAL_ID;
import static io.kvmirq.arch.gic.ListRegister.PRIORITY;
import static io.kvmirq.arch.gic.ListRegister.SOURCE;
import static io.kvmirq.arch.gic.ListRegister.VIRTUAL_ID;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.gic.HypervisorControl;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.MachineControl;
import java.util.function.IntConsumer;

/**
 * The CPU interface as a guest sees it: it takes interrupts from the list registers and ends them. Hardware does this,
 * so no lock is taken. Of GICH_VMCR the group enables and the priority mask count. An end deactivates, as with EOImode
 * 0, and IAR takes both groups, as with AckCtl 1, whatever the other bits are. GICH_APR has the priorities that are
 * active; binary points do not group them.
 *
 * <p>For use by the vCPU's thread while its guest runs. No method allocates. Source: ARM IHI 0048, "GICV_IAR",
 * "GICV_EOIR", "GICH_HCR", "GICH_APR"; {@code __vgic_v3_write_eoir()} in arch/arm64/kvm/hyp/vgic-v3-sr.c.
 */
public final class GuestCpuInterface {
    /** The answer of {@link #acknowledge} if there is nothing to take. */
    public static final int SPURIOUS = 1023;

    private final VgicVcpu vcpu;
    private final VirtualInterface registers;
    private final SharedWords words;
    private final IntConsumer deactivate;

    GuestCpuInterface(VgicVcpu vcpu, VirtualInterface registers, SharedWords words, IntConsumer deactivate) {
        this.vcpu = vcpu;
        this.registers = registers;
        this.words = words;
        this.deactivate = deactivate;
    }

    /**
     * The guest reads IAR: takes the pending interrupt with the highest priority, which becomes active, as does its
     * priority. It is not taken unless its priority is higher than all active ones and than the guest's mask.
     *
     * @return the id in bits 9:0 and the source of an SGI in bits 12:10, or {@link #SPURIOUS}
     */
    public int acknowledge() {
        vcpu.checkInGuest();
        long control = registers.machineControl();
        long active = registers.activePriorities();
        long limit = Math.min(MachineControl.MASK.of(control), Long.numberOfTrailingZeros(active));
        int best = -1;
        for (int i = 0; i < registers.registers(); i++) {
            long word = word(i);
            if (!ACTIVE.isSet(word)
                    && PENDING.isSet(word)
                    && isEnabled(control, word)
                    && (best < 0 || PRIORITY.of(word) < PRIORITY.of(word(best)))) {
                best = i;
            }
        }
        if (best < 0 || PRIORITY.of(word(best)) >= limit || !HypervisorControl.ENABLED.isSet(registers.control())) {
            return SPURIOUS;
        }
        long word = word(best);
        words.set(at(best), PENDING.put(ACTIVE.put(word, 1), 0));
        registers.setActivePriorities(active | 1L << PRIORITY.of(word));
        return answer(word);
    }

    /**
     * The guest writes EOIR: drops the highest active priority, and ends the interrupt if that priority was its own. A
     * hardware interrupt is deactivated on the host. If the list register asks for it, the maintenance interrupt is
     * raised. The end of an interrupt that no list register holds as active is counted in EOICount.
     *
     * <p>Nothing happens if no priority is active, or at the end of a special id, such as {@link #SPURIOUS}. Ends in
     * another order than the reverse of that in which the guest took the interrupts are UNPREDICTABLE in the manual;
     * here the interrupts stay active, as where Linux emulates the register.
     *
     * @param answer what {@link #acknowledge} returned
     */
    public void end(int answer) {
        vcpu.checkInGuest();
        long active = registers.activePriorities();
        if (active == 0 || InterruptId.isNone(answer & VIRTUAL_ID.max())) {
            return;
        }
        registers.setActivePriorities(active & active - 1);
        int register = findActive(answer);
        if (register < 0) {
            long control = registers.control();
            long count = HypervisorControl.END_COUNT.of(control) + 1 & HypervisorControl.END_COUNT.max();
            words.set(registers.at(VirtualInterface.CONTROL), HypervisorControl.END_COUNT.put(control, count));
        } else if (PRIORITY.of(word(register)) == Long.numberOfTrailingZeros(active)) {
            deactivate(register);
        }
    }

    /** @return the list register, or -1 */
    private int findActive(int answer) {
        for (int i = 0; i < registers.registers(); i++) {
            if (ACTIVE.isSet(word(i)) && answer(word(i)) == answer) {
                return i;
            }
        }
        return -1;
    }

    private void deactivate(int register) {
        long word = word(register);
        words.set(at(register), ACTIVE.put(word, 0));
        if (HW.isSet(word)) {
            deactivate.accept((int) PHYSICAL_ID.of(word));
        }
        vcpu.signal();
    }

    private static boolean isEnabled(long control, long word) {
        return (ListRegister.GROUP1.isSet(word) ? MachineControl.GROUP1 : MachineControl.GROUP0).isSet(control);
    }

    private int at(int register) {
        return registers.at(VirtualInterface.REGISTERS + register);
    }

    private long word(int register) {
        return words.get(at(register));
    }

    private static int answer(long word) {
        return (int) (VIRTUAL_ID.of(word) | (HW.isSet(word) ? 0 : SOURCE.of(word) << VIRTUAL_ID.width()));
    }
}
