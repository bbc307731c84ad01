/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import java.io.IOException;

/** A tape file cannot be read or written. The cause is not its content. */
final class TapeFileException extends RuntimeException {
    private static final long serialVersionUID = 1;

    TapeFileException(String message, IOException cause) {
        super(message, cause);
    }
}
