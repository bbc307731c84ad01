/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.ArrayList;
import java.util.List;

/** Keeps the steps of a self-test, each with its answer. */
public final class Heard implements SelftestListener {
    private final List<String> steps = new ArrayList<>();

    @Override
    public void step(String done, String answer) {
        steps.add(done + ": " + answer);
    }

    public List<String> steps() {
        return steps;
    }
}
