/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceFeature;
import java.nio.ByteBuffer;
import java.util.function.ToIntFunction;

/** A checked VFIO_DEVICE_FEATURE: {@code address} and {@code room} are those of the feature's structure. */
record FeatureRequest(Host host, int flags, long address, long room) {
    private static final int OPERATIONS = UapiVfio.VFIO_DEVICE_FEATURE_GET | UapiVfio.VFIO_DEVICE_FEATURE_SET;

    /** Reads and checks a structure. Returns a negative errno, or the result of {@code device}. */
    static int answer(Host host, long address, ToIntFunction<FeatureRequest> device) {
        return host.copied(address, VfioDeviceFeature.SIZE, given -> {
            long argsz = Integer.toUnsignedLong(given.getInt(VfioDeviceFeature.ARGSZ));
            int flags = given.getInt(VfioDeviceFeature.FLAGS);
            int known = UapiVfio.VFIO_DEVICE_FEATURE_MASK | OPERATIONS | UapiVfio.VFIO_DEVICE_FEATURE_PROBE;
            boolean probe = (flags & UapiVfio.VFIO_DEVICE_FEATURE_PROBE) != 0;
            if (argsz < VfioDeviceFeature.SIZE
                    || (flags & ~known) != 0
                    || !probe && (flags & OPERATIONS) == OPERATIONS) {
                return host.refuse(VfioAnswer.VFIO_FEATURE_ARGUMENTS);
            }
            return device.applyAsInt(
                    new FeatureRequest(host, flags, address + VfioDeviceFeature.SIZE, argsz - VfioDeviceFeature.SIZE));
        });
    }

    int feature() {
        return flags & UapiVfio.VFIO_DEVICE_FEATURE_MASK;
    }

    int refuseUnknown() {
        return host.refuse(VfioAnswer.VFIO_FEATURE_UNKNOWN);
    }

    /** Handles a feature that can only be set, as in {@code vfio_check_feature()}. */
    int settable(int size, ToIntFunction<ByteBuffer> set) {
        int operations = flags & OPERATIONS;
        if ((operations & UapiVfio.VFIO_DEVICE_FEATURE_GET) != 0) {
            return host.refuse(VfioAnswer.VFIO_FEATURE_OPERATION);
        }
        if ((flags & UapiVfio.VFIO_DEVICE_FEATURE_PROBE) != 0) {
            return 0;
        }
        if (operations == 0 || room < size) {
            return host.refuse(VfioAnswer.VFIO_FEATURE_OPERATION);
        }
        return host.copied(address, size, set);
    }
}
