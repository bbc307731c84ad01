/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

/**
 * A self-test could not run, because of a limit of this process or a failure of Java. It found nothing about this machine's
 * interrupt path.
 */
public final class CouldNotRunException extends RuntimeException {
    private static final long serialVersionUID = 1;

    CouldNotRunException(String why, Throwable cause) {
        super("could not run: " + why, cause);
    }
}
