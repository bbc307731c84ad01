/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.forward.Abi2014;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.recording.Recorder;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.Uapi;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** The forwarding of 2014 on a kernel without its patches: it is asked for, and never set. */
@Contract
class Abi2014Contract extends KernelSuite {
    @Test
    void probeIsAbsentAndSetsNothing() throws IOException {
        int device = world.own(kernel.deviceCreate(world.fullVm(), Uapi.KVM_DEV_TYPE_VFIO));
        ByteArrayOutputStream tape = new ByteArrayOutputStream();
        try (Recorder recorder = Recorder.of(kernel, tape);
                Kernel kernel = Kernel.over(recorder.backend());
                KvmVfio kvmVfio = KvmVfio.adopt(kernel, device, Ownership.BORROWED)) {
            assertThat(Abi2014.probe(kvmVfio)).isEqualTo(Abi2014.Probe.ABSENT);
        }
        assertThat(requests(tape)).contains(Uapi.KVM_HAS_DEVICE_ATTR).doesNotContain(Uapi.KVM_SET_DEVICE_ATTR);
    }

    private static List<Long> requests(ByteArrayOutputStream tape) throws IOException {
        List<Long> requests = new ArrayList<>();
        try (TapeReader reader = TapeReader.of(new ByteArrayInputStream(tape.toByteArray()))) {
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                if (line.get() instanceof TapeLine.Call call && call.call().equals("ioctl")) {
                    requests.add(call.request());
                }
            }
        }
        return requests;
    }
}
