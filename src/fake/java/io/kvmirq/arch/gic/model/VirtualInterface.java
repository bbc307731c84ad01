/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.ListRegister.ACTIVE;
import static io.kvmirq.arch.gic.ListRegister.EOI;
import static io.kvmirq.arch.gic.ListRegister.GROUP1;
import static io.kvmirq.arch.gic.ListRegister.HW;
import static io.kvmirq.arch.gic.ListRegister.PENDING;
import static io.kvmirq.arch.gic.ListRegister.PRIORITY;
import static io.kvmirq.arch.gic.ListRegister.SOURCE;
import static io.kvmirq.arch.gic.ListRegister.VIRTUAL_ID;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.gic.HypervisorControl;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.MachineControl;
import io.kvmirq.arch.gic.Maintenance;
import java.util.List;
import java.util.Optional;
import java.util.function.IntUnaryOperator;

/**
 * The GICv2 virtual CPU interface of a vCPU: list registers, GICH_HCR and the registers derived from them. KVM fills
 * the list registers before the guest runs and reads them back after it exits, both under the distributor's lock with
 * interrupts off. Therefore no maintenance interrupt can come between the steps in which KVM finds all interrupts
 * queued and clears the vCPU's {@link Distributor#isFlagged flag}.
 *
 * <p>An interrupt is in one list register at most; an SGI may be in one for each source vCPU. KVM queues SGIs first,
 * then PPIs, then SPIs. If no register is free, the interrupt stays pending and KVM sets UIE: the guest exits by an
 * underflow interrupt when at most one register is in use. KVM sets the EOI bit of a level-triggered interrupt: its EOI
 * raises a maintenance interrupt, whose handler samples the line again. An interrupt in a list register reaches the
 * guest even if it is then disabled or routed to another vCPU, or its line falls.
 *
 * <p>Any thread may call methods that only read, but only the vCPU's own thread may call other methods. Only {@link
 * #setListRegister} and {@link #setMachineControl} allocate objects. Source: {@code __kvm_vgic_sync_to_cpu} and others
 * of "[PATCH v4 07/13] ARM: KVM: VGIC virtual CPU interface management", December 2012, and its reviewers' remarks.
 */
public class VirtualInterface {
    private static final int MOST_REGISTERS = 64;
    private static final int PRIORITY_SHIFT = Byte.SIZE - PRIORITY.width();
    private static final long SGIS = (1 << InterruptId.FIRST_PPI) - 1;
    private static final int NONE = -1;

    static final int CONTROL = 0;
    static final int MACHINE = 1;
    /** The list registers that hold an interrupt, or wait for its end's maintenance interrupt: {@code lr_used}. */
    static final int USED = 2;

    /** GICH_APR. */
    static final int PRIORITIES = 3;

    static final int REGISTERS = 4;

    final Distributor gic;
    final int vcpu;
    final SharedWords words;
    private final int base;
    private final int registers;

    /** @throws IllegalArgumentException if the number of list registers is not 1–64 */
    VirtualInterface(Distributor gic, int vcpu, int registers, SharedWords words, int base) {
        this.gic = gic;
        this.vcpu = vcpu;
        this.words = words;
        this.base = base;
        this.registers = checked(registers);
        words.set(at(CONTROL), HypervisorControl.ENABLED.mask());
        words.set(
                at(MACHINE), MachineControl.GROUP0.mask() | MachineControl.GROUP1.mask() | MachineControl.MASK.mask());
    }

    /** Creates an interface for a vCPU that has no thread in the model. */
    public static VirtualInterface create(Distributor gic, int vcpu, int registers) {
        gic.banks().checkVcpu(vcpu);
        return new VirtualInterface(gic, vcpu, registers, SharedWords.of(new long[words(registers)]), 0);
    }

    private static int checked(int registers) {
        if (registers < 1 || registers > MOST_REGISTERS) {
            throw new IllegalArgumentException(registers + " list registers: expected 1-" + MOST_REGISTERS);
        }
        return registers;
    }

    static int words(int registers) {
        return REGISTERS + checked(registers);
    }

    int at(int word) {
        return base + word;
    }

    public int registers() {
        return registers;
    }

    /** Reads a list register, 32 bits, whose fields are in {@link ListRegister}. */
    public long listRegister(int number) {
        checkRegister(number);
        return words.get(at(REGISTERS + number));
    }

    private void checkRegister(int number) {
        if (number < 0 || number >= registers) {
            throw new IllegalArgumentException(
                    "list register " + number + " does not exist: expected 0-" + (registers - 1));
        }
    }

    /**
     * Writes a list register, as KVM does for a hardware interrupt before its guest runs. The call sets the vCPU's
     * {@link Distributor#isFlagged flag} and does not wake the vCPU. KVM queues a level-triggered interrupt of this
     * register again only after its EOI, or after another write has removed it from the register.
     *
     * @throws IllegalArgumentException if the register, the interrupt or the source vCPU of the SGI does not exist; if
     *     the manual forbids the word; or if another register, of any vCPU, holds the interrupt
     */
    public void setListRegister(int number, long word) {
        checkRegister(number);
        List<Violation> violations = ListRegister.FORMAT.violations(ListRegister.FORMAT.bits(word));
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(
                    "list register " + number + " cannot be 0x" + Long.toHexString(word) + ": " + violations.get(0));
        }
        int id = (int) VIRTUAL_ID.of(word);
        gic.banks().check(vcpu, id);
        gic.banks().checkVcpu(source(word));
        gic.lock();
        Optional<String> holder = ListRegister.isEmpty(word) ? Optional.empty() : otherHolder(number, word);
        int wanting = holder.isEmpty() ? replace(number, word) : NONE;
        gic.unlock();
        gic.kick(wanting);
        if (holder.isPresent()) {
            throw new IllegalArgumentException(
                    InterruptId.text(id) + " is in " + holder.get() + " already: expected it in one");
        }
    }

    private Optional<String> otherHolder(int number, long word) {
        int id = (int) VIRTUAL_ID.of(word);
        int other = find(id, source(word));
        if (other != NONE && other != number) {
            return Optional.of("list register " + other);
        }
        int holder = InterruptId.isPrivate(id) ? NONE : gic.banks().holder(id);
        return holder == NONE || holder == vcpu ? Optional.empty() : Optional.of("a list register of vCPU " + holder);
    }

    /** @return the vCPU to which the level in the replaced register is deliverable again, or -1 */
    private int replace(int number, long word) {
        boolean held = (words.get(at(USED)) >>> number & 1) != 0;
        int before = (int) VIRTUAL_ID.of(words.get(at(REGISTERS + number)));
        int id = (int) VIRTUAL_ID.of(word);
        boolean holds = !ListRegister.isEmpty(word);
        putActive(false);
        put(number, word, holds);
        putActive(true);
        if (held && holds && before == id) {
            return NONE;
        }
        if (holds) {
            gic.banks().putQueued(vcpu, id, gic.isLevel(vcpu, id));
            gic.setFlag(vcpu, true);
        }
        return held ? gic.released(vcpu, before) : NONE;
    }

    /** Reads GICH_HCR, whose fields are in {@link HypervisorControl}. */
    public long control() {
        return words.get(at(CONTROL));
    }

    /** Reads GICH_VMCR, whose fields are in {@link MachineControl}. */
    public long machineControl() {
        return words.get(at(MACHINE));
    }

    /** Writes GICH_VMCR; both groups start enabled. Throws IllegalArgumentException if the manual forbids the word. */
    public void setMachineControl(long word) {
        List<Violation> violations = MachineControl.GICH.violations(MachineControl.GICH.bits(word));
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(
                    "GICH_VMCR cannot be 0x" + Long.toHexString(word) + ": " + violations.get(0));
        }
        words.set(at(MACHINE), word);
    }

    /** Reads GICH_APR: bit n is set while an interrupt of priority n, 0 the highest, is taken and not ended. */
    public long activePriorities() {
        return words.get(at(PRIORITIES));
    }

    /** Writes GICH_APR, as IAR, EOIR and a restore do. Throws IllegalArgumentException for more than 32 bits. */
    public void setActivePriorities(long word) {
        if (word >>> Integer.SIZE != 0) {
            throw new IllegalArgumentException(
                    "GICH_APR cannot be 0x" + Long.toHexString(word) + ": expected 32 bits, one for each priority");
        }
        words.set(at(PRIORITIES), word);
    }

    /** Reads EISR: bit n is set if list register n holds an ended interrupt whose EOI bit is set. */
    public long ended() {
        long ended = 0;
        for (int i = 0; i < registers; i++) {
            ended |= ListRegister.isSpent(words.get(at(REGISTERS + i))) ? 1L << i : 0;
        }
        return ended;
    }

    /** Reads ELRSR: bit n is set if list register n is empty. A register that {@link #ended} shows is not empty. */
    public long empty() {
        long empty = 0;
        for (int i = 0; i < registers; i++) {
            empty |= ListRegister.isEmpty(words.get(at(REGISTERS + i))) ? 1L << i : 0;
        }
        return empty;
    }

    /** Reads MISR, the causes of the maintenance interrupt, or 0. The model has only the bits EOI and U. */
    public long status() {
        boolean underflows = HypervisorControl.UNDERFLOW.isSet(control()) && inUse() <= 1;
        return (ended() == 0 ? 0 : Maintenance.END.mask()) | (underflows ? Maintenance.UNDERFLOW.mask() : 0);
    }

    /** @return the number of list registers with a pending or active interrupt */
    private int inUse() {
        int count = 0;
        for (int i = 0; i < registers; i++) {
            count += ListRegister.STATE.isSet(words.get(at(REGISTERS + i))) ? 1 : 0;
        }
        return count;
    }

    /** Fills the list registers before the guest runs. Call this method with interrupts off. */
    public void syncToCpu() {
        gic.lock();
        settle(queueAll());
        gic.unlock();
    }

    /**
     * Fills the list registers before an entry, with interrupts off. {@code withheld} maps the first id of 32
     * interrupts to the bits of those that must stay in the distributor; it is called under the distributor's lock.
     */
    public void syncToCpu(IntUnaryOperator withheld) {
        gic.lock();
        settle(queueAll(withheld));
        gic.unlock();
    }

    /** Queues the pending interrupts. The lock is held. */
    boolean queueAll() {
        return queueAll(first -> 0);
    }

    /** @return whether every interrupt found a list register, or waits for the end of an active hardware interrupt */
    private boolean queueAll(IntUnaryOperator withheld) {
        boolean all = true;
        long wanting = gic.banks().wanting(vcpu, 0) & ~withheld.applyAsInt(0);
        for (long sgis = wanting & SGIS; sgis != 0; sgis &= sgis - 1) {
            int sgi = Long.numberOfTrailingZeros(sgis);
            all &= gic.hasSources() ? queueSources(sgi) : queueOne(sgi);
        }
        for (long ppis = wanting & ~SGIS; ppis != 0; ppis &= ppis - 1) {
            all &= queueOne(Long.numberOfTrailingZeros(ppis));
        }
        for (int first = InterruptId.FIRST_SPI; first < gic.interrupts(); first += Distributor.WORD) {
            long spis = gic.banks().wanting(vcpu, first) & ~withheld.applyAsInt(first);
            for (; spis != 0; spis &= spis - 1) {
                int id = first + Long.numberOfTrailingZeros(spis);
                if (gic.banks().target(vcpu, id) == vcpu) {
                    all &= queueOne(id);
                }
            }
        }
        return all;
    }

    /** Queues each source of an SGI as an interrupt of its own. The SGI is pending until the last one is queued. */
    boolean queueSources(int sgi) {
        boolean all = true;
        for (int sources = gic.banks().sources(vcpu, sgi); sources != 0; sources &= sources - 1) {
            int source = Integer.numberOfTrailingZeros(sources);
            if (awaitsEnd(sgi, source)) {
                continue;
            }
            if (queue(sgi, source)) {
                gic.queuedSource(vcpu, sgi, source);
            } else {
                all = false;
            }
        }
        return all;
    }

    private boolean queueOne(int id) {
        if (awaitsEnd(id, 0)) {
            return true;
        }
        boolean queued = queue(id, 0);
        if (queued) {
            gic.queued(vcpu, id);
        }
        return queued;
    }

    /** Whether a list register holds it as an active hardware interrupt, so that it stays in the distributor. */
    private boolean awaitsEnd(int id, int source) {
        int number = find(id, source);
        long word = number == NONE ? 0 : words.get(at(REGISTERS + number));
        return HW.isSet(word) && ACTIVE.isSet(word);
    }

    /**
     * @return whether the interrupt is in a list register: the one with the same interrupt and source, or a free one
     */
    boolean queue(int id, int source) {
        int number = find(id, source);
        long word;
        if (number == NONE) {
            number = Long.numberOfTrailingZeros(~words.get(at(USED)));
            word = VIRTUAL_ID.with(id)
                    | SOURCE.with(source)
                    | GROUP1.with(gic.banks().is(InterruptState.GROUP1, vcpu, id) ? 1 : 0)
                    | PRIORITY.with(gic.banks().priority(vcpu, id) >> PRIORITY_SHIFT);
        } else {
            word = words.get(at(REGISTERS + number));
        }
        if (number >= registers) {
            return false;
        }
        put(number, withEnd(id, word | PENDING.mask()), true);
        return true;
    }

    /** Sets EOI for a level-triggered interrupt, whose end then raises a maintenance interrupt. */
    long withEnd(int id, long word) {
        return gic.isLevel(vcpu, id) && !HW.isSet(word) ? word | EOI.mask() : word;
    }

    /** @return the list register that holds an interrupt of a source, or -1 */
    int find(int id, int source) {
        for (long used = words.get(at(USED)); used != 0; used &= used - 1) {
            int number = Long.numberOfTrailingZeros(used);
            long word = words.get(at(REGISTERS + number));
            if (VIRTUAL_ID.of(word) == id && source(word) == source) {
                return number;
            }
        }
        return NONE;
    }

    private static int source(long word) {
        return HW.isSet(word) ? 0 : (int) SOURCE.of(word);
    }

    /** The lock is held. */
    void put(int number, long word, boolean used) {
        long bit = 1L << number;
        long before = words.get(at(USED));
        if ((before & bit) != 0) {
            gic.banks().setHolder((int) VIRTUAL_ID.of(words.get(at(REGISTERS + number))), NONE);
        }
        if (used) {
            gic.banks().setHolder((int) VIRTUAL_ID.of(word), vcpu);
        }
        words.set(at(REGISTERS + number), word);
        words.set(at(USED), used ? before | bit : before & ~bit);
    }

    /** Sets UIE if an interrupt found no list register, else clears the vCPU's flag. The lock is held. */
    void settle(boolean all) {
        long control = HypervisorControl.UNDERFLOW.put(control(), all ? 0 : 1);
        words.set(at(CONTROL), control);
        if (all) {
            gic.setFlag(vcpu, false);
        }
    }

    /** Reads list registers at an exit. An ended level interrupt without EOI bit is pending while its line is high. */
    public void syncFromCpu() {
        gic.lock();
        putActive(false);
        putActive(true);
        for (long rest = words.get(at(USED)); rest != 0; rest &= rest - 1) {
            int number = Long.numberOfTrailingZeros(rest);
            long word = words.get(at(REGISTERS + number));
            if (ListRegister.isEmpty(word)) {
                put(number, 0, false);
                kickOther(gic.ended(vcpu, (int) VIRTUAL_ID.of(word)));
            }
        }
        if (words.get(at(USED)) != 0) {
            gic.setFlag(vcpu, true);
        }
        gic.unlock();
    }

    /** Sets active states. An SGI in two list registers, of two sources, is active if it is active in one. */
    private void putActive(boolean to) {
        for (long rest = words.get(at(USED)); rest != 0; rest &= rest - 1) {
            long word = words.get(at(REGISTERS + Long.numberOfTrailingZeros(rest)));
            if (!to || ACTIVE.isSet(word)) {
                gic.banks().put(InterruptState.ACTIVE, vcpu, (int) VIRTUAL_ID.of(word), to);
            }
        }
    }

    /** Kicks another vCPU, without the lock. This vCPU needs no kick: it queues before it enters. */
    private void kickOther(int wanting) {
        if (wanting != NONE && wanting != vcpu) {
            gic.unlock();
            gic.kick(wanting);
            gic.lock();
        }
    }

    /**
     * Handles the maintenance interrupt after an exit, with interrupts off. If the line of an ended level interrupt is
     * still high, the interrupt becomes pending, and its present target vCPU is kicked.
     */
    public void maintain() {
        gic.lock();
        handle();
        gic.unlock();
    }

    /** The lock is held. */
    void handle() {
        for (int number = 0; number < registers; number++) {
            long word = words.get(at(REGISTERS + number));
            if (ListRegister.isSpent(word)) {
                put(number, 0, false);
                kickOther(gic.ended(vcpu, (int) VIRTUAL_ID.of(word)));
            }
        }
        if (Maintenance.UNDERFLOW.isSet(status())) {
            words.set(at(CONTROL), HypervisorControl.UNDERFLOW.put(control(), 0));
        }
    }
}
