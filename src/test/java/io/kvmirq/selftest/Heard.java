/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.ArrayList;
import java.util.List;

/** A journal that keeps the steps of a self-test. */
public final class Heard implements Journal {
    private final List<String> steps = new ArrayList<>();

    @Override
    public void begin(Scenario scenario) {}

    @Override
    public void step(String done, String answer) {
        steps.add(done + ": " + answer);
    }

    @Override
    public void end(Result result) {}

    public List<String> steps() {
        return steps;
    }
}
