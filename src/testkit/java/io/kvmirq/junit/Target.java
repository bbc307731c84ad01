/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import java.util.Optional;

/** A kernel on which a test runs. */
sealed interface Target {
    /** The name in the test report. */
    String name();

    KvmHost open(Faults faults, KvmHost.Plan plan);

    /** The reason why the run is disabled. */
    default Optional<String> disabled() {
        return Optional.empty();
    }

    /** A fake kernel with a named profile. */
    record Fake(String label, Profile profile) implements Target {
        @Override
        public String name() {
            return "fake " + label;
        }

        @Override
        public KvmHost open(Faults faults, KvmHost.Plan plan) {
            return KvmHost.onFake(profile, faults, plan);
        }
    }

    record OfMachine(RealKvm kvm, boolean required) implements Target {
        @Override
        public String name() {
            return kvm.name();
        }

        @Override
        public Optional<String> disabled() {
            return kvm.backend().isPresent() || required ? Optional.empty() : Optional.of(kvm.reason());
        }

        @Override
        public KvmHost open(Faults faults, KvmHost.Plan plan) {
            KernelBackend backend = kvm.backend().orElseThrow(() -> new Mistake(Optional.empty(), kvm.reason()));
            return new KvmHost(Optional.empty(), backend, faults, plan);
        }
    }
}
