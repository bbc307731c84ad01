/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The command {@code kvmirq}: parse, one call, print, exit code.
 *
 * <p>Results go to stdout, diagnostics to stderr, one sentence each. Exit codes: 0 nothing failed, 1 something did, 2
 * usage, 3 could not look. {@link io.kvmirq.cli.Main} answers {@code --version} before any parser is loaded, and no
 * command loads native code before its arguments have been understood.
 *
 * <p><b>Why picocli, and so.</b> Measured start to exit of {@code selftest --count 10 --json}, parsed only; median wall ms
 * of 25 interleaved starts on JDK 17, two cores, beside 32 for a class that prints hello:
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
 * <p>Only picocli has sub-commands, completion, man pages and good messages together; the others leave most of that to
 * code of ours. Its price is 80 ms, once, for commands that take longer themselves, and is kept down by building the
 * options of the one command that was named ({@link io.kvmirq.cli.Command}) without reflection. {@code --version},
 * which scripts call often, does not pay it.
 */
@NullMarked
package io.kvmirq.cli;

import org.jspecify.annotations.NullMarked;
