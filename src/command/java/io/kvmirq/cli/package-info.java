/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The command {@code kvmirq}: parses the command line, makes one call, prints, and sets the exit code.
 *
 * <p>Results go to stdout, diagnostics to stderr, one sentence each. {@link io.kvmirq.cli.frame.ExitCode} has the exit
 * codes. {@link io.kvmirq.cli.Main} answers {@code --version} before any parser is loaded. No command loads native code
 * before its arguments have been checked.
 *
 * <p><b>Why picocli.</b> The table shows median wall time in ms from start to exit of {@code selftest --count 10
 * --json}, parsed only, over 25 interleaved starts on JDK 17 with two cores. A class that prints hello takes 32 ms.
 *
 * <pre>
 *                                     parse  --help  commands  completion  man pages  last release
 * hand-written                           32      32  by hand   by hand     by hand    -
 * jopt-simple 5.0.4                      45      65  no        no          no         2017
 * commons-cli 1.11.0                     61      59  no        no          no         2025
 * argparse4j 0.9.0                       73      79  yes       no          no         2021
 * JCommander 3.0                        104     109  yes       no          no         2025
 * picocli 4.7.7, one command built      113     128  yes       bash, zsh   AsciiDoc   2025
 * picocli 4.7.7, all built              123     136  yes       bash, zsh   AsciiDoc   2025
 * picocli 4.7.7, annotations            133     148  yes       bash, zsh   AsciiDoc   2025
 * </pre>
 *
 * <p>Only picocli has sub-commands, completion, manual pages and good messages; with the other libraries most of that
 * would be our own code. Picocli costs 80 ms for each start; the commands themselves take longer. To keep this cost
 * low, {@link io.kvmirq.cli.frame.Command} builds only the options of the named command, without reflection. {@code
 * --version} does not load picocli, because scripts call it often.
 */
@NullMarked
package io.kvmirq.cli;

import org.jspecify.annotations.NullMarked;
