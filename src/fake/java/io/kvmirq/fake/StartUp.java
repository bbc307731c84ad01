/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.recording.replay.Replay;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Replays a tape on a new kernel. It is a separate class, so that other programs do not load the JSON reader. */
final class StartUp {
    private static final int VCPUS_OF_GICV2 = 8;
    private static final Profile PVM = Profile.of("6.18,pvm");
    /** Capabilities that differ between builds of 6.18. */
    private static final List<Integer> BUILT =
            List.of(Uapi.KVM_CAP_MAX_VCPUS, Uapi.KVM_CAP_MAX_VCPU_ID, Uapi.KVM_CAP_HYPERV_SYNIC);

    private StartUp() {}

    /** The profile of the kernel on which the tape was recorded. */
    static Profile profile(Path tape) throws IOException {
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(Files.newInputStream(tape)))) {
            Optional<TapeLine> first = reader.next();
            return first.isPresent() && first.get() instanceof TapeLine.Header header
                    ? profile(header, reader)
                    : Profile.V6_12;
        }
    }

    /** @param rest the lines after the header */
    private static Profile profile(TapeLine.Header header, TapeReader rest) throws IOException {
        if (!header.backend().equals(Backends.FAKE)) {
            Profile nearest = Profile.nearest(header.kernel(), header.architecture());
            if (nearest.isArm64()) {
                return isOfGicV2(rest) ? Profile.of(nearest.label() + ",gicv2") : nearest;
            }
            return nearest.equals(Profile.V6_18) && isOfPvm(rest) ? PVM : nearest;
        }
        try {
            return Profile.of(header.kernel().replaceFirst("^fake kernel ", ""));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("the tape was recorded on a fake kernel: " + e.getMessage(), e);
        }
    }

    /** Whether the calls show an arm64 host with a GICv2. A host whose GICv3 can run a GICv2 also offers a GICv3. */
    private static boolean isOfGicV2(TapeReader calls) throws IOException {
        boolean found = false;
        for (Optional<TapeLine> line = calls.next(); line.isPresent(); line = calls.next()) {
            if (line.get() instanceof TapeLine.Call call && call.call().equals("ioctl")) {
                if (isMade(call, UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3)) {
                    return false;
                }
                found |= isMade(call, UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V2)
                        || call.request() == Uapi.KVM_CHECK_EXTENSION
                                && call.value() == Uapi.KVM_CAP_MAX_VCPUS
                                && call.result() == VCPUS_OF_GICV2;
            }
        }
        return found;
    }

    /** Whether the tape's first capability of {@link #BUILT} has the value of the kernel with kvm_pvm. */
    private static boolean isOfPvm(TapeReader calls) throws IOException {
        Libc pvm = new FakeKernel(PVM).libc();
        int kvm = pvm.open(pvm.addressOf(Buffers.cString("/dev/kvm")), Uapi.O_RDWR, 0);
        for (Optional<TapeLine> line = calls.next(); line.isPresent(); line = calls.next()) {
            if (line.get() instanceof TapeLine.Call call
                    && call.request() == Uapi.KVM_CHECK_EXTENSION
                    && BUILT.contains((int) call.value())) {
                return call.result() == pvm.ioctl(kvm, Uapi.KVM_CHECK_EXTENSION, call.value());
            }
        }
        return false;
    }

    /** Whether the call created a device of that type, or tested that it can be created. */
    private static boolean isMade(TapeLine.Call call, int type) {
        return call.request() == Uapi.KVM_CREATE_DEVICE
                && call.result() == 0
                && call.in()
                        .filter(in -> in.limit() >= Uapi.KvmCreateDevice.SIZE)
                        .map(in -> in.getInt(Uapi.KvmCreateDevice.TYPE) == type)
                        .orElse(false);
    }

    /** @return the open descriptors by their names on the tape */
    @SuppressWarnings("resource") // the replayed objects stay open
    static Map<String, Integer> replayed(Path tape, FakeKernel kernel) {
        try {
            Replay replay = new Replay(kernel.libc());
            Replay.Outcome outcome = replay.run(tape);
            if (outcome instanceof Replay.Same && !replay.isWhole()) {
                throw new IllegalArgumentException(
                        tape + " has no end: close its Recorder, or record it again; a start-up may lack calls");
            }
            if (outcome instanceof Replay.Same) {
                return replay.descriptors();
            }
            throw new IllegalArgumentException(tape + " on " + kernel + ": " + outcome);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
