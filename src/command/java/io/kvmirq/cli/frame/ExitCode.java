/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

public final class ExitCode {
    public static final int OK = 0;
    public static final int FAILED = 1;
    public static final int USAGE = 2;
    public static final int COULD_NOT_RUN = 3;

    private ExitCode() {}
}
