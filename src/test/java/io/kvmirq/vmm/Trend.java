/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Growth of a figure of a process or the kernel during a soak: a straight line by least squares, with its error. */
final class Trend {
    static final int FEWEST = 5;

    private final String name;
    private final double bound;
    private final List<double[]> samples = new ArrayList<>();

    /** @param bound how much the figure may grow in a minute */
    Trend(String name, double bound) {
        this.name = name;
        this.bound = bound;
    }

    void add(double minute, double value) {
        samples.add(new double[] {minute, value});
    }

    private double mean(int axis) {
        return samples.stream().mapToDouble(sample -> sample[axis]).average().orElse(0);
    }

    private double spread() {
        double middle = mean(0);
        return samples.stream()
                .mapToDouble(s -> (s[0] - middle) * (s[0] - middle))
                .sum();
    }

    /** How much the figure grows in a minute. */
    double slope() {
        double minute = mean(0), value = mean(1);
        return samples.stream()
                        .mapToDouble(s -> (s[0] - minute) * (s[1] - value))
                        .sum()
                / spread();
    }

    /** Standard error of the slope. */
    double error() {
        double slope = slope(), begin = mean(1) - slope * mean(0);
        double rest = samples.stream()
                .mapToDouble(s -> Math.pow(s[1] - begin - slope * s[0], 2))
                .sum();
        return Math.sqrt(rest / (samples.size() - 2) / spread());
    }

    /** Whether the figure grows beyond its bound even if the slope is two errors too high; too few samples show nothing. */
    boolean grows() {
        return samples.size() >= FEWEST && slope() - 2 * error() > bound;
    }

    @Override
    public String toString() {
        if (samples.size() < FEWEST) {
            return String.format(Locale.ROOT, "%-24s %d samples, too few for a slope", name, samples.size());
        }
        return String.format(
                Locale.ROOT,
                "%-24s %10.0f → %10.0f  %+9.3f ± %.3f a minute  %s",
                name,
                samples.get(0)[1],
                samples.get(samples.size() - 1)[1],
                slope(),
                error(),
                grows() ? "GROWS" : "flat");
    }
}
