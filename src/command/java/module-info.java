/* SPDX-License-Identifier: Apache-2.0 */
/** The command kvmirq. It exports nothing. */
module io.kvmirq.command {
    requires io.kvmirq.fake;
    requires java.logging;
    requires static org.jspecify;
    requires com.fasterxml.jackson.core;
    requires info.picocli;
    requires me.tongfei.progressbar;
    requires org.jline.terminal;
}
