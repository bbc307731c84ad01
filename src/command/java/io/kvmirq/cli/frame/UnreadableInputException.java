/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

/**
 * A command's input cannot be read, is malformed, or names something that the host does not have. The command line is
 * right, so the command ends with {@link ExitCode#COULD_NOT_RUN}, without a hint to its help.
 */
public final class UnreadableInputException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** @param message one sentence without a full stop */
    public UnreadableInputException(String message, Throwable cause) {
        super(message, cause);
    }

    /** @param message one sentence without a full stop */
    public UnreadableInputException(String message) {
        super(message);
    }
}
