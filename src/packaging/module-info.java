/* SPDX-License-Identifier: Apache-2.0 */
/** The command with all that it needs, for the Java runtime of a package: see scripts/package. */
module io.kvmirq.command {
    requires java.logging;
    // By sun.misc.Signal the screen of watch follows the size of the terminal, and a stop and its end.
    requires jdk.unsupported;

    // Java starts a class by its name only in a module that exports a package.
    exports io.kvmirq;

    uses io.kvmirq.backend.BackendProvider;

    provides io.kvmirq.backend.BackendProvider with
            io.kvmirq.fake.FakeProvider;
}
