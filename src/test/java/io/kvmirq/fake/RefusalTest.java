/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.fake.file.StandardFile;
import org.junit.jupiter.api.Test;

class RefusalTest {
    /** The table of requests reads annotations by reflection, which takes long. */
    @Test
    void requestIsNamedWithoutTheLockOfTheKernel() {
        FakeHost host = new FakeHost(Profile.V6_18.build(), true);
        Thread other = new Thread(() -> host.time().locked(host::isForeign));
        other.setDaemon(true);
        Requests<StandardFile> requests = new Requests<>(FileAnswer.VM_UNKNOWN_REQUEST, number -> {
            other.start();
            try {
                other.join();
            } catch (InterruptedException e) {
                throw new IllegalStateException("nothing interrupts a test", e);
            }
            return "a request";
        });
        StandardFile file = new StandardFile(host);
        assertThatThrownBy(() -> host.time().locked(() -> requests.answer(file, 1, 0)))
                .isInstanceOf(NotModelledException.class)
                .hasMessageEndingWith("a request");
        assertThat(other.isAlive()).isFalse();
    }
}
