/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The outcome of {@link X86Vm#setLine}. Source: {@code kvm_set_irq()} in virt/kvm/irqchip.c.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="pins"}
 *
 * @param accepted KVM's status. A positive number is the number of chips and LAPICs that accepted the interrupt, over
 *     all of the GSI's routes; 0 is {@link #COALESCED}, -1 is {@link #IGNORED}
 */
public record LineOutcome(int accepted) {
    /** The GSI has no route, or every pin is masked or has its remote IRR set because its EOI is awaited. */
    public static final LineOutcome IGNORED = new LineOutcome(-1);
    /** The interrupt was merged with a pending one, so the guest gets one interrupt. */
    public static final LineOutcome COALESCED = new LineOutcome(0);

    private static final LineOutcome ONE = new LineOutcome(1);
    private static final LineOutcome TWO = new LineOutcome(2);

    /** @param status the status from {@code KVM_IRQ_LINE_STATUS}; frequent values allocate nothing */
    static LineOutcome ofStatus(int status) {
        return switch (status) {
            case -1 -> IGNORED;
            case 0 -> COALESCED;
            case 1 -> ONE;
            case 2 -> TWO;
            default -> new LineOutcome(status);
        };
    }
}
