/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;

/** The classes of the library and the command, imported once in a JVM: that takes seconds. */
public final class MainClasses {
    public static final JavaClasses ALL = new ClassFileImporter()
            .withImportOption(location -> !location.contains("/test-classes/"))
            .importPackages("io.kvmirq");

    private MainClasses() {}
}
