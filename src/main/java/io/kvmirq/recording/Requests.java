/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.libc.UapiArm64;
import io.kvmirq.backend.libc.UapiTable;
import io.kvmirq.backend.libc.UapiTable.FileKind;
import io.kvmirq.backend.libc.UapiTable.Request;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Ioctls by number. */
final class Requests {
    /** Its number is that of KVM_GET_ONE_REG, which is for vCPUs. */
    private static final Request OF_ARM64 =
            new Request(FileKind.VM, "KVM_ARM_SET_DEVICE_ADDR", UapiArm64.KVM_ARM_SET_DEVICE_ADDR, Optional.empty());

    private static final Map<Long, List<Request>> ALL = Stream.concat(UapiTable.REQUESTS.stream(), Stream.of(OF_ARM64))
            .collect(Collectors.groupingBy(Request::number));

    private Requests() {}

    /** The same number is another request on another file: ask the file. Null for none that is known; allocates nothing. */
    static @Nullable Request find(Long number, @Nullable FileKind kind) {
        List<Request> named = ALL.getOrDefault(number, List.of());
        for (int i = 0; i < named.size(); i++) {
            if (named.get(i).kind() == kind) {
                return named.get(i);
            }
        }
        return named.isEmpty() ? null : named.get(0);
    }
}
