/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

/** What the command's exit codes mean. */
final class ExitCode {
    static final int OK = 0;
    static final int FAILED = 1;
    static final int USAGE = 2;
    static final int COULD_NOT_RUN = 3;

    private ExitCode() {}
}
