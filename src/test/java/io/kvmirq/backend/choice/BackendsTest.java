/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.choice;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.kernel.Kernel;
import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

class BackendsTest {
    private static final KernelBackend JNI = Backends.ofThisMachine().open("jni");

    private final List<String> tried = new ArrayList<>();

    private Backends.Candidate works(String name) {
        return new Backends.Candidate(name, () -> {
            tried.add(name);
            return JNI;
        });
    }

    private Backends.Candidate fails(String name, String why) {
        return new Backends.Candidate(name, () -> {
            tried.add(name);
            throw new BackendUnavailableException(why);
        });
    }

    @Test
    void autoTakesTheFirstThatWorksAndLoadsNoOther() {
        Backends backends = new Backends(List.of(fails("a", "broken"), works("b"), works("c")));
        assertThat(backends.open(Backends.AUTO).name()).isEqualTo("jni");
        assertThat(tried).containsExactly("a", "b");
    }

    /** Collects what the library logs. */
    private static final class Said extends Handler {
        private final List<String> lines = new ArrayList<>();

        @Override
        public void publish(LogRecord record) {
            lines.add(record.getLevel() + " " + record.getMessage());
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}
    }

    /** Without the kit, ModuleIT shows the refusal. */
    @Test
    void fakeThatAVariableSelectsInATestIsAWarning() {
        Logger logger = Logger.getLogger("io.kvmirq");
        Said handler = new Said();
        logger.addHandler(handler);
        System.setProperty(Backends.PROPERTY, Backends.FAKE);
        try (Kernel kernel = Kernel.open()) {
            assertThat(kernel.isReal()).isFalse();
        } finally {
            System.clearProperty(Backends.PROPERTY);
            logger.removeHandler(handler);
        }
        assertThat(handler.lines)
                .singleElement()
                .asString()
                .matches("WARNING -Dkvmirq.backend or \\$KVMIRQ_BACKEND selects the fake kernel .*:"
                        + " no interrupt of this process is real");
        Kernel.open(Backends.FAKE).close();
        assertThat(handler.lines).as("code chose it").hasSize(1);
    }

    @Test
    void namedLibraryThatIsNotUsedIsAWarning() {
        Logger logger = Logger.getLogger("io.kvmirq");
        Said handler = new Said();
        List<String> said = handler.lines;
        Backends backends = new Backends(List.of(fails("a", "/x.so: not there"), works("b")));
        logger.addHandler(handler);
        try {
            backends.open(Backends.AUTO);
            assertThat(said).as("nothing is named").isEmpty();
            System.setProperty(NativeLibrary.PROPERTY, "/x.so");
            backends.open(Backends.AUTO);
        } finally {
            System.clearProperty(NativeLibrary.PROPERTY);
            logger.removeHandler(handler);
        }
        assertThat(said)
                .containsExactly("WARNING backend a cannot be used although -Dkvmirq.library names a library, and b is"
                        + " used instead: /x.so: not there");
    }

    @Test
    void failureListsEveryCauseOfThoseTried() {
        Backends backends = new Backends(List.of(fails("a", "broken"), fails("b", "missing")));
        assertThatThrownBy(() -> backends.open(Backends.AUTO))
                .isInstanceOf(BackendUnavailableException.class)
                .hasMessage("backend a cannot be used: broken\nbackend b cannot be used: missing");
    }

    @Test
    void namedBackendIsTheOnlyOneTried() {
        Backends backends = new Backends(List.of(fails("a", "broken"), works("b")));
        assertThatThrownBy(() -> backends.open("a")).hasMessage("backend a cannot be used: broken");
        assertThat(tried).containsExactly("a");
    }

    @Test
    void unknownNameIsOneSentence() {
        Backends backends = new Backends(List.of(works("a"), works("b")));
        assertThatThrownBy(() -> backends.open("c"))
                .hasMessage("backend 'c' is unknown: expected one of auto, a, b, fake");
    }

    @Test
    void linkageErrorIsACauseNotACrash() {
        Backends backends = new Backends(List.of(new Backends.Candidate("a", () -> {
            throw new NoClassDefFoundError("gone");
        })));
        assertThat(backends.probeAll()).singleElement().satisfies(probe -> assertThat(probe.reason())
                .contains("gone"));
    }
}
