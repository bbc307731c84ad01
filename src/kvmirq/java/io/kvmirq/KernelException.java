/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;

/**
 * The kernel refused a call. The message is one sentence with the call, its operands, the errno and the likely cause,
 * for example {@code irqfd assign eventfd=7 gsi=24: EBUSY (this eventfd already feeds a GSI, maybe in another VM)}.
 *
 * <p>If the call was one step of a library method, that method has undone its earlier steps.
 */
public final class KernelException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final String call;
    private final String operands;
    private final int errno;
    private final String likelyCause;

    /**
     * Builds the message from call, operands, errno and likely cause.
     *
     * @param call the name of the call, such as {@code irqfd assign}
     * @param operands the operands of the call, such as {@code eventfd=7 gsi=24}; may be empty
     * @param likelyCause the likely cause, a sentence without a full stop; empty if no cause is known
     */
    public KernelException(String call, String operands, Errno errno, String likelyCause) {
        super(sentence(call, operands, errno, likelyCause));
        this.call = call;
        this.operands = operands;
        this.errno = errno.number();
        this.likelyCause = likelyCause;
    }

    private static String sentence(String call, String operands, Errno errno, String likelyCause) {
        Objects.requireNonNull(call, "call is null");
        Objects.requireNonNull(operands, "operands is null");
        Objects.requireNonNull(errno, "errno is null");
        Objects.requireNonNull(likelyCause, "likelyCause is null");
        String text = operands.isEmpty() ? call + ": " + errno : call + " " + operands + ": " + errno;
        return likelyCause.isEmpty() ? text : text + " (" + likelyCause + ")";
    }

    /** The call's name, such as {@code irqfd assign}. */
    public String call() {
        return call;
    }

    /** The operands of the call, such as {@code eventfd=7 gsi=24}. Empty if the call has no operands. */
    public String operands() {
        return operands;
    }

    /** The likely cause, a sentence without a full stop; empty if no cause is known. */
    public String likelyCause() {
        return likelyCause;
    }

    /** The errno that the kernel returned. */
    public Errno errno() {
        return new Errno(errno);
    }
}
