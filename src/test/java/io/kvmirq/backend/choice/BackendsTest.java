/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.choice;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.BackendUnavailableException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class BackendsTest {
    private final List<String> tried = new ArrayList<>();

    private Backends.Candidate works(String name) {
        return new Backends.Candidate(name, () -> {
            tried.add(name);
            return Backends.ofThisMachine().open("jni");
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
