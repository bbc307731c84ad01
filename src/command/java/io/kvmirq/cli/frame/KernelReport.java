/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.kernel.Kernel;

/** Reports on a kernel, as text or in JSON. Marks every line about a fake kernel. */
public record KernelReport(Kernel kernel, Terminal terminal) {
    public void line(String text) {
        terminal.line(kernel.isReal() ? text : "FAKE " + text);
    }

    /** Text padded with spaces to a width, in characters as a terminal shows them. */
    public static String padded(String text, int width) {
        return text + " ".repeat(Math.max(0, width - text.codePointCount(0, text.length())));
    }

    private String release() {
        return kernel.isReal() ? System.getProperty("os.version") : kernel.backendDescription();
    }

    /** The kernel by its release, or the fake by its profile. */
    public String name() {
        return (kernel.isReal() ? "real kernel " : "fake kernel ") + release();
    }

    public String nameAndBinding() {
        return name() + (kernel.isReal() ? " through " + kernel.backendName() : "");
    }

    public void write(Json json) {
        json.value("kernel", kernel.isReal() ? "real" : "fake")
                .value("kernelRelease", release())
                .value("backend", kernel.backendName());
    }
}
