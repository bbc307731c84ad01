/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.junit.platform.engine.discovery.ClassNameFilter.includeClassNamePatterns;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectMethod;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectPackage;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.stream.Stream;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/** {@code main}: the tests of what is named, where there is no Maven. */
final class Tests {
    private Tests() {}

    /** @param names packages, classes or methods such as {@code io.kvmirq.TapeTest#ends} whose tests to run */
    public static void main(String[] names) {
        SummaryGeneratingListener listener = new SummaryGeneratingListener();
        LauncherFactory.create()
                .execute(
                        LauncherDiscoveryRequestBuilder.request()
                                .selectors(Stream.of(names).map(Tests::selector).toList())
                                .filters(includeClassNamePatterns(".*(Test|Contract)"))
                                .build(),
                        listener);
        TestExecutionSummary summary = listener.getSummary();
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        summary.printFailuresTo(out, 3);
        summary.printTo(out);
        System.exit(summary.getTestsFoundCount() > 0 && summary.getTotalFailureCount() == 0 ? 0 : 1);
    }

    private static DiscoverySelector selector(String name) {
        if (name.contains("#")) {
            return selectMethod(name);
        }
        boolean isClass = Character.isUpperCase(name.charAt(name.lastIndexOf('.') + 1));
        return isClass ? selectClass(name) : selectPackage(name);
    }
}
